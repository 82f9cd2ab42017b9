// @ts-check
/** A room's projector: shows what the conference shows, by itself, for hours. */

import { connect, readBoot } from "../connection.js";
import { byId, fill, renderList, setBanner } from "../dom.js";
import { formatNumber, formatTime, t, tn } from "../i18n.js";
import { keep, kept } from "../kept.js";
import { qualityText } from "../media/quality.js";
import { Receiver } from "../media/receive.js";
import { hasMedia, isOpen, isOver, showRecording } from "../rooms/conference.js";
import { showReduced, showUnreachable } from "../rooms/downlink.js";
import { nextItem, timeLeft, timeLeftText } from "../rooms/agenda.js";
import { floorText, ownFloor, ownSite } from "../rooms/floor.js";
import { stageTile } from "../rooms/live-stage.js";
import { countdown, currentRun, optionRows, siteRows, sitesTitle } from "../rooms/quiz-board.js";
import { emptyStageText, sends, Tile } from "../rooms/stage.js";
import { keepAwake } from "../rooms/wake-lock.js";

/** A question longer than this is set smaller, so that the lower third stays low. */
const LONG_QUESTION = 180;

/** After a touch of the machine, so long is it offered to play the sound here. */
const TOUCHED_MS = 10_000;

let touchedAt = -TOUCHED_MS;
/** Whether the room's sound came from here before a reload; of two displays it is to be this one again. */
let sounded = kept("sounds") === true;
/** @type {string | null} since when the server has not been reached */
let lostAt = null;
const connection = connect({
  ...readBoot(),
  onChange: render,
  onLive: ({ type, data }) => receiver.handleLive(type, data),
  onStatus: (online, refusal) => {
    if (online) {
      receiver.resume();
      if (sounded) connection.listen(true, { here: true });
      sounded = false;
    } else if (refusal) receiver.stop();
    lostAt = online ? null : (lostAt ?? formatTime(connection.now()));
    const lost = lostAt
      ? t("Không có kết nối với máy chủ từ %(time)s. Màn hình đang tự nối lại.", { time: lostAt })
      : null;
    setBanner("connection-banner", refusal?.message ?? lost);
  },
});
const receiver = new Receiver({
  send: (type, payload) => connection.send(type, payload),
  onChange: renderMedia,
  sends: (source, kind) => sends(connection.state, source, kind),
  isOnline: () => connection.online,
  onSilence: () => void connection.doubt(),
});
const stage = stageTile(byId("stage"), receiver);
const presentation = new Tile(byId("presentation"), receiver, "presentation");

function render() {
  const { state } = connection;
  renderHead(state);
  renderMode(state);
  renderCheckIn(state);
  renderTurn(state);
  renderQuestion(state);
  renderQuiz(state);
  renderMedia();
  renderTime();
}

/** @param {import("../state.js").State} state */
function renderHead(state) {
  const status = byId("status");
  const live = state.conference.state === "live";
  status.hidden = !["live", "paused", "lobby"].includes(state.conference.state);
  status.classList.toggle("now", live);
  fill(status, { text: live ? t("TRỰC TIẾP") : stateTitle(state.conference) });
  fill(byId("title"), { title: state.conference.title });
  fill(byId("site"), { name: ownSite(state)?.name ?? "" });
  showRecording(byId("recording"), state);
}

/** @param {import("../state.js").Entity} conference */
function stateTitle(conference) {
  switch (conference.state) {
    case "lobby":
      return t("Sắp bắt đầu");
    case "paused":
      return t("Hội nghị tạm nghỉ");
    case "ended":
    case "archived":
      return t("Hội nghị đã kết thúc");
    default:
      return t("Hội nghị chưa mở");
  }
}

/**
 * Which of the board's pictures is large, or what covers them.
 * @param {import("../state.js").State} state
 */
function renderMode(state) {
  const { conference } = state;
  const idle = !conference.stage && !conference.presentation;
  const replay = isOver(state) && Boolean(conference.recording);
  const large = replay || (conference.state === "lobby" && idle);
  const covered = !large && conference.state !== "live" && (conference.state !== "lobby" || idle);
  byId("check-in-large").hidden = !large;
  fill(byId("check-in-large"), {
    title: replay ? t("Xem lại hội nghị") : t("Mời quý vị điểm danh"),
    thanks: replay ? t("Cảm ơn quý vị đã tham dự. Bản ghi có thể xem lại ngay.") : "",
    counting: !replay,
  });
  byId("cover").hidden = !covered;
  fill(byId("cover"), { title: stateTitle(conference), about: coverText(conference) });
  const board = byId("board");
  const presenting = sends(state, conference.presentation, "picture") && !covered;
  byId("presentation").hidden = !presenting;
  byId("stage").hidden = presenting && !conference.stage;
  board.classList.toggle("presentation-first", presenting);
  board.classList.toggle("aside-empty", !isOpen(state));
}

/** @param {import("../state.js").Entity} conference */
function coverText(conference) {
  if (conference.state === "paused") return t("Quý vị vui lòng ở lại phòng, hội nghị sẽ tiếp tục.");
  if (conference.state === "ended" || conference.state === "archived") {
    return t("Cảm ơn quý vị đã tham dự.");
  }
  return t("Bắt đầu lúc %(time)s", { time: formatTime(conference.starts_at) });
}

/** @param {import("../state.js").Entity} conference */
function startText(conference) {
  // Who begins late shall not be told of a time that has passed.
  if (Date.parse(conference.starts_at) < connection.now()) return t("Hội nghị sắp bắt đầu");
  return t("Hội nghị bắt đầu lúc %(time)s", { time: formatTime(conference.starts_at) });
}

/** @param {import("../state.js").State} state */
function renderCheckIn(state) {
  const site = ownSite(state);
  const { conference } = state;
  byId("check-in").hidden = !isOpen(state) || !site?.expected;
  const values = {
    present: formatNumber(site?.present ?? 0),
    of: t("/ %(n)s có mặt", { n: formatNumber(site?.expected ?? 0) }),
    share: site?.expected ? site.present / site.expected : 0,
    when: startText(conference),
  };
  fill(byId("check-in"), values);
  fill(byId("check-in-large"), values);
}

/** @param {import("../state.js").State} state */
function renderTurn(state) {
  const how = ownFloor(state);
  const turn = byId("turn");
  turn.hidden = ["silent", "held", "over"].includes(how); // the cover says that there is a pause
  turn.classList.toggle("your-floor", how === "speaking");
  if (!turn.hidden) fill(turn, floorText(state));
}

/** @param {import("../state.js").State} state */
function renderQuestion(state) {
  const question = Object.values(state.questions).find((each) => each.state === "on_stage");
  const third = byId("question");
  third.hidden = !question;
  if (!question) return;
  third.classList.toggle("long", question.text.length > LONG_QUESTION);
  fill(third, { text: question.text, site: state.sites[String(question.site)]?.name ?? "" });
}

/** @param {import("../state.js").State} state */
function renderQuiz(state) {
  const run = currentRun(state);
  byId("quiz").hidden = !run;
  if (!run) return;
  fill(byId("quiz"), {
    position: t("Câu %(position)s / %(items)s", { position: run.position, items: run.items }),
    quizTitle: run.title,
    question: run.text,
    answered: tn("%(n)s người đã trả lời", "%(n)s người đã trả lời", run.answered),
    sitesTitle: sitesTitle(run),
  });
  const options = optionRows(run);
  const sites = siteRows(state, run);
  fill(byId("quiz"), { anySite: sites.length > 0 });
  /** @param {{key: string}} row */
  const key = (row) => row.key;
  renderList(byId("quiz-options"), "quiz-option-template", options, key, (row) => row);
  renderList(byId("quiz-bars"), "quiz-bar-template", options, key, (row) => row);
  renderList(byId("quiz-sites"), "quiz-site-template", sites, (row) => row.id, (row) => row);
}

function renderMedia() {
  const { state } = connection;
  const wanted = hasMedia(state) && !connection.refusal;
  // Either renders again.
  if (wanted && receiver.state === "idle") return receiver.start();
  if (!wanted && receiver.state !== "idle") return receiver.stop();
  stage.render(state, emptyStageText(state));
  presentation.render(state, t("Chưa có trình chiếu"));
  receiver.setSound(connection.sounds); // one page of a room: two would echo
  byId("sound-banner").hidden = !receiver.soundBlocked;
  renderSilent();
  showReduced(byId("reduced"), receiver.reducedBps);
  showUnreachable("media-banner", [receiver]);
  const weak = receiver.state === "live" && receiver.line && receiver.line.level <= 1;
  setBanner("line-banner", weak && receiver.line ? qualityText(receiver.line.level) : null);
}

/** A room may have two displays, and only people know which one is wired to its speakers. */
function renderSilent() {
  const silent = connection.soundingPage !== null && !connection.sounds;
  byId("silent-banner").hidden = !silent || performance.now() - touchedAt > TOUCHED_MS;
}

/** What changes with the clock alone. */
function renderTime() {
  renderSilent();
  const { state } = connection;
  const now = connection.now();
  byId("clock").textContent = formatTime(now);
  renderAgenda(state, now);
  const run = currentRun(state);
  if (run) {
    const { open, left, share, last } = countdown(run, now);
    fill(byId("quiz"), { open, left, left_share: share, last });
  }
}

/**
 * @param {import("../state.js").State} state
 * @param {number} now server time, ms
 */
function renderAgenda(state, now) {
  const item = state.agenda[String(state.conference.item)];
  const next = isOpen(state) ? nextItem(state) : undefined;
  fill(byId("agenda-now"), {
    current: Boolean(item),
    title: item?.title ?? "",
    speaker: item?.speaker ?? "",
    planned: item ? `${formatTime(item.starts_at)} – ${formatTime(item.ends_at)}` : "",
    share: item ? timeLeft(item, now).share : 0,
    left: item ? timeLeftText(item, now) : "",
    next: next ? t("Tiếp theo: %(title)s", { title: next.title }) : "",
  });
}

byId("sound-button").addEventListener("click", () => receiver.unblockSound());
byId("sound-here").addEventListener("click", () => connection.listen(true, { here: true }));
// Any touch of the machine is the gesture that a browser waits for.
for (const touch of ["pointerdown", "keydown"]) {
  addEventListener(touch, () => {
    if (receiver.soundBlocked) receiver.unblockSound();
    touchedAt = performance.now();
    renderSilent();
  });
}
addEventListener("pagehide", () => keep("sounds", connection.sounds));
setInterval(renderTime, 250);
keepAwake();
connection.listen(true);
render();
