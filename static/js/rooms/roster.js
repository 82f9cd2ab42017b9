// @ts-check
/** A room's roster with its check-ins: search, order, words. */

import { fold, formatTime, t } from "../i18n.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../state.js").Entity} Entity */

const order = new Intl.Collator("vi");

/**
 * Vietnamese order: given name, which stands last, before family and middle names.
 * @param {string} a
 * @param {string} b
 */
export function byGivenName(a, b) {
  return order.compare(givenName(a), givenName(b)) || order.compare(a, b);
}

/** @param {string} name */
const givenName = (name) => name.slice(name.lastIndexOf(" ") + 1);

/** @param {string} evidence */
export function evidenceText(evidence) {
  switch (evidence) {
    case "qr":
      return t("quét mã");
    case "code":
      return t("nhập mã");
    case "operator":
      return t("cán bộ kỹ thuật ghi");
    default:
      return t("trả lời trắc nghiệm");
  }
}

/**
 * The rows that a list shows.
 * @param {State} state
 * @param {string} query a part of a name, unit or code; diacritics and case do not count
 * @param {"all" | "absent" | "present"} which
 */
export function rosterRows(state, query, which) {
  const wanted = fold(query.trim()).split(/\s+/);
  return Object.values(state.roster)
    .map((entry) => describe(entry, state.attendance[String(entry.person)]))
    .filter((row) => which === "all" || row.present === (which === "present"))
    .filter((row) => wanted.every((word) => row.folded.includes(word)))
    .sort((a, b) => byGivenName(a.name, b.name));
}

/**
 * @param {Entity} entry
 * @param {Entity | undefined} checkIn
 */
function describe(entry, checkIn) {
  return {
    person: entry.person,
    name: entry.name,
    about: [entry.unit, entry.post].filter(Boolean).join(" · "),
    code: entry.code,
    present: Boolean(checkIn),
    evidence: checkIn ? checkIn.evidence : "",
    checked: checkIn
      ? `${formatTime(checkIn.checked_in_at)} · ${evidenceText(checkIn.evidence)}`
      : "",
    folded: fold(`${entry.name} ${entry.unit} ${entry.code}`),
  };
}
