// @ts-check
/** The replay: stage and presentation in step, markers, speed, where I stopped. */

import { readBoot } from "../connection.js";
import { byId, find, on, renderList, setBanner, toast } from "../dom.js";
import { fold, formatClock, formatNumber, t } from "../i18n.js";
import { keep, kept } from "../kept.js";
import { Memory } from "../replay/memory.js";
import { Patience } from "../replay/patience.js";
import { openPlayer } from "../replay/player.js";
import { Presentation } from "../replay/presentation.js";
import { setUpTabs } from "../tabs.js";

/** @typedef {{kind: string, at_ms: number, text: string, id: number, written: boolean}} Marker */

const SKIP_S = 10;
const TIMELINE_EVERY_MS = 5000;
const lists = { agenda: "chapters", question: "questions", activity: "quizzes" };

const boot = readBoot();
const stage = find(byId("stage"), "video", HTMLVideoElement);
const presentation = new Presentation(
  find(byId("presentation"), "video", HTMLVideoElement),
  `/replay/${boot.recording}/`,
);
const seek = byId("seek", HTMLInputElement);
const memory = new Memory(boot.recording);
const patience = new Patience((trouble) =>
  setBanner("network-banner", trouble ? t("Chưa tải được bản ghi. Đang thử lại…") : null),
);
const search = byId("search", HTMLInputElement);
/** @type {Marker[]} */
let markers = boot.markers;
let duration_s = 0;
let seeking = false;
/** What somebody asked for before there was anything to play; done once it can be. */
const wish = {
  at_s: /** @type {number | null} */ (null),
  /** Where on the bar, 0 to 1, while its length is not known. */
  share: /** @type {number | null} */ (null),
  play: false,
};
/** Whether the time line is known and the stage has had media to seek in. */
let begun = false;

/** @param {number} seconds */
function go(seconds) {
  if (!begun) {
    Object.assign(wish, { at_s: Math.max(0, seconds), share: null });
    return tick();
  }
  stage.currentTime = Math.min(Math.max(0, seconds), Math.max(0, duration_s - 0.05));
  tick();
}

/** @param {number} seconds forward, or back where negative */
const skip = (seconds) => go((wish.at_s ?? stage.currentTime) + seconds);

async function readTimeline() {
  const timeline = await patience.json(boot.timeline);
  presentation.clips = timeline.presentation;
  duration_s = timeline.duration_ms / 1000;
  if (duration_s && wish.share !== null) wish.at_s = wish.share * duration_s;
  if (duration_s) Object.assign(seek, { max: String(duration_s), step: "0.1" });
  byId("duration").textContent = formatClock(duration_s);
  renderPosition(); // paused, it stands still while the bar grows
  renderMarkers();
  begin();
  if (!timeline.ended) setTimeout(refresh, TIMELINE_EVERY_MS);
}

/** While the conference is live the time line grows. */
async function refresh() {
  ({ markers } = await patience.json(boot.journal));
  await readTimeline();
}

function renderMarkers() {
  const known = markers.filter((marker) => marker.at_ms <= duration_s * 1000);
  renderList(byId("markers"), "marker-template", known, (m) => `${m.kind}-${m.id}-${m.at_ms}`, (m) => ({
    share: duration_s ? m.at_ms / 1000 / duration_s : 0,
    agenda: m.kind === "agenda",
    question: m.kind === "question",
    quiz: m.kind === "activity",
  }));
  renderChapters();
}

function renderChapters() {
  const now_ms = stage.currentTime * 1000 + 1;
  const wanted = fold(search.value.trim());
  /** @type {Record<string, number>} how many of each list match */
  const hits = {};
  for (const [kind, list] of Object.entries(lists)) {
    const all = markers.filter((marker) => marker.kind === kind);
    const current = all.filter((row) => row.at_ms <= now_ms).at(-1);
    const rows = all.filter((row) => fold(row.text).includes(wanted));
    hits[list] = rows.length;
    find(document, `[data-hits-of=${list}]`).textContent = wanted ? formatNumber(rows.length) : "";
    renderList(byId(list), "chapter-template", rows, (m) => `${m.id}-${m.at_ms}`, (m, element) => {
      element.dataset.at = String(m.at_ms / 1000);
      return {
        time: formatClock(m.at_ms / 1000),
        text: m.text,
        about: m.written ? t("Trả lời bằng văn bản vào lúc này") : "",
        current: m === current ? "true" : false,
      };
    });
    find(document, `[data-empty-for=${list}]`).hidden = all.length > 0;
  }
  byId("no-match").hidden = !wanted || Object.values(hits).some((count) => count > 0);
  return hits;
}

/** Show what was searched for, also where it is behind another tab. */
function searchAll() {
  const hits = renderChapters();
  const shown = Object.keys(hits).find((list) => !byId(`${list}-panel`).hidden);
  const first = Object.keys(hits).find((list) => hits[list] > 0);
  if (shown && !hits[shown] && first) selectTab(`${first}-panel`);
}

/** The bar's thumb, its fill and its figure. */
function renderPosition() {
  if (!seeking) seek.value = String(wish.at_s ?? wish.share ?? stage.currentTime);
  seek.style.setProperty("--position", String(duration_s ? Number(seek.value) / duration_s : 0));
  seek.setAttribute("aria-valuetext", formatClock(Number(seek.value)));
  byId("position").textContent = formatClock(Number(seek.value));
}

function tick() {
  renderPosition();
  if (begun && !stage.paused) memory.note(stage.currentTime);
  void presentation.follow(stage);
  byId("presentation").hidden = !presentation.shown;
  byId("presentation").classList.toggle("has-picture", presentation.shown);
  byId("players").classList.toggle("alone", !presentation.shown);
  byId("swap").hidden = !presentation.shown;
  renderChapters();
}

function showPlaying() {
  const button = byId("play");
  const playing = wish.play || (!stage.paused && !stage.ended);
  const words = playing ? t("Tạm dừng") : t("Phát");
  button.setAttribute("aria-label", words);
  button.title = words;
  const icon = playing ? "pause" : "play";
  find(button, "use", SVGUseElement).setAttribute("href", `/static/vendor/lucide/icons.svg#${icon}`);
}

async function toggle() {
  if (!begun) {
    wish.play = !wish.play;
    return showPlaying();
  }
  if (!stage.paused) return stage.pause();
  if (stage.ended) stage.currentTime = 0;
  try {
    await stage.play();
  } catch {
    setBanner("player-banner", t("Trình duyệt chưa phát được. Bấm Phát lần nữa."));
  }
}

const remember = () => memory.note(stage.currentTime, { now: true });

function recall() {
  const at_s = memory.recall(duration_s);
  if (at_s === null) return;
  stage.currentTime = at_s;
  toast(t("Xem tiếp từ %(time)s, chỗ bạn đã dừng.", { time: formatClock(at_s) }));
}

/** Go to where one was sent, or had stopped, and play if that was asked for. */
function begin() {
  if (begun || !duration_s || stage.readyState < HTMLMediaElement.HAVE_METADATA) return;
  begun = true;
  const { at_s, play } = wish;
  Object.assign(wish, { at_s: null, share: null, play: false });
  if (at_s === null) recall();
  else go(at_s);
  showPlaying();
  if (play && stage.paused) void toggle();
}

/** @param {boolean} muted */
function mute(muted) {
  stage.muted = muted;
  keep("muted", muted);
  byId("mute").setAttribute("aria-pressed", String(muted));
}

/** @param {string} speed as the choice has it */
function setSpeed(speed) {
  byId("speed", HTMLSelectElement).value = speed;
  // Loading sets a video back to its default.
  stage.defaultPlaybackRate = stage.playbackRate = Number(speed);
  keep("speed", speed);
}

function fullscreen() {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void byId("players").requestFullscreen();
}

byId("play").addEventListener("click", toggle);
byId("back").addEventListener("click", () => skip(-SKIP_S));
byId("forward").addEventListener("click", () => skip(SKIP_S));
byId("mute").addEventListener("click", () => mute(!stage.muted));
byId("swap").addEventListener("click", () => byId("players").classList.toggle("swapped"));
byId("fullscreen").addEventListener("click", fullscreen);
byId("retry").addEventListener("click", () => patience.again());
search.addEventListener("input", searchAll);
byId("speed").addEventListener("change", () => setSpeed(byId("speed", HTMLSelectElement).value));
seek.addEventListener("input", () => {
  seeking = true;
  renderPosition();
});
seek.addEventListener("change", () => {
  seeking = false;
  if (duration_s) go(Number(seek.value));
  else Object.assign(wish, { at_s: null, share: Number(seek.value) });
});
on(document, "click", ".chapter", (chapter) => go(Number(chapter.dataset.at)));
/** @type {Record<string, () => void>} */
const keys = {
  " ": toggle,
  ArrowLeft: () => skip(-SKIP_S),
  ArrowRight: () => skip(SKIP_S),
  m: () => mute(!stage.muted),
  f: fullscreen,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  // Where the key has a meaning of its own it keeps it: typing, choosing, a button's space.
  const own = event.key === " " ? "input:not(#seek), select, button" : "input:not(#seek), select, [role=tablist]";
  if (target.closest(own) || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
for (const type of ["play", "pause", "ended"]) stage.addEventListener(type, showPlaying);
stage.addEventListener("timeupdate", tick);
stage.addEventListener("loadedmetadata", begin);
stage.addEventListener("click", toggle);
stage.addEventListener("playing", () => setBanner("player-banner", null));
window.addEventListener("pagehide", remember);
stage.addEventListener("pause", remember);

const selectTab = setUpTabs(byId("tabs"));
for (const [kind, panel] of Object.entries(lists)) byId(`${panel}-panel`).hidden = kind !== "agenda";
mute(kept("muted") ?? false);
setSpeed(kept("speed") ?? "1");
void readTimeline();
await openPlayer(
  stage,
  boot.master,
  boot.native,
  () => setBanner("player-banner", t("Không phát được bản ghi trên trình duyệt này. Hãy thử Chrome hoặc Edge mới.")),
  { patience },
);
tick();
