// @ts-check
/**
 * Freezes that the line is to blame for. A browser counts one wherever pictures pause for longer
 * than usual (W3C webrtc-stats, freezeCount): also when a slot goes over to another source, whose
 * first picture comes when it comes, when a camera was off, or nobody looked.
 */

/** After such a change pictures may come as they like for so long. */
const SETTLES_MS = 2000;

export class Freezes {
  #counted = { freezes: 0, frozen_ms: 0 };
  /** @type {Map<string, {source: string | null, since_ms: number, freezes: number, frozen_ms: number}>} */
  #slots = new Map();

  /** @param {(mid: string) => string | null} showing the source whose moving picture a slot shows now */
  constructor(showing) {
    this.showing = showing;
  }

  /**
   * Look at the connection again.
   * @param {RTCStatsReport} report
   * @param {number} now_ms
   * @returns {{freezes: number, frozen_ms: number}} those since its beginning
   */
  add(report, now_ms) {
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
      };
      this.#slots.set(mid, now);
      if (!same || source === null || now_ms - now.since_ms < SETTLES_MS) continue;
      this.#counted.freezes += now.freezes - before.freezes;
      this.#counted.frozen_ms += now.frozen_ms - before.frozen_ms;
    }
    return { ...this.#counted };
  }
}
