// @ts-check
/**
 * Freezes that somebody sees, and those of them for which the line can be blamed. A browser counts one
 * wherever pictures pause for longer than usual (W3C webrtc-stats, freezeCount): also when a slot goes
 * over to another source, whose first picture comes when it comes, when a camera was off, or nobody
 * looked. Of many tiles that stand together, as they do where the processor is full, the worst counts.
 */

/** After such a change pictures may come as they like for so long. */
const SETTLES_MS = 2000;
/**
 * A freeze is counted when it ends: the loss that it came of may be so long ago. Round trips tell
 * nothing here: on a busy machine they are those of the machine, and a queue on a line ends in losses.
 * Nor do NACKs: what is late from its sender is asked for as well. What was lost on this line counts as
 * lost even when it came again (RTX).
 */
const BLAME_MS = 5000;

/**
 * @typedef {object} Counted since the beginning
 * @property {number} freezes
 * @property {number} frozen_ms
 * @property {number} line_freezes those of them while packets were lost
 */

export class Freezes {
  /** @type {Counted} */
  #counted = { freezes: 0, frozen_ms: 0, line_freezes: 0 };
  #bad_ms = -BLAME_MS;
  /** @type {Map<string, {source: string | null, since_ms: number, freezes: number, frozen_ms: number, lost: number}>} */
  #slots = new Map();

  /** @param {(mid: string) => string | null} showing the source whose moving picture a slot shows now */
  constructor(showing) {
    this.showing = showing;
  }

  /**
   * Look at the connection again.
   * @param {RTCStatsReport} report
   * @param {number} now_ms
   * @returns {Counted}
   */
  add(report, now_ms) {
    let freezes = 0;
    let frozen_ms = 0;
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp" || entry.freezeCount === undefined) continue;
      const mid = entry.mid ?? "";
      const source = this.showing(mid);
      const before = this.#slots.get(mid);
      const same = before !== undefined && before.source === source;
      const now = {
        source,
        since_ms: same ? before.since_ms : now_ms,
        freezes: entry.freezeCount,
        frozen_ms: (entry.totalFreezesDuration ?? 0) * 1000,
        lost: entry.packetsLost ?? 0,
      };
      this.#slots.set(mid, now);
      if (before && now.lost > before.lost) this.#bad_ms = now_ms;
      if (!same || source === null || now_ms - now.since_ms < SETTLES_MS) continue;
      freezes = Math.max(freezes, now.freezes - before.freezes);
      frozen_ms = Math.max(frozen_ms, now.frozen_ms - before.frozen_ms);
    }
    this.#counted.freezes += freezes;
    this.#counted.frozen_ms += frozen_ms;
    if (now_ms - this.#bad_ms < BLAME_MS) this.#counted.line_freezes += freezes;
    return { ...this.#counted };
  }
}
