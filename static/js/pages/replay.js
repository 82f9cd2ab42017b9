// @ts-check
/** The replay: stage and presentation in step, markers, speed, where I stopped. */

import { readBoot } from "../connection.js";
import { byId, find, on, renderList, setBanner } from "../dom.js";
import { formatClock, t } from "../i18n.js";
import { openPlayer } from "../replay/player.js";
import { Presentation } from "../replay/presentation.js";
import { setUpTabs } from "../tabs.js";

/** @typedef {{kind: string, at_ms: number, text: string, id: number}} Marker */

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
const stoppedAt = `replay:${boot.recording}`;
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
  const answer = await fetch(boot.timeline);
  if (!answer.ok) return;
  const timeline = await answer.json();
  presentation.clips = timeline.presentation;
  duration_s = timeline.duration_ms / 1000;
  if (duration_s && wish.share !== null) wish.at_s = wish.share * duration_s;
  if (duration_s) seek.max = String(duration_s);
  byId("duration").textContent = formatClock(duration_s);
  byId("presentation").hidden = timeline.presentation.length === 0;
  byId("players").classList.toggle("alone", timeline.presentation.length === 0);
  byId("swap").hidden = timeline.presentation.length === 0;
  renderMarkers();
  begin();
  if (!timeline.ended) setTimeout(refresh, TIMELINE_EVERY_MS);
}

/** While the conference is live the time line grows. */
async function refresh() {
  const answer = await fetch(boot.journal);
  if (answer.ok) markers = (await answer.json()).markers;
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
  for (const [kind, list] of Object.entries(lists)) {
    const rows = markers.filter((marker) => marker.kind === kind);
    const current = rows.filter((row) => row.at_ms <= now_ms).at(-1);
    renderList(byId(list), "chapter-template", rows, (m) => `${m.id}-${m.at_ms}`, (m, element) => {
      element.dataset.at = String(m.at_ms / 1000);
      return {
        time: formatClock(m.at_ms / 1000),
        text: m.text,
        about: "",
        current: m === current ? "true" : false,
      };
    });
  }
}

function tick() {
  if (!seeking) seek.value = String(wish.at_s ?? stage.currentTime);
  seek.style.setProperty("--position", String(duration_s ? Number(seek.value) / duration_s : 0));
  seek.setAttribute("aria-valuetext", formatClock(Number(seek.value)));
  byId("position").textContent = formatClock(Number(seek.value));
  void presentation.follow(stage);
  byId("presentation").classList.toggle("has-picture", presentation.shown);
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

function remember() {
  // Private windows may refuse storage; the replay goes on without a memory.
  try {
    localStorage.setItem(stoppedAt, String(stage.currentTime));
  } catch {
    return;
  }
}

function recall() {
  try {
    const at = Number(localStorage.getItem(stoppedAt) ?? 0);
    if (at > 5 && at < duration_s - 5) stage.currentTime = at;
  } catch {
    return;
  }
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

byId("play").addEventListener("click", toggle);
byId("back").addEventListener("click", () => skip(-SKIP_S));
byId("forward").addEventListener("click", () => skip(SKIP_S));
byId("mute").addEventListener("click", () => {
  stage.muted = !stage.muted;
  byId("mute").setAttribute("aria-pressed", String(stage.muted));
});
byId("swap").addEventListener("click", () => byId("players").classList.toggle("swapped"));
byId("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void byId("players").requestFullscreen();
});
byId("speed").addEventListener("change", () => {
  stage.playbackRate = Number(byId("speed", HTMLSelectElement).value);
});
seek.addEventListener("input", () => {
  seeking = true;
  byId("position").textContent = formatClock(Number(seek.value));
});
seek.addEventListener("change", () => {
  seeking = false;
  if (duration_s) go(Number(seek.value));
  else wish.share = Number(seek.value);
});
on(document, "click", ".chapter", (chapter) => go(Number(chapter.dataset.at)));
document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest("input, select, button, [role=tablist]")) return;
  if (event.key === " ") {
    event.preventDefault();
    void toggle();
  } else if (event.key === "ArrowLeft") skip(-SKIP_S);
  else if (event.key === "ArrowRight") skip(SKIP_S);
});
for (const type of ["play", "pause", "ended"]) stage.addEventListener(type, showPlaying);
stage.addEventListener("timeupdate", tick);
stage.addEventListener("loadedmetadata", begin);
stage.addEventListener("click", toggle);
stage.addEventListener("playing", () => setBanner("player-banner", null));
window.addEventListener("pagehide", remember);
stage.addEventListener("pause", remember);

setUpTabs(byId("tabs"));
for (const [kind, panel] of Object.entries(lists)) byId(`${panel}-panel`).hidden = kind !== "agenda";
await readTimeline();
await openPlayer(stage, boot.master, boot.native, () =>
  setBanner("player-banner", t("Không phát được bản ghi trên trình duyệt này. Hãy thử Chrome hoặc Edge mới.")),
);
tick();
