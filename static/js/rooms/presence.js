// @ts-check
/** Since when a room is connected, or gone: its operator's page and its display. */

import { formatDate, formatDateTime, formatTime, t } from "../i18n.js";

/** @typedef {import("../state.js").Entity} Entity */
/** @typedef {{since: string, until: string | null} | undefined} Stay until: null while connected */

/**
 * A time of today, else with its day: rooms rehearse the day before.
 * @param {string} moment
 * @param {number} now
 */
const when = (moment, now) =>
  formatDate(moment) === formatDate(now) ? formatTime(moment) : formatDateTime(moment);

/**
 * @param {Stay} stay
 * @param {number} now the server's time
 */
function stayText(stay, now) {
  if (!stay) return t("chưa vào");
  if (stay.until) return t("vắng từ %(time)s", { time: when(stay.until, now) });
  return t("từ %(time)s", { time: when(stay.since, now) });
}

/**
 * @param {Entity} site
 * @param {number} now the server's time
 */
export function presenceText(site, now) {
  return [
    `${t("Trang kỹ thuật")}: ${stayText(site.operator, now)}`,
    `${t("Màn hình phòng")}: ${stayText(site.display, now)}`,
  ].join(" · ");
}

/**
 * What a tile says in place of its picture once the room's operator has gone; else "".
 * @param {Entity} site
 * @param {number} now the server's time
 */
export function goneText(site, now) {
  const until = site.operator?.until;
  return until ? t("Mất kết nối từ %(time)s", { time: when(until, now) }) : "";
}
