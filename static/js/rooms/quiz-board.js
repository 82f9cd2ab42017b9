// @ts-check
/** A quiz on the room's screen: the item and its countdown, then its chart. */

import { formatClock, formatNumber, formatPercent, t } from "../i18n.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../state.js").Entity} Entity */

const LETTERS = "ABCDEFGH";
const LAST_MS = 6000;

/**
 * The run that is on the screens now: the newest.
 * @param {State} state
 * @returns {Entity | undefined}
 */
export const currentRun = (state) =>
  Object.values(state.runs)
    .filter((run) => run.state !== "finished")
    .sort((a, b) => b.run - a.run)[0];

/**
 * @param {readonly number[]} counts
 * @returns {number}
 */
const sum = (counts) => counts.reduce((total, each) => total + each, 0);

/**
 * The options, with how many chose each once the item is closed.
 * @param {Entity} run
 */
export function optionRows(run) {
  /** @type {number[][]} */
  const bySite = Object.values(run.chart ?? {});
  const counts = run.options.map((/** @type {string} */ _, /** @type {number} */ index) =>
    sum(bySite.map((site) => site[index] ?? 0)),
  );
  const total = sum(counts);
  return run.options.map((/** @type {string} */ text, /** @type {number} */ index) => ({
    key: `${run.item}-${index}`,
    letter: LETTERS[index],
    text,
    correct: run.correct === index,
    count: counts[index],
    share: total ? counts[index] / total : 0,
    figure: run.chart
      ? `${formatNumber(counts[index])} · ${formatPercent(total ? counts[index] / total : 0)}`
      : "",
  }));
}

/**
 * Each site's own bar: the share of right answers once it is revealed, before that of those present
 * who answered. All sites are there once there is a chart, those that were silent too.
 * @param {State} state
 * @param {Entity} run
 */
export function siteRows(state, run) {
  const revealed = run.correct !== null && run.correct !== undefined;
  if (!run.chart) return [];
  return Object.values(state.sites)
    .sort((a, b) => a.position - b.position)
    .map((site) => {
      const counts = run.chart[String(site.id)] ?? [];
      const answered = sum(counts);
      const part = revealed ? (counts[run.correct] ?? 0) : answered;
      const whole = revealed ? answered : Math.max(answered, site.present);
      const share = whole ? part / whole : 0;
      return {
        id: site.id,
        name: site.name,
        share,
        own: site.id === state.me.site,
        figure: revealed ? (answered ? formatPercent(share) : "–") : `${formatNumber(part)} / ${formatNumber(whole)}`,
      };
    });
}

/**
 * What the sites' bars tell.
 * @param {Entity} run
 */
export function sitesTitle(run) {
  const revealed = run.correct !== null && run.correct !== undefined;
  return revealed ? t("Trả lời đúng theo điểm cầu") : t("Đã trả lời theo điểm cầu");
}

/**
 * The countdown by the server's clock.
 * @param {Entity} run
 * @param {number} now_ms server time
 */
export function countdown(run, now_ms) {
  const [opened, deadline] = [Date.parse(run.opened_at), Date.parse(run.deadline_at)];
  const open = run.state === "open";
  const left_ms = open ? Math.max(0, deadline - now_ms) : 0;
  return {
    open,
    left: open ? formatClock(Math.ceil(left_ms / 1000)) : t("Hết giờ"),
    share: left_ms / Math.max(1, deadline - opened),
    last: open && left_ms < LAST_MS,
  };
}
