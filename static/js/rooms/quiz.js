// @ts-check
/** The quiz at the desk: launch, count, chart, reveal. */

import { byId, fill, on, renderList } from "../dom.js";
import { formatClock, formatPercent, t, tn } from "../i18n.js";
import { isOpen } from "./conference.js";
import { siteRows, sitesTitle } from "./quiz-board.js";

/** @typedef {import("../state.js").Entity} Entity */

const letters = "ABCDEFGH";
const PROLONG_S = 30;

/**
 * Votes for each option over all sites.
 * @param {Entity} run
 * @returns {number[]}
 */
export function totals(run) {
  const rows = /** @type {number[][]} */ (Object.values(run.chart ?? {}));
  return run.options.map((/** @type {string} */ _, /** @type {number} */ index) =>
    rows.reduce((sum, counts) => sum + counts[index], 0),
  );
}

/**
 * Votes for each option as they are known here: staff hear of them while the item is open.
 * @param {import("../state.js").State} state
 * @param {Entity} run
 * @returns {number[] | null}
 */
function knownVotes(state, run) {
  if (run.chart) return totals(run);
  const { choices } = state.live;
  return choices?.run === run.run && choices.item === run.item ? choices.votes : null;
}

/** @param {import("../state.js").State} state */
export function renderRun(state) {
  const activities = Object.values(state.activities ?? {});
  renderList(byId("activities"), "activity-template", activities, (a) => a.id, (activity, element) => {
    element.dataset.id = String(activity.id);
    return {
      title: activity.title,
      items: tn("%(n)s câu", "%(n)s câu", activity.items),
    };
  });
  const run = Object.values(state.runs)[0];
  const card = byId("run-card");
  const begins = run && card.hidden;
  card.hidden = !run;
  if (!run) return;
  const key = run.correct ?? state.keys?.[String(run.item)]?.key;
  const present = Object.values(state.sites).reduce((sum, site) => sum + site.present, 0);
  fill(card, {
    title: `${run.title} · ${run.position}/${run.items}`,
    text: run.text,
    answered: tn("%(n)s người đã trả lời", "%(n)s người đã trả lời", run.answered),
    answeredShare: run.answered / Math.max(1, run.answered, present),
    charted: Boolean(run.chart),
    prolong:
      run.state === "open"
        ? t("Thêm %(seconds)s giây", { seconds: PROLONG_S })
        : t("Mở lại %(seconds)s giây", { seconds: PROLONG_S }),
  });
  const votes = knownVotes(state, run);
  const total = votes?.reduce((a, b) => a + b, 0) || 1;
  const bars = run.options.map((/** @type {string} */ text, /** @type {number} */ index) => ({
    label: `${letters[index]}. ${text}`,
    votes: votes?.[index] ?? 0,
    total,
    share: formatPercent((votes?.[index] ?? 0) / total),
    known: votes !== null,
    correct: key === index,
  }));
  renderList(byId("run-chart"), "bar-template", bars, (bar) => bar.label, (bar) => bar);
  const sites = siteRows(state, run);
  fill(card, { anySite: sites.length > 0, sitesTitle: sitesTitle(run) });
  renderList(byId("run-sites"), "site-bar-template", sites, (row) => row.id, (row) => row);
  for (const [name, shown] of Object.entries({
    prolong: run.state === "open" || (run.state === "closed" && run.correct === null),
    close: run.state === "open",
    reveal: run.state === "closed" && run.correct === null,
    next: run.state === "closed" && run.position < run.items,
    finish: run.state === "closed",
  })) {
    const button = card.querySelector(`[data-run=${name}]`);
    if (button instanceof HTMLElement) button.hidden = !shown || !isOpen(state);
  }
  // Its column may have been scrolled to the agenda; what is under way is what is needed now.
  if (begins) card.scrollIntoView({ block: "nearest" });
}

/** @param {import("../connection.js").Connection} connection */
export function renderRunCountdown(connection) {
  const run = Object.values(connection.state.runs)[0];
  if (!run) return;
  const left = Math.max(0, Date.parse(run.deadline_at) - connection.now());
  fill(byId("run-card"), {
    left: run.state === "open" ? formatClock(Math.ceil(left / 1000)) : t("Hết giờ"),
  });
}

/**
 * @param {import("../connection.js").Connection} connection
 * @param {import("../act.js").Act} act
 */
export function wireQuiz(connection, act) {
  const dialog = byId("quiz-dialog", HTMLDialogElement);
  byId("quiz-button").addEventListener("click", () => dialog.showModal());
  on(dialog, "click", "[data-launch]", async (button) => {
    await act(button, "activity.launch", {
      activity: Number(button.closest("[data-id]")?.getAttribute("data-id")),
    });
    dialog.close();
  });
  on(byId("run-card"), "click", "[data-run]", (button) => {
    const run = Object.values(connection.state.runs)[0];
    if (!run) return;
    const seconds = button.dataset.run === "prolong" ? { seconds: PROLONG_S } : {};
    act(button, `activity.${button.dataset.run}`, { run: run.run, ...seconds });
  });
}
