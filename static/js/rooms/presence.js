// @ts-check
/** Who of a room is connected: since when its operator's page and its display are, or gone; how many phones. */

import { formatDate, formatDateTime, formatNumber, formatTime, t } from "../i18n.js";

/** @typedef {import("../state.js").Entity} Entity */
/** @typedef {{since: string, until: string | null} | undefined} Stay until: null while connected */
/** @typedef {Record<string, {trainee: number}>} Counts by site, of the live fact `presence` */

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
 * @param {Counts | undefined} counts undefined where this page is not told
 */
export function presenceText(site, now, counts) {
  const stays = [
    `${t("Trang kỹ thuật")}: ${stayText(site.operator, now)}`,
    `${t("Màn hình phòng")}: ${stayText(site.display, now)}`,
  ];
  const phones = counts ? [phonesText(site, counts[String(site.id)]?.trainee ?? 0)] : [];
  return [...stays, ...phones].join(" · ");
}

/**
 * @param {Entity} site
 * @param {number} count
 */
function phonesText(site, count) {
  const connected = formatNumber(count);
  // Who attends alone may sit at a computer as well.
  return site.kind === "online"
    ? t("Học viên đang nối: %(connected)s", { connected })
    : t("Điện thoại đang nối: %(connected)s", { connected });
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
