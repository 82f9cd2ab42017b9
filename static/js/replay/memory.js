// @ts-check
/** Where I stopped watching a recording, kept by this browser. */

/** Nearer to an end than this, one begins at the beginning. */
const MARGIN_S = 5;
const EVERY_S = 5;

export class Memory {
  #saved_s = 0;

  /** @param {string} recording its id */
  constructor(recording) {
    this.key = `replay:${recording}`;
  }

  /**
   * Note where somebody is; cheap enough for each `timeupdate`.
   * @param {number} at_s
   * @param {{now?: boolean}} [options] now: however little has passed since the last note
   */
  note(at_s, { now = false } = {}) {
    if (!now && Math.abs(at_s - this.#saved_s) < EVERY_S) return;
    this.#saved_s = at_s;
    // Private windows may refuse storage; the replay goes on without a memory.
    try {
      localStorage.setItem(this.key, String(at_s));
    } catch {
      return;
    }
  }

  /**
   * Where to go on, or null for the beginning.
   * @param {number} duration_s
   * @returns {number | null}
   */
  recall(duration_s) {
    try {
      const at_s = Number(localStorage.getItem(this.key) ?? 0);
      return at_s > MARGIN_S && at_s < duration_s - MARGIN_S ? at_s : null;
    } catch {
      return null;
    }
  }
}
