// @ts-check
/** The moderator's desk: wall, board, queue, run of show. Read-only for an observer. */

import { actBy } from "../act.js";
import { connect, readBoot } from "../connection.js";
import { byId, confirmDialog, fill, on, renderList, setBanner } from "../dom.js";
import { formatNumber, t } from "../i18n.js";
import { renderAdmissions, wireAdmissions } from "../rooms/admissions.js";
import { agendaRows, nextItem, timeLeft } from "../rooms/agenda.js";
import { renderBoard, wireBoard, wireReading } from "../rooms/board.js";
import { conferenceStateText, hasMedia, isOpen, isOver, recordsPauseText, showLife } from "../rooms/conference.js";
import { LinesPanel } from "../rooms/lines.js";
import { renderQueue, wireQueue } from "../rooms/queue.js";
import { renderRun, renderRunCountdown, wireQuiz } from "../rooms/quiz.js";
import { Wall } from "../rooms/wall.js";

const boot = readBoot();
const directs = boot.role !== "observer";
const connection = connect({
  ...boot,
  onChange: render,
  onLive: (fact) => wall.hear(fact),
  onStatus: (online, refusal) => {
    const lost = t("Chưa nối được với máy chủ. Đang tự nối lại; thao tác của bạn được giữ lại và gửi khi nối được.");
    setBanner("connection-banner", online ? null : (refusal?.message ?? lost));
    if (online) wall.receiver.resume();
  },
});

const act = actBy(connection);

const wall = new Wall(connection, act);
const lines = new LinesPanel(byId("lines"), byId("lines-old"), connection, () => connection.state.sites);

function render() {
  renderHead();
  wall.render();
  renderBoard(connection.state, directs);
  renderQueue(connection.state, connection.now());
  renderRun(connection.state);
  renderRunCountdown(connection);
  renderAgenda();
  if (directs) renderAdmissions(connection.state);
}

function renderHead() {
  const { state } = connection;
  const { conference } = state;
  const sites = Object.values(state.sites);
  showLife(byId("life"), conference.state, lifeText());
  const present = sites.reduce((sum, site) => sum + site.present, 0);
  const expected = sites.reduce((sum, site) => sum + site.expected, 0);
  fill(byId("present"), {
    text: t("%(present)s / %(expected)s có mặt", {
      present: formatNumber(present),
      expected: formatNumber(expected),
    }),
  });
  const recording = byId("recording");
  const records = state.live?.recording?.state === "recording";
  recording.hidden = !["live", "paused"].includes(conference.state);
  recording.classList.toggle("wrong", !records);
  const pausing = records && conference.state === "paused";
  recording.classList.toggle("good", records && !pausing);
  recording.classList.toggle("plain", pausing);
  const kept = pausing ? recordsPauseText() : t("Đang ghi");
  fill(recording, { text: records ? kept : t("Chưa ghi được") });
  for (const button of document.querySelectorAll("[data-move]")) {
    const from = (button.getAttribute("data-from") ?? "").split(" ");
    /** @type {HTMLElement} */ (button).hidden = !from.includes(conference.state);
  }
  const running = conference.state === "live";
  for (const id of ["next-item", "pause"]) {
    const button = document.getElementById(id);
    if (button) button.hidden = !running;
  }
  const quizzes = document.getElementById("quiz-button");
  if (quizzes) quizzes.hidden = !isOpen(state);
  byId("listen").hidden = !hasMedia(state);
  const replay = byId("replay-link", HTMLAnchorElement);
  replay.hidden = !isOver(state) || !conference.recording;
  if (!replay.hidden) replay.href = `/replay/${conference.recording}`;
}

function lifeText() {
  const { conference } = connection.state;
  if (conference.state !== "live") return conferenceStateText(conference.state);
  const seconds = Math.max(0, (connection.now() - Date.parse(conference.live_at)) / 1000);
  const two = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function renderAgenda() {
  const { state } = connection;
  const rows = agendaRows(state);
  renderList(byId("agenda"), "agenda-template", rows, (row) => row.id, (row) => {
    const item = state.agenda[String(row.id)];
    return { ...row, minutes: row.current ? minutesLeft(item) : row.drift };
  });
}

/**
 * "28′" left, "−3′" over; the words stand on the displays.
 * @param {import("../state.js").Entity} item
 */
function minutesLeft(item) {
  const minutes = Math.round(timeLeft(item, connection.now()).left_ms / 60_000);
  return `${minutes < 0 ? "−" : ""}${Math.abs(minutes)}′`;
}

async function startNext() {
  const next = nextItem(connection.state);
  await act(byId("next-item"), "agenda.start", { item: next?.id ?? null });
}

/** @param {HTMLElement} button */
async function move(button) {
  const to = button.dataset.move ?? "";
  if (to === "ended" && !(await confirmDialog(ending()))) return;
  if (to === "live" && connection.state.conference.state === "lobby") {
    const sure = await confirmDialog({
      title: t("Bắt đầu hội nghị?"),
      text: t("Từ đây được ghi hình, và chỉ còn tạm nghỉ hoặc kết thúc."),
      confirm: t("Bắt đầu hội nghị"),
    });
    if (!sure) return;
  }
  await act(button, "conference.move", { to });
}

/** What is asked before the end, with what it leaves undone. */
function ending() {
  const { questions = {}, runs = {} } = connection.state;
  const left = Object.values(questions).filter((each) => ["asked", "approved", "on_stage"].includes(each.state));
  const open = Object.values(runs).some((each) => each.state === "open");
  const texts = [t("Bản ghi được đóng lại và xem lại được ngay. Không thể tiếp tục sau khi kết thúc.")];
  if (left.length) texts.push(t("Còn %(count)s câu hỏi chưa trả lời.", { count: left.length }));
  if (open) texts.push(t("Bài trắc nghiệm đang mở sẽ được đóng lại."));
  return { title: t("Kết thúc hội nghị?"), text: texts.join(" "), confirm: t("Kết thúc"), danger: true };
}

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog"))
      return;
    if (event.key === "?") return byId("keys-dialog", HTMLDialogElement).showModal();
    if (!directs) return;
    if (/^[1-9]$/.test(event.key)) {
      const buttons = document.querySelectorAll("[data-request=give]:not([hidden])");
      /** @type {HTMLElement | undefined} */ (buttons[Number(event.key) - 1])?.click();
    }
    const shortcut = {
      n: "#next-item:not([hidden])",
      q: "#quiz-button:not([hidden])",
      a: "#lane-asked [data-question=approve]:not([hidden])",
      s: "#lane-approved [data-question=put_on_stage]:not([hidden])",
      f: "[data-question=finish]:not([hidden])",
    }[event.key.toLowerCase()];
    if (shortcut) /** @type {HTMLElement | null} */ (document.querySelector(shortcut))?.click();
  });
}

if (directs) {
  wireBoard(connection, act);
  wireQueue(connection, act);
  wireQuiz(connection, act);
  wireAdmissions(act);
  byId("next-item").addEventListener("click", startNext);
  byId("pause").addEventListener("click", () => act(byId("pause"), "conference.move", { to: "paused" }));
  on(byId("life-actions"), "click", "[data-move]", move);
  byId("clear-stage").addEventListener("click", () =>
    act(byId("clear-stage"), "stage.show", { source: null }),
  );
  byId("clear-presentation").addEventListener("click", () =>
    act(byId("clear-presentation"), "stage.present", { source: null }),
  );
}
wireReading(connection, directs);
byId("lines-button").addEventListener("click", () => {
  byId("lines-dialog", HTMLDialogElement).showModal();
  void lines.show();
});
byId("keys-button").addEventListener("click", () =>
  byId("keys-dialog", HTMLDialogElement).showModal(),
);
wireKeys();
render();
setInterval(() => {
  fill(byId("life"), { text: lifeText() });
  renderAgenda();
  renderRunCountdown(connection);
  renderQueue(connection.state, connection.now());
  if (directs) wall.expect();
}, 1000);
