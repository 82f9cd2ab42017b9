// @ts-check
/**
 * What somebody chose or began on this page, kept in this tab: a reload, such as the one into another
 * language, must not undo it.
 */

const KEY = `diemcau.kept.${location.pathname}`;

/** @returns {Record<string, any>} */
const all = () => JSON.parse(sessionStorage.getItem(KEY) ?? "{}");

/**
 * @param {string} name
 * @returns {any} what was kept; undefined where nothing was
 */
export const kept = (name) => all()[name];

/**
 * @param {string} name
 * @param {unknown} value what JSON can hold
 */
export function keep(name, value) {
  sessionStorage.setItem(KEY, JSON.stringify({ ...all(), [name]: value }));
}

/** @returns {Record<string, string>} id of a field → what was being written in it when the page was left */
export const drafts = () => kept("drafts") ?? {};

/**
 * Keep what is being written, wherever that is when the page is left.
 * @param {string} selector of all of its fields that are written in; they have an id
 */
export function keepDrafts(selector) {
  const before = drafts();
  for (const field of fields(selector)) field.value ||= before[field.id] ?? "";
  addEventListener("pagehide", () => {
    keep("drafts", Object.fromEntries(fields(selector).map((field) => [field.id, field.value])));
  });
}

/**
 * @param {string} selector
 * @returns {(HTMLInputElement | HTMLTextAreaElement)[]}
 */
const fields = (selector) => Array.from(document.querySelectorAll(selector));

/**
 * Empty a field whose text was sent. What was written on while the answer was awaited stays.
 * @param {HTMLInputElement | HTMLTextAreaElement} field
 * @param {string} sent
 */
export function clearSent(field, sent) {
  if (field.value.trim() === sent) field.value = "";
}
