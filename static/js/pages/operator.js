// @ts-check
/** A room's operator: camera and microphone, the floor, the roster, questions of the room. */

import { actBy } from "../act.js";
import { connect, readBoot } from "../connection.js";
import { announce, byId, fill, find } from "../dom.js";
import { renderList, setBanner, toast } from "../dom.js";
import { formatTime, t } from "../i18n.js";
import { clearSent, keep, keepDrafts, kept } from "../kept.js";
import { openCamera, openScreen } from "../media/devices.js";
import { LevelMeter } from "../media/meter.js";
import { Publisher } from "../media/publish.js";
import { Receiver } from "../media/receive.js";
import { excessText } from "../media/session.js";
import { renderAdmissions, wireAdmissions } from "../rooms/admissions.js";
import { agendaRows, nextItem, timeLeft, timeLeftText } from "../rooms/agenda.js";
import { wireAsking } from "../rooms/asking.js";
import { conferenceStateText, hasMedia, isOpen, isOver, showRecording } from "../rooms/conference.js";
import { showReduced, showUnreachable } from "../rooms/downlink.js";
import { floorText, ownFloor, ownSite } from "../rooms/floor.js";
import { stageTile } from "../rooms/live-stage.js";
import { LinesPanel } from "../rooms/lines.js";
import { Preflight, showSelf } from "../rooms/preflight.js";
import { questionStateText } from "../rooms/questions.js";
import { RosterPanel } from "../rooms/roster-panel.js";
import { wireSharing } from "../rooms/sharing.js";
import { emptyStageText, sends, Tile } from "../rooms/stage.js";
import { lineFigures, publishText, publishTrouble, showQuality, showUplink } from "../rooms/uplink.js";
import { keepAwake } from "../rooms/wake-lock.js";
import { setUpTabs } from "../tabs.js";

/** @typedef {import("../state.js").State} State */

const boot = readBoot();
const JOINED = `diemcau.joined.${boot.seat}`;
/** The operator's choice; null follows the rule: one page of a room plays, as the server says. */
let listening = /** @type {boolean | null} */ (kept("listens") ?? null);

const connection = connect({
  ...boot,
  onChange: render,
  onLive: ({ type, data }) => {
    for (const media of [camera, screen, receiver]) media.handleLive(type, data);
    if (type === "media_closed" && data.reason === "excess") toast(excessText(), { kind: "wrong" });
  },
  onStatus: (online, refusal) => {
    for (const media of [camera, screen, receiver]) {
      if (online) media.resume();
      else if (refusal) media.stop();
    }
    const lost = t("Chưa nối được với máy chủ. Thao tác được giữ lại và gửi khi có mạng.");
    setBanner("connection-banner", online ? null : (refusal?.message ?? lost));
  },
});
const act = actBy(connection);
const isOnline = () => connection.online;
const onSilence = async () => {
  // What this page sends goes the same way, and its browser would find out seconds later.
  if (await connection.doubt()) for (const media of [camera, screen, receiver]) media.distrust();
};
/** @type {import("../media/session.js").Send} */
const send = (type, payload) => connection.send(type, payload);
const camera = new Publisher({
  send,
  source: "camera",
  capture: (wanted) => openCamera(preflight.choice, wanted),
  isOnline,
  onSilence,
  onChange: renderMedia,
});
const screen = new Publisher({
  send,
  source: "screen",
  capture: openScreen,
  isOnline,
  onSilence,
  onChange: renderMedia,
});
const receiver = new Receiver({
  send,
  onChange: renderMedia,
  sends: (source, kind) => sends(connection.state, source, kind),
  isOnline,
  onSilence,
});
Object.assign(camera.muted, kept("muted"));
const preflight = new Preflight(camera, {
  join: (withCamera) => void join(withCamera),
  refused: () => Boolean(connection.refusal),
  speaker: (deviceId) => receiver.setSpeaker(deviceId),
});
const stage = stageTile(byId("stage"), receiver);
const presentation = new Tile(byId("presentation"), receiver, "presentation");
const rosterPanel = new RosterPanel(() => connection.state, act);
const lines = new LinesPanel(byId("lines"), byId("lines-old"), connection, () => {
  const site = ownSite(connection.state);
  return site ? { [site.id]: site } : {};
});
const meter = new LevelMeter(byId("level"));
/** @type {MediaStream | null} */
let metered = null;
let withPicture = false;

/**
 * Enter the room, or come back to it from the devices.
 * @param {boolean} withCamera
 */
async function join(withCamera) {
  localStorage.setItem(JOINED, withCamera ? "camera" : "silent");
  openRoom();
  withPicture = withCamera;
  if (withCamera && !camera.stream) await camera.preview();
  else if (!withCamera) camera.stop();
  render();
  byId("main").focus({ preventScroll: true });
}

/** Whether this room was entered to look and listen alone, or its devices were refused. */
const sendsNothing = () => !camera.stream && camera.state !== "asking";

/** @param {"audio" | "video"} kind switched off, or on again; where nothing is sent, devices come first */
async function mute(kind) {
  if (sendsNothing()) return chooseDevices();
  keep("muted", { ...camera.muted, [kind]: !camera.muted[kind] });
  await camera.mute(kind, !camera.muted[kind]);
}

function openRoom() {
  preflight.hide();
  byId("room").hidden = false;
}

function chooseDevices() {
  byId("room").hidden = true;
  preflight.show();
  void preflight.open();
}

/**
 * Sends and receives while the conference is open and this page is in the room.
 * @param {State} state
 */
function keepMedia(state) {
  if (byId("room").hidden && receiver.state === "idle") return; // not joined yet
  if (hasMedia(state) && !connection.refusal) {
    if (receiver.state === "idle") receiver.start();
    if (withPicture && camera.state === "previewing") void camera.publish();
    return;
  }
  if (receiver.state !== "idle") receiver.stop();
  if (camera.wanted) camera.halt();
  if (screen.wanted) screen.stop();
}

function render() {
  const { state } = connection;
  // There is nothing to try devices for any more; the roster may still be mended.
  if (isOver(state) && byId("room").hidden) openRoom();
  renderHead(state);
  renderFloor(state);
  renderQuestions(state);
  rosterPanel.render(state);
  renderAdmissions(state);
  renderList(byId("agenda"), "agenda-template", agendaRows(state), (row) => row.id, (row) => row);
  renderTime();
  keepMedia(state);
  renderMedia();
}

/** @param {State} state */
function renderHead(state) {
  fill(byId("title"), { title: state.conference.title });
  fill(byId("site"), { name: ownSite(state)?.name ?? "" });
  fill(byId("status"), { text: conferenceStateText(state.conference.state) });
  byId("status").classList.toggle("now", state.conference.state === "live");
  showRecording(byId("recording"), state);
  // Whose seat is no more knows nothing of the conference any more.
  const refused = Boolean(connection.refusal);
  byId("status").hidden = refused;
  if (refused) byId("recording").hidden = true;
}

/** @param {State} state */
function renderFloor(state) {
  const how = ownFloor(state);
  const card = byId("floor");
  const before = card.dataset.state;
  card.dataset.state = how;
  card.classList.toggle("now", how === "speaking");
  card.classList.toggle("wrong", how === "muted" || how === "unheard");
  const text = floorText(state);
  const { state: phase, recording } = state.conference;
  const replay = how === "over" && recording;
  if (replay) byId("replay-link", HTMLAnchorElement).href = `/replay/${recording}`;
  byId("replay-actions").hidden = !replay;
  fill(card, { ...text, canAsk: how === "silent" && phase === "live", canWithdraw: how === "waiting" });
  const isAsked = how === "speaking" || how === "unheard";
  const isCut = how === "unheard" && before === "speaking"; // it was asked before
  if (before && before !== how && isAsked) announce(isCut ? text.about : text.title, { assertive: true });
}

/** @param {State} state */
function renderQuestions(state) {
  const all = Object.values(state.questions).sort((a, b) => b.id - a.id);
  const shown = all.find((question) => question.state === "on_stage");
  byId("question").hidden = !shown;
  if (shown) {
    fill(byId("question"), { text: shown.text, site: state.sites[String(shown.site)]?.name ?? "" });
  }
  byId("ask-form").hidden = !isOpen(state);
  const own = all.filter((question) => question.site === state.me.site);
  renderList(byId("questions"), "question-template", own, (question) => question.id, (question) => ({
    text: question.text,
    state: questionStateText(question.state),
    when: formatTime(question.asked_at),
    reason: question.state === "set_aside" ? (question.reason ?? "") : "",
    answer: question.answer ?? "",
    now: question.state === "on_stage",
    answered: question.state === "answered",
  }));
}

function renderMedia() {
  const { state } = connection;
  preflight.render();
  stage.render(state, emptyStageText(state));
  presentation.render(state, t("Chưa có trình chiếu"));
  const presenting = sends(state, state.conference.presentation, "picture");
  byId("presentation").hidden = !presenting;
  byId("pictures").classList.toggle("pair", presenting);
  renderSelf();
  renderSound();
  byId("agenda-now").hidden = isOver(state);
  showQuality(byId("downlink"), receiver.line);
  showReduced(byId("reduced"), receiver.reducedBps);
}

function renderSelf() {
  byId("self-card").hidden = isOver(connection.state);
  const off = camera.muted.video && camera.stream;
  showSelf(byId("self"), off ? null : camera.stream);
  fill(byId("self"), { noPicture: off ? t("Đang tắt hình") : t("Không gửi hình") });
  // Before the room the preview has a bar of its own, of the same stream.
  const heard = byId("room").hidden ? null : camera.stream;
  if (heard !== metered) {
    metered = heard;
    if (heard) meter.start(heard);
    else meter.stop();
  }
  fill(byId("publish-state"), { text: publishText(camera) });
  const own = `site:${ownSite(connection.state)?.slug}`;
  const measured = connection.state.live?.lines?.[own];
  showUplink(byId("uplink"), camera, measured);
  fill(byId("uplink-figures"), { text: lineFigures(camera.line, measured) });
  const sent = connection.state.live?.publications ?? {};
  const trouble = byId("room").hidden
    ? null
    : (publishTrouble(camera, own in sent) ?? publishTrouble(screen, `${own}:screen` in sent));
  setBanner("publish-banner", trouble);
  showUnreachable("media-banner", [camera, screen, receiver]);
  const muted = { audio: camera.muted.audio || sendsNothing(), video: camera.muted.video || sendsNothing() };
  press("mute-audio", muted.audio, muted.audio ? t("Bật micrô") : t("Tắt micrô"));
  press("mute-video", muted.video, muted.video ? t("Bật hình") : t("Tắt hình"));
  press("share", screen.wanted, screen.wanted ? t("Dừng chia sẻ") : t("Chia sẻ màn hình"));
  byId("mute-audio").classList.toggle("off", muted.audio);
  byId("mute-video").classList.toggle("off", muted.video);
}

function renderSound() {
  const inRoom = !byId("room").hidden;
  connection.listen(inRoom);
  // Until it is known who else is here, nothing is played: two pages of a room would echo.
  receiver.setSound(inRoom && (listening ?? connection.sounds));
  const { soundOn } = receiver;
  press("listen", soundOn, soundOn ? t("Tắt tiếng máy này") : t("Nghe tại máy này"));
  byId("sound-banner").hidden = !receiver.soundBlocked;
}

/**
 * @param {string} id
 * @param {boolean} pressed
 * @param {string} text
 */
function press(id, pressed, text) {
  byId(id).setAttribute("aria-pressed", String(pressed));
  find(byId(id), ".button-text").textContent = text;
}

/** What changes with the clock alone. */
function renderTime() {
  const { state } = connection;
  const now = connection.now();
  byId("clock").textContent = formatTime(now);
  const item = state.agenda[String(state.conference.item)];
  const next = nextItem(state);
  fill(byId("agenda-now"), {
    current: Boolean(item),
    title: item?.title ?? t("Chưa có mục nào đang diễn ra"),
    left: item ? timeLeftText(item, now) : "",
    share: item ? timeLeft(item, now).share : 0,
    next: next ? t("Tiếp theo: %(title)s", { title: next.title }) : "",
  });
}

byId("floor-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = byId("reason", HTMLInputElement);
  const reason = box.value.trim();
  if (await act(byId("ask-floor"), "floor.request", { reason })) clearSent(box, reason);
});
byId("withdraw").addEventListener("click", () => void act(byId("withdraw"), "floor.withdraw", {}));

byId("mute-audio").addEventListener("click", () => void mute("audio"));
byId("mute-video").addEventListener("click", () => void mute("video"));
wireSharing(screen);
byId("listen").addEventListener("click", () => {
  listening = !receiver.soundOn;
  keep("listens", listening);
  if (listening && connection.soundingPage && !connection.sounds) {
    toast(t("Một trang khác của phòng cũng đang phát tiếng: hãy đeo tai nghe."));
  }
  renderMedia();
});
byId("settings").addEventListener("click", chooseDevices);
byId("publish-retry").addEventListener("click", () => void camera.publish());
byId("sound-button").addEventListener("click", () => receiver.unblockSound());

wireAdmissions(act);
wireAsking(connection, act);
keepDrafts("#ask-text, #reason");
const tab = kept("tab");
const select = setUpTabs(find(document, ".operator-side .tabs"), (panel) => {
  keep("tab", panel);
  void lines.show();
});
if (tab) select(tab);
setInterval(renderTime, 1000);
keepAwake();
render();
const joined = localStorage.getItem(JOINED);
if (isOver(connection.state)) openRoom();
else if (joined) void join(joined === "camera");
else void preflight.open();
