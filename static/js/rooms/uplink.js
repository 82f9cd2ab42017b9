// @ts-check
/** What the operator reads about what this room sends. */

import { fill } from "../dom.js";
import { formatNumber, formatPercent, t, tn } from "../i18n.js";
import { qualityText } from "../media/quality.js";

/** @typedef {import("../media/publish.js").Publisher} Publisher */

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
 * Bars, words and figures of a line.
 * @param {HTMLElement} element of class quality
 * @param {import("../media/quality.js").Line | null} line
 */
export function showQuality(element, line) {
  element.hidden = !line;
  if (!line) return;
  element.dataset.quality = String(line.level);
  fill(element, { text: qualityText(line.level) });
}

/**
 * For a technician on the telephone: "1.804 kbit/s · mất 0% · 24 ms".
 * @param {import("../media/quality.js").Line | null} line
 */
export function lineFigures(line) {
  if (!line?.level) return ""; // what the browser counts as sent does not arrive
  return t("%(rate)s kbit/s · mất gói %(loss)s · trễ %(delay)s ms", {
    rate: formatNumber(Math.round(line.bitrate_bps / 1000)),
    loss: formatPercent(line.loss),
    delay: formatNumber(Math.round(line.rtt_ms)),
  });
}
