// @ts-check
/** The run of show: rows in order, time left. */

import { formatDuration, formatTime, t } from "../i18n.js";
import { isOver } from "./conference.js";

/** @typedef {import("../state.js").Entity} Entity */

/**
 * The agenda in order, ready for a template.
 * @param {import("../state.js").State} state
 */
export function agendaRows(state) {
  const items = Object.values(state.agenda).sort((a, b) => a.position - b.position);
  const current = items.findIndex((item) => item.id === state.conference.item);
  // What was left out is past like what took place.
  return items.map((item, index) => ({
    id: item.id,
    time: formatTime(item.starts_at),
    title: item.title,
    speaker: item.speaker,
    current: item.id === state.conference.item,
    past: Boolean(item.ended_at) || index < current || isOver(state),
    drift: driftText(item),
  }));
}

/**
 * The item after the one under way (or the first that has not begun).
 * @param {import("../state.js").State} state
 * @returns {Entity | undefined}
 */
export function nextItem(state) {
  const items = Object.values(state.agenda).sort((a, b) => a.position - b.position);
  const current = items.findIndex((item) => item.id === state.conference.item);
  return current >= 0 ? items[current + 1] : items.find((item) => !item.started_at);
}

/**
 * How late (+) or early (−) it began: "+4′"; nothing before it began.
 * @param {Entity} item
 */
function driftText(item) {
  if (!item.started_at) return "";
  const minutes = Math.round((Date.parse(item.started_at) - Date.parse(item.starts_at)) / 60_000);
  return minutes === 0 ? "0′" : `${minutes > 0 ? "+" : "−"}${Math.abs(minutes)}′`;
}

/**
 * What is left of an item by its planned length, counted from when it really began.
 * @param {Entity} item
 * @param {number} now server time, ms
 * @returns {{left_ms: number, share: number}} share 0 at the beginning, 1 at the end
 */
export function timeLeft(item, now) {
  const length = Date.parse(item.ends_at) - Date.parse(item.starts_at);
  const began = Date.parse(item.started_at ?? item.starts_at);
  const left = began + length - now;
  return { left_ms: left, share: Math.min(1, Math.max(0, 1 - left / length)) };
}

/**
 * @param {Entity} item
 * @param {number} now server time, ms
 */
export function timeLeftText(item, now) {
  const { left_ms } = timeLeft(item, now);
  return left_ms >= 0
    ? t("còn %(time)s", { time: formatDuration(left_ms / 1000) })
    : t("quá %(time)s", { time: formatDuration(-left_ms / 1000) });
}
