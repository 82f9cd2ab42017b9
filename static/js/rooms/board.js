// @ts-check
/** The questions as a board: new, approved, answered. */

import { byId, fill, find, on, renderList } from "../dom.js";
import { formatNumber, formatTime, t } from "../i18n.js";
import { isOpen } from "./conference.js";
import { siteName } from "./questions.js";

/** @typedef {import("../state.js").Entity} Entity */
/** @typedef {import("../connection.js").Connection} Connection */
/** @typedef {import("../act.js").Act} Act */

/** A longer question or answer stands as its beginning until somebody wants it all. */
const EXCERPT_CHARACTERS = 180;
/** @type {Set<number>} ids of the questions that are shown in full */
const unfolded = new Set();

const lanes = {
  asked: ["asked"],
  approved: ["on_stage", "approved"],
  answered: ["answered"],
  set_aside: ["set_aside"],
};

/**
 * @param {import("../state.js").State} state
 * @param {boolean} directs whether the buttons are there
 */
export function renderBoard(state, directs) {
  const panel = Object.values(state.appointments ?? {}).filter((person) =>
    ["speaker", "advisor"].includes(person.role),
  );
  for (const [lane, states] of Object.entries(lanes)) {
    const questions = Object.values(state.questions)
      .filter((question) => states.includes(question.state))
      .sort((a, b) => order(a, b, lane));
    if (lane === "set_aside") renderAside(questions.length);
    else byId(`lane-${lane}-count`).textContent = formatNumber(questions.length);
    renderList(byId(`lane-${lane}`), "question-template", questions, (q) => q.id, (q, element) => {
      element.dataset.id = String(q.id);
      if (directs) fillChoices(element, panel, q);
      return describe(state, q);
    });
  }
}

/** @param {number} count of the questions that were set aside */
function renderAside(count) {
  const button = byId("aside-open");
  button.hidden = !count;
  fill(button, { text: t("Đã bỏ qua: %(n)s", { n: formatNumber(count) }) });
}

/**
 * Oldest first where somebody waits, newest first among the answered; on stage before all.
 * @param {Entity} a
 * @param {Entity} b
 * @param {string} lane
 */
function order(a, b, lane) {
  if (lane === "answered") return Date.parse(b.answered_at) - Date.parse(a.answered_at);
  const onStage = Number(b.state === "on_stage") - Number(a.state === "on_stage");
  return onStage || a.id - b.id;
}

/**
 * @param {import("../state.js").State} state
 * @param {Entity} question
 */
function describe(state, question) {
  const [text, answer] = [question.text, question.answer ?? ""];
  const folded = !unfolded.has(question.id);
  const long = [text, answer].some((each) => excerpt(each) !== each);
  const open = isOpen(state);
  const assigned = state.appointments?.[String(question.appointment)];
  return {
    site: siteName(state, question.site),
    when: formatTime(question.asked_at),
    asker: question.asker ?? "",
    text: folded ? excerpt(text) : text,
    long,
    unfolded: String(!folded),
    unfold: folded ? t("Xem hết") : t("Thu gọn"),
    assigned: assigned ? t("Giao: %(name)s", { name: assigned.name }) : "",
    answer: folded ? excerpt(answer) : answer,
    by: question.answered_by ? `— ${question.answered_by}` : "",
    now: question.state === "on_stage",
    answered: question.state === "answered",
    reason: question.state === "set_aside" && question.reason ? t("Lý do: %(reason)s", { reason: question.reason }) : "",
    can_approve: open && ["asked", "set_aside"].includes(question.state),
    can_stage: open && question.state === "approved",
    can_finish: open && question.state === "on_stage",
    can_assign: open && question.state === "approved",
    can_set_aside: open && ["asked", "approved"].includes(question.state),
  };
}

/**
 * The beginning of a long text, to the end of a word.
 * @param {string} text
 */
function excerpt(text) {
  if (text.length <= EXCERPT_CHARACTERS * 1.25) return text; // never hides only a word or two
  const beginning = text.slice(0, EXCERPT_CHARACTERS);
  return `${beginning.replace(/\s+\S*$/, "")}…`;
}

/**
 * "Show all" and "show less", and what was set aside; an observer reads too.
 * @param {Connection} connection
 * @param {boolean} directs
 */
export function wireReading(connection, directs) {
  byId("aside-open").addEventListener("click", () =>
    byId("aside-dialog", HTMLDialogElement).showModal(),
  );
  on(document, "click", "[data-unfold]", (button) => {
    const question = Number(button.closest("[data-id]")?.getAttribute("data-id"));
    if (!unfolded.delete(question)) unfolded.add(question);
    renderBoard(connection.state, directs);
  });
}

/**
 * Keep the list of those who can answer; rebuilt only where it changed, so an open list stays open.
 * @param {HTMLElement} element
 * @param {Entity[]} panel
 * @param {Entity} question
 */
function fillChoices(element, panel, question) {
  const select = find(element, "select", HTMLSelectElement);
  const known = panel.map((person) => `${person.id}:${person.name}`).join("|");
  if (select.dataset.known !== known) {
    select.dataset.known = known;
    const nobody = new Option(t("Giao cho…"), "");
    select.replaceChildren(nobody, ...panel.map((p) => new Option(p.name, String(p.id))));
  }
  select.value = question.appointment ? String(question.appointment) : "";
}

/**
 * @param {Connection} connection
 * @param {Act} act
 */
export function wireBoard(connection, act) {
  on(document, "click", "[data-question]", (button) => {
    const question = Number(button.closest("[data-id]")?.getAttribute("data-id"));
    act(button, `question.${button.dataset.question}`, { question });
  });
  byId("reason-cancel").addEventListener("click", () =>
    byId("reason-dialog", HTMLDialogElement).close(""),
  );
  on(document, "click", "[data-set-aside]", async (button) => {
    const id = Number(button.closest("[data-id]")?.getAttribute("data-id"));
    const reason = await askReason(connection.state.questions[String(id)]?.text ?? "");
    if (reason !== null) await act(button, "question.set_aside", { question: id, reason });
  });
  on(document, "change", "[data-question-assign]", (select) => {
    const question = Number(select.closest("[data-id]")?.getAttribute("data-id"));
    const chosen = /** @type {HTMLSelectElement} */ (select).value;
    act(select, "question.approve", { question, appointment: chosen ? Number(chosen) : null });
  });
}

/**
 * Why a question is set aside, which its asker reads.
 * @param {string} text of the question
 * @returns {Promise<string | null>} "" where nothing is said, null where it shall stay
 */
function askReason(text) {
  const dialog = byId("reason-dialog", HTMLDialogElement);
  const field = find(dialog, "input", HTMLInputElement);
  fill(dialog, { text: excerpt(text) });
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const answer = () => resolve(dialog.returnValue === "confirm" ? field.value.trim() : null);
    dialog.addEventListener("close", answer, { once: true });
  });
}
