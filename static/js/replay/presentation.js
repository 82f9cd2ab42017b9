// @ts-check
/** The presentation beside the stage: the clip that the time line names, in step with it. */

import { openPlayer } from "./player.js";

/** @typedef {{start_ms: number, end_ms: number, playlist: string}} Clip */

/** More apart than this is put right by a seek. */
const DRIFT_S = 0.4;

export class Presentation {
  /** @type {Clip | null} */
  #clip = null;
  /** @type {import("./player.js").Player | null} */
  #player = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {string} base address of the recording's folder, with a slash at its end
   */
  constructor(video, base) {
    this.video = video;
    this.base = base;
    /** @type {Clip[]} */
    this.clips = [];
  }

  /** Whether something is shown now. */
  get shown() {
    return this.#clip !== null;
  }

  /**
   * Follow the stage.
   * @param {HTMLVideoElement} stage
   */
  async follow(stage) {
    const at_ms = stage.currentTime * 1000;
    const clip = this.clips.find((c) => c.start_ms <= at_ms && at_ms < c.end_ms) ?? null;
    if (clip?.playlist !== this.#clip?.playlist) await this.#open(clip);
    if (!clip) return;
    const wanted = (at_ms - clip.start_ms) / 1000;
    if (Math.abs(this.video.currentTime - wanted) > DRIFT_S) this.video.currentTime = wanted;
    this.video.playbackRate = stage.playbackRate;
    if (stage.paused !== this.video.paused) {
      if (stage.paused) this.video.pause();
      else this.video.play().catch(() => {}); // muted: only a clip that is going away refuses
    }
  }

  /** @param {Clip | null} clip */
  async #open(clip) {
    this.#player?.destroy();
    this.#player = null;
    this.#clip = clip;
    if (!clip) return;
    const url = this.base + clip.playlist;
    const player = await openPlayer(this.video, url, url, () => {});
    if (this.#clip === clip) this.#player = player;
    else player.destroy();
  }
}
