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

/**
 * Keep what is being written in a field.
 * @param {HTMLInputElement | HTMLTextAreaElement} field with an id
 */
export function keepDraft(field) {
  field.value ||= kept(field.id) ?? "";
  addEventListener("pagehide", () => keep(field.id, field.value));
}

/**
 * Empty a field whose text was sent. What was written on while the answer was awaited stays.
 * @param {HTMLInputElement | HTMLTextAreaElement} field
 * @param {string} sent
 */
export function clearSent(field, sent) {
  if (field.value.trim() === sent) field.value = "";
}
