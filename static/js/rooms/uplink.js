// @ts-check
/** What the operator reads about what this room sends. */

import { fill } from "../dom.js";
import { formatNumber, formatPercent, joinFacts, t, tn } from "../i18n.js";
import { grade, qualityText } from "../media/quality.js";
import { rate } from "./lines.js";

/** @typedef {import("../media/publish.js").Publisher} Publisher */
/** @typedef {{bitrate_bps: number, loss: number}} Measured by the server (`lines`) */

/** The level of a line that makes pictures smaller, as in the list of lines. */
const REDUCED = 2;

/**
 * One line: what is sent now.
 * @param {Publisher} publisher
 */
export function publishText(publisher) {
  const { state, muted, stream } = publisher;
  if (state === "connecting" || state === "retrying") return t("Đang kết nối hình…");
  if (state !== "live") return t("Không gửi hình");
  const picture = Boolean(stream?.getVideoTracks().length) && !muted.video;
  const sound = Boolean(stream?.getAudioTracks().length) && !muted.audio;
  if (!picture && !sound) return t("Đã tắt cả hình và tiếng");
  if (publisher.line?.level === 0) return t("Đang kết nối hình…"); // nothing of it arrives
  if (picture && sound) return t("Đang gửi hình và tiếng");
  return picture ? t("Chỉ gửi hình, không có tiếng") : t("Chỉ gửi tiếng, không có hình");
}

/**
 * What is wrong and what happens next; null while nothing is.
 * @param {Publisher} publisher
 * @param {boolean} sent does anybody send what this page would?
 * @returns {string | null}
 */
export function publishTrouble(publisher, sent) {
  switch (publisher.state) {
    case "retrying":
      if (publisher.unreachable) return null; // which is said as long as it lasts
      return [
        publisher.message || t("Mất kết nối hình."),
        tn("Nối lại sau %(n)s giây.", "Nối lại sau %(n)s giây.", publisher.retry_s),
      ].join(" ");
    case "taken_over":
      if (!sent) return t("Không còn nơi nào gửi hình của điểm cầu này. Bấm Thử lại để gửi từ máy này.");
      return t("Trang khác hoặc bộ mã hoá đang gửi hình của điểm cầu này. Bấm Thử lại để gửi từ máy này.");
    default:
      return publisher.refusal ? `${publisher.refusal.title}. ${publisher.refusal.advice}` : null;
  }
}

/**
 * On the desk's tile of that site; empty while its camera is sent as it is wanted.
 * @param {import("../state.js").State} state
 * @param {string} source
 */
export const siteNarrow = (state, source) =>
  state.live?.lines?.[source]?.narrow ? t("đường lên hẹp") : "";

/**
 * Bars and words of a line.
 * @param {HTMLElement} element of class quality
 * @param {import("../media/quality.js").Line | null} line
 */
export function showQuality(element, line, text = qualityText(line?.level ?? 0)) {
  element.hidden = !line;
  if (!line) return;
  element.dataset.quality = String(line.level);
  fill(element, { text });
}

/**
 * The same of what this room sends.
 * @param {HTMLElement} element of class quality
 * @param {Publisher} publisher
 * @param {Measured | undefined} measured
 */
export function showUplink(element, { line, isNarrow }, measured) {
  const level = line ? uplinkLevel(line, isNarrow, measured) : 0;
  const text = level && isNarrow ? t("Hình gửi lên đã giảm: đường lên hẹp") : qualityText(level);
  showQuality(element, line && { ...line, level }, text);
}

/**
 * A line that is too narrow for the picture need not lose anything, and what was lost and sent again only
 * the server knows of.
 * @param {import("../media/quality.js").Line} line
 * @param {boolean} isNarrow
 * @param {Measured | undefined} measured
 * @returns {0 | 1 | 2 | 3 | 4}
 */
export function uplinkLevel(line, isNarrow, measured) {
  const levels = [line.level, grade(measured?.loss ?? 0, 0, 0, 0), isNarrow ? REDUCED : line.level];
  return /** @type {0 | 1 | 2 | 3 | 4} */ (Math.min(...levels));
}

/**
 * For a technician on the telephone: "1.800 kbit/s · mất gói 0% · trễ 24 ms". Rate and loss are what the list of
 * lines says too: a browser counts what it sends to try the line, and no loss that was mended.
 * @param {import("../media/quality.js").Line | null} line
 * @param {Measured | undefined} measured
 */
export function lineFigures(line, measured) {
  if (!line?.level || !measured) return ""; // what the browser counts as sent does not arrive
  const figures = t("%(rate)s kbit/s · mất gói %(loss)s · trễ %(delay)s ms", {
    rate: rate(measured.bitrate_bps),
    loss: formatPercent(measured.loss),
    delay: formatNumber(Math.round(line.rtt_ms)),
  });
  return joinFacts(figures.split(" · "));
}
