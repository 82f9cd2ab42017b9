// @ts-check
/** A trainee's phone: check in, ask, answer. */

import { actBy } from "../act.js";
import { connect, readBoot } from "../connection.js";
import { announce, byId, closeToasts, fill, find, on, renderList, setBanner, setBusy, toast } from "../dom.js";
import { formatClock, formatPercent, formatTime, t } from "../i18n.js";
import { keep, keepDrafts, kept } from "../kept.js";
import { agendaRows, timeLeftText } from "../rooms/agenda.js";
import { wireAsking } from "../rooms/asking.js";
import { isOpen, isOver, showLife } from "../rooms/conference.js";
import { questionStateText, siteName } from "../rooms/questions.js";

const places = ["now", "ask", "quiz", "me"];
const letters = "ABCDEFGH";
const boot = readBoot();
const connection = connect({
  ...boot,
  onChange: render,
  onStatus: (online, refusal) => {
    const lost = t("Chưa nối được. Thao tác của bạn được giữ lại và gửi khi có mạng.");
    setBanner("connection-banner", online ? null : (refusal?.message ?? lost));
  },
});

const act = actBy(connection);

/** @type {import("../rooms/live-stream.js").LiveStream | null} */
let liveStream = null;

/** Who attends online watches the stage here; a room's people look at its screen. */
function renderWatch() {
  const watch = document.getElementById("watch");
  if (!watch) return;
  const { conference } = connection.state;
  const recording = conference.state === "live" ? (conference.recording ?? null) : null;
  liveStream?.follow(recording);
  watch.hidden = !recording;
  byId("watch-button").hidden = liveStream !== null;
  const figure = find(watch, "figure");
  figure.classList.toggle("has-picture", Boolean(liveStream?.shown));
  fill(figure, { noPicture: watchText() });
}

function watchText() {
  if (!liveStream) return "";
  return liveStream.failed
    ? t("Không phát được hình trực tiếp trên trình duyệt này.")
    : t("Đang chờ hình trực tiếp…");
}

function render() {
  const { state } = connection;
  renderWatch();
  renderHeader(state);
  renderCheckIn(state);
  renderNow(state);
  renderQuestions(state);
  renderQuiz(state);
}

/** @param {import("../state.js").State} state */
function renderHeader(state) {
  showLife(byId("conference-state"), state.conference.state);
}

/** @param {import("../state.js").State} state */
function renderCheckIn(state) {
  const mine = state.attendance[String(state.me.person)];
  const [open, over] = [isOpen(state), isOver(state)];
  const when = mine ? t("Đã điểm danh lúc %(time)s", { time: formatTime(mine.checked_in_at) }) : "";
  fill(byId("check-in"), {
    done: Boolean(mine),
    when,
    invitation: open
      ? t("Bấm nút để điểm danh tại điểm cầu của bạn.")
      : over
        ? t("Hội nghị đã kết thúc, bạn không điểm danh.")
        : t("Điểm danh mở khi ban tổ chức mở phòng chờ."),
  });
  const button = byId("check-in-button", HTMLButtonElement);
  button.disabled = !open;
  button.hidden = over;
  byId("me-attendance").textContent = when || t("Chưa điểm danh");
}

/** @param {import("../state.js").State} state */
function renderNow(state) {
  const { recording } = state.conference;
  const replay = byId("replay-call", HTMLAnchorElement);
  replay.hidden = !recording || !isOver(state);
  if (recording) replay.href = `/replay/${recording}`;
  const item = state.agenda[String(state.conference.item)];
  byId("agenda-now").hidden = !item;
  if (item) {
    const left = timeLeftText(item, connection.now());
    fill(byId("agenda-now"), { title: item.title, speaker: item.speaker, left });
  }
  const question = Object.values(state.questions).find((q) => q.state === "on_stage");
  byId("question-now").hidden = !question;
  if (question) {
    fill(byId("question-now"), { text: question.text, site: siteName(state, question.site) });
  }
  renderList(byId("agenda"), "agenda-template", agendaRows(state), (row) => row.id, (row) => row);
}

/** @param {import("../state.js").State} state */
function renderQuestions(state) {
  byId("ask-form").hidden = !isOpen(state);
  byId("ask-closed").hidden = isOpen(state);
  byId("ask-closed").textContent = isOver(state)
    ? t("Hội nghị đã kết thúc, không nhận thêm câu hỏi.")
    : t("Gửi câu hỏi được khi ban tổ chức mở phòng chờ.");
  const all = Object.values(state.questions).sort((a, b) => b.id - a.id);
  const mine = all.filter((q) => state.sent[String(q.id)]);
  const own = new Set(mine.map((q) => q.id));
  const open = all.filter((q) => !own.has(q.id) && q.state === "answered");
  const describe = (/** @type {import("../state.js").Entity} */ q) => ({
    text: q.text,
    state: questionStateText(q.state),
    when: formatTime(q.asked_at),
    reason: q.state === "set_aside" ? q.reason : "",
    answer: q.answer ?? "",
    by: q.answered_by ? `— ${q.answered_by}` : "",
    now: q.state === "on_stage",
    answered: q.state === "answered",
  });
  renderList(byId("my-questions"), "question-template", mine, (q) => q.id, describe);
  renderList(byId("public-questions"), "question-template", open, (q) => q.id, describe);
}

/** @returns {import("../state.js").Entity | undefined} the run on the screens now */
const currentRun = () => Object.values(connection.state.runs)[0];

/** @param {import("../state.js").State} state */
function renderQuiz(state) {
  const run = currentRun();
  byId("quiz-card").hidden = !run;
  byId("quiz-empty").hidden = Boolean(run);
  byId("quiz-soon").hidden = isOver(state);
  const open = run?.state === "open";
  byId("quiz-call").hidden = !open;
  const last = run && state.responses[String(run.item)];
  const mine = last?.run === run?.run ? last : undefined; // a quiz may be run again
  // What waits for this person: once answered, nothing does.
  byId("quiz-badge").textContent = open && !mine ? "1" : "";
  if (!run) return;
  fill(byId("quiz-call"), { title: run.title });
  const votes = run.options.map((/** @type {string} */ _, /** @type {number} */ i) =>
    Object.values(run.chart ?? {}).reduce((sum, counts) => sum + counts[i], 0),
  );
  const total = votes.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
  fill(byId("quiz-card"), { question: run.text, note: quizNote(run, mine) });
  const options = run.options.map((/** @type {string} */ text, /** @type {number} */ index) => ({
    index,
    text,
    letter: letters[index],
    mine: mine?.option === index,
    mine_text: mine?.option === index ? "true" : "false",
    correct: run.correct === index,
    closed: !open,
    share: run.chart && total ? formatPercent(votes[index] / total) : "",
  }));
  renderList(byId("options"), "option-template", options, (o) => `${run.item}-${o.index}`, (o, element) => {
    element.dataset.option = String(o.index);
    return o;
  });
  renderCountdown();
}

/**
 * @param {import("../state.js").Entity} run
 * @param {import("../state.js").Entity | undefined} mine
 */
function quizNote(run, mine) {
  const choice = mine ? letters[mine.option] : "";
  if (run.state !== "open") {
    if (run.correct === null) {
      return mine
        ? t("Đã hết giờ. Lựa chọn %(choice)s của bạn được tính.", { choice })
        : t("Đã hết giờ. Bạn không có lựa chọn nào được tính.");
    }
    const right = letters[run.correct];
    if (!mine) return t("Bạn không có lựa chọn nào được tính. Đáp án đúng: %(right)s.", { right });
    return mine.option === run.correct
      ? t("Bạn trả lời đúng: %(right)s.", { right })
      : t("Bạn chọn %(choice)s, đáp án đúng là %(right)s.", { choice, right });
  }
  if (!mine) return t("Chọn một phương án.");
  return t("Đã ghi nhận lựa chọn %(choice)s. Có thể đổi đến khi hết giờ.", { choice });
}

function renderCountdown() {
  const run = currentRun();
  if (!run) return;
  const [opened, deadline] = [Date.parse(run.opened_at), Date.parse(run.deadline_at)];
  const left = run.state === "open" ? Math.max(0, deadline - connection.now()) : 0;
  const element = byId("countdown");
  fill(element, {
    position: t("Câu %(position)s / %(items)s", { position: run.position, items: run.items }),
    left: run.state === "open" ? formatClock(Math.ceil(left / 1000)) : t("Hết giờ"),
  });
  find(element, "progress", HTMLProgressElement).value = left / (deadline - opened);
  element.classList.toggle("last", run.state === "open" && left < 6000);
}

function showPlace() {
  const wanted = location.hash.slice(1);
  const place = places.includes(wanted) ? wanted : "now";
  for (const name of places) byId(name).hidden = name !== place;
  for (const link of document.querySelectorAll(".places a")) {
    if (link.getAttribute("href") === `#${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.scrollTo(0, 0);
}

byId("check-in-button").addEventListener("click", async () => {
  if (await act(byId("check-in-button"), "attendance.check_in", {})) announce(t("Đã điểm danh"));
});

wireAsking(connection, act);
keepDrafts("#ask-text");

on(byId("options"), "click", "[data-option]", (button) => {
  const run = currentRun();
  if (run?.state !== "open") return;
  // The last choice counts: what was chosen before it, and is still on its way, may be chosen once more.
  for (const before of byId("options").querySelectorAll("button")) setBusy(before, false);
  act(button, "activity.answer", { run: run.run, item: run.item, option: Number(button.dataset.option) });
});

async function watch() {
  const button = byId("watch-button");
  setBusy(button, true);
  try {
    // The player is large: loaded by those alone who ask for it.
    const { LiveStream } = await import("../rooms/live-stream.js");
    liveStream ??= new LiveStream(find(byId("watch"), "video", HTMLVideoElement), renderWatch);
    keep("watches", true);
    renderWatch();
  } catch (error) {
    toast(/** @type {Error} */ (error).message, { kind: "wrong" });
  } finally {
    setBusy(button, false);
  }
}

document.getElementById("watch-button")?.addEventListener("click", watch);
if (kept("watches")) void watch();
window.addEventListener("hashchange", () => {
  closeToasts();
  showPlace();
});
setInterval(() => {
  renderCountdown();
  renderNow(connection.state);
}, 1000);
showPlace();
render();
