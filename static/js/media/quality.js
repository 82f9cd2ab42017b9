// @ts-check
/** A line's quality in words, from a peer connection's own statistics (W3C webrtc-stats). */

import { t } from "../i18n.js";
import { Freezes } from "./freezes.js";

/**
 * @typedef {object} Totals what the connection has counted since its beginning
 * @property {number} at_ms
 * @property {number} packets
 * @property {number} lost packets
 * @property {number} freezes of the worst picture
 * @property {number} frozen_ms
 * @property {number} line_freezes those for which the line can be blamed
 * @property {number} rtt_ms the newest round-trip time
 * @property {number} fraction_lost newest report of the other side, 0 to 1 (senders)
 * @property {string} limited why the picture sent is no better: none, cpu, bandwidth or other
 */

/**
 * @typedef {object} Line the last two seconds
 * @property {0 | 1 | 2 | 3 | 4} level 0 no signal … 4 good
 * @property {number} loss 0 to 1
 * @property {number} rtt_ms
 * @property {number} silent_ms for how long no packet has come or gone
 * @property {string} limited why the picture sent is no better: none, cpu, bandwidth or other
 */

/**
 * @typedef {object} Report what the server is told of a session, since the last time
 * @property {number} rtt_ms
 * @property {number} loss 0 to 1
 * @property {number} freezes
 * @property {number} frozen_ms
 * @property {number} line_freezes
 * @property {string} limited
 */

const INTERVAL_MS = 1000;
const REPORT_MS = 10_000;

/**
 * Add up a report.
 * @param {RTCStatsReport} report
 * @param {number} now_ms
 * @returns {Omit<Totals, "freezes" | "frozen_ms" | "line_freezes">}
 */
export function totals(report, now_ms) {
  const sum = { at_ms: now_ms, packets: 0, lost: 0, rtt_ms: 0, fraction_lost: 0, limited: "none" };
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp") {
      sum.packets += entry.packetsReceived ?? 0;
      sum.lost += Math.max(0, entry.packetsLost ?? 0);
    } else if (entry.type === "outbound-rtp") {
      sum.packets += entry.packetsSent ?? 0;
      if (sum.limited === "none") sum.limited = entry.qualityLimitationReason ?? "none";
    } else if (entry.type === "remote-inbound-rtp") {
      sum.fraction_lost = Math.max(sum.fraction_lost, entry.fractionLost ?? 0);
    } else if (entry.type === "candidate-pair" && entry.nominated) {
      sum.rtt_ms = Math.max(sum.rtt_ms, (entry.currentRoundTripTime ?? 0) * 1000);
    }
  }
  return sum;
}

/**
 * What happened between two totals.
 * @param {Totals} before
 * @param {Totals} after
 * @param {number} silent_ms
 * @returns {Line}
 */
export function between(before, after, silent_ms) {
  const got = Math.max(0, after.packets - before.packets);
  const lost = Math.max(0, after.lost - before.lost);
  const loss = Math.max(after.fraction_lost, got + lost ? lost / (got + lost) : 0);
  const freezes = Math.max(0, after.line_freezes - before.line_freezes);
  return {
    level: grade(loss, after.rtt_ms, freezes, silent_ms),
    loss,
    rtt_ms: after.rtt_ms,
    silent_ms,
    limited: after.limited,
  };
}

/**
 * What the server is told of what happened between two totals; it refuses what is out of bounds.
 * @param {Totals} before
 * @param {Totals} after
 * @returns {Report}
 */
export function reportBetween(before, after) {
  const { loss, rtt_ms } = between(before, after, 0);
  /** @param {"freezes" | "line_freezes"} name */
  const count = (name) => Math.min(1000, Math.max(0, after[name] - before[name]));
  const frozen_ms = Math.max(0, Math.round(after.frozen_ms - before.frozen_ms));
  return {
    rtt_ms: Math.min(60_000, Math.round(rtt_ms)),
    loss: Math.min(1, loss),
    freezes: count("freezes"),
    frozen_ms: Math.min(60_000, frozen_ms),
    line_freezes: count("line_freezes"),
    limited: after.limited,
  };
}

/**
 * ITU-T G.114 asks for under 150 ms one way, so 300 there and back; speech and pictures with
 * retransmission bear about 2 % of loss unseen and break up from 10 %.
 * @param {number} loss
 * @param {number} rtt_ms
 * @param {number} freezes for which the line can be blamed
 * @param {number} silent_ms
 * @returns {0 | 1 | 2 | 3 | 4}
 */
export function grade(loss, rtt_ms, freezes, silent_ms) {
  if (silent_ms >= 3000) return 0;
  if (loss > 0.1 || rtt_ms > 1000) return 1;
  if (loss > 0.05 || rtt_ms > 500 || freezes > 0) return 2;
  if (loss > 0.02 || rtt_ms > 300) return 3;
  return 4;
}

/**
 * @param {number} level
 * @returns {string} for everyone, not only technicians
 */
export function qualityText(level) {
  return [
    t("Mất tín hiệu"),
    t("Đường truyền rất yếu"),
    t("Đường truyền yếu, hình có thể giật"),
    t("Đường truyền khá"),
    t("Đường truyền tốt"),
  ][level];
}

/**
 * Watches one peer connection, once a second, over a window of two.
 */
export class LineWatch {
  /** @type {Totals[]} */
  #window = [];
  #freezes;
  #silentSince_ms = 0;
  /** @type {Totals | null} */
  #reported = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {RTCPeerConnection} connection
   * @param {(mid: string) => string | null} showing the source whose moving picture a slot shows now
   * @param {(line: Line) => void} onLine
   * @param {(report: Report) => void} onReport
   */
  constructor(connection, showing, onLine, onReport) {
    this.connection = connection;
    this.#freezes = new Freezes(showing);
    this.onLine = onLine;
    this.onReport = onReport;
    this.#silentSince_ms = performance.now();
    this.#timer = setInterval(() => void this.#measure(), INTERVAL_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #measure() {
    if (this.connection.connectionState === "closed") return this.stop();
    const now_ms = performance.now();
    const report = await this.connection.getStats();
    const sum = { ...totals(report, now_ms), ...this.#freezes.add(report, now_ms) };
    const last = this.#window.at(-1);
    // On a path that is lost the browser still counts some as sent, each time that it tries another.
    const arrives = this.connection.connectionState === "connected";
    if (!last || (arrives && sum.packets !== last.packets)) this.#silentSince_ms = now_ms;
    this.#window.push(sum);
    if (this.#window.length > 3) this.#window.shift();
    this.onLine(between(this.#window[0], sum, now_ms - this.#silentSince_ms));
    this.#reported ??= sum;
    if (now_ms - this.#reported.at_ms < REPORT_MS) return;
    this.onReport(reportBetween(this.#reported, sum));
    this.#reported = sum;
  }
}
