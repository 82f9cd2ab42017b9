// @ts-check
/**
 * The recording while it is made, by HLS, some ten seconds behind: for who attends online, and as
 * the stage of a browser that has no H.264 in WebRTC (Firefox on a closed network).
 */

import { openPlayer } from "../replay/player.js";

/** @typedef {import("../state.js").State} State */

/** What could not be played is tried again after this. */
const RETRY_MS = 10_000;
/** The player gives up where it has to wait, not where it was told to stop or to await a gesture. */
const NO_FAILURE = ["AbortError", "NotAllowedError"];

/**
 * The recording that is being made now, or null.
 * @param {State} state
 * @returns {string | null}
 */
export const liveRecording = ({ conference }) =>
  conference.state === "live" ? (conference.recording ?? null) : null;

/** A live recording in a video element, from its newest picture on. */
export class LiveStream {
  /** Whether it cannot be played; it is tried again. */
  failed = false;

  /** @type {string | null} */
  #recording = null;
  /** @type {import("../replay/player.js").Player | null} */
  #player = null;
  /** Counts what was asked for: what is still opening may not be wanted any more. */
  #wish = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => void} onChange when pictures come, cease, or cannot be played
   */
  constructor(video, onChange) {
    this.video = video;
    this.onChange = onChange;
    for (const type of ["loadeddata", "emptied"]) video.addEventListener(type, onChange);
  }

  /** Whether there is a picture. */
  get shown() {
    return this.#recording !== null && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
  }

  /**
   * Play this recording, or nothing.
   * @param {string | null} recording
   */
  follow(recording) {
    if (recording === this.#recording) return;
    this.#recording = recording;
    this.failed = false;
    void this.#open();
  }

  async #open() {
    this.#player?.destroy();
    this.#player = null;
    const wish = ++this.#wish;
    if (!this.#recording) return this.onChange();
    const base = `/replay/${this.#recording}`;
    const failed = () => this.#fail(wish);
    try {
      const urls = /** @type {const} */ ([`${base}/master.m3u8`, `${base}/native.m3u8`]);
      const player = await openPlayer(this.video, ...urls, failed, { live: true });
      if (wish !== this.#wish) return player.destroy();
      this.#player = player;
      await this.video.play();
      this.failed = false;
    } catch (error) {
      if (!NO_FAILURE.includes(/** @type {Error} */ (error).name)) failed();
    }
  }

  /** @param {number} wish what was being played */
  #fail(wish) {
    if (wish !== this.#wish || this.failed) return;
    this.failed = true;
    this.#player?.destroy();
    this.#player = null;
    this.onChange();
    setTimeout(() => {
      if (wish !== this.#wish) return;
      this.failed = false;
      void this.#open();
    }, RETRY_MS);
  }
}
