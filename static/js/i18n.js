// @ts-check
/**
 * The page's language: texts, numbers and times.
 *
 * Vietnamese is the language of the source, so a Vietnamese page has no catalogue. For other
 * languages base.html loads /i18n/<lang>.js first, which sets `globalThis.diemcauMessages`:
 * msgid -> text, or for plurals msgid -> [one, many].
 *
 * Dates are dd/mm/yyyy and all times are in the conference's zone (`<html data-time-zone>`).
 */

/** @typedef {Record<string, string | number>} Values */

const root = document.documentElement;
/** @type {string} */
export const language = root.lang || "vi";
const locale = language === "vi" ? "vi-VN" : "en-GB"; // British English writes dd/mm/yyyy too
const timeZone = root.dataset.timeZone || "Asia/Ho_Chi_Minh";

/** @returns {Record<string, string | string[]>} */
function catalogue() {
  const holder = /** @type {{diemcauMessages?: Record<string, string | string[]>}} */ (globalThis);
  return holder.diemcauMessages ?? {};
}

/**
 * Put values into the `%(name)s` slots of a text; `%%` is a per cent sign.
 * @param {string} text
 * @param {Values} values
 */
function interpolate(text, values) {
  return text.replace(/%(?:\((\w+)\)[sd]|%)/g, (slot, name) =>
    name === undefined ? "%" : name in values ? String(values[name]) : slot,
  );
}

/**
 * Text in the page's language, with `%(name)s` slots filled.
 * @param {string} text the Vietnamese text, written literally (it is extracted for translation)
 * @param {Values} [values]
 * @returns {string}
 */
export function t(text, values) {
  const found = catalogue()[text] ?? text;
  const chosen = typeof found === "string" ? found : found[0];
  return values ? interpolate(chosen, values) : chosen;
}

/**
 * Text that depends on a count; `%(n)s` becomes the count in the page's notation.
 * @param {string} one the Vietnamese text, msgid
 * @param {string} many the Vietnamese text, msgid_plural (Vietnamese has one form: the same)
 * @param {number} n
 * @param {Values} [values]
 * @returns {string}
 */
export function tn(one, many, n, values = {}) {
  const found = catalogue()[one];
  const forms = Array.isArray(found) ? found : [found ?? one, found ?? many];
  const form = n === 1 ? forms[0] : (forms[1] ?? forms[0]);
  return interpolate(form, { n: formatNumber(n), ...values });
}

/** @param {Intl.DateTimeFormatOptions} options */
const dateFormat = (options) => new Intl.DateTimeFormat(locale, { timeZone, ...options });

const clock = dateFormat({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = dateFormat({
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = dateFormat({ day: "2-digit", month: "2-digit", year: "numeric" });

/** @typedef {Date | number | string} Moment a Date, milliseconds since 1970, or ISO 8601 */

/** @param {Moment} moment */
const asDate = (moment) => (moment instanceof Date ? moment : new Date(moment));

/**
 * 08:50 in the conference's zone.
 * @param {Moment} moment
 * @param {{seconds?: boolean}} [options]
 */
export function formatTime(moment, { seconds = false } = {}) {
  return (seconds ? clockSeconds : clock).format(asDate(moment));
}

/**
 * 03/06/2023 in the conference's zone.
 * @param {Moment} moment
 */
export function formatDate(moment) {
  return day.format(asDate(moment));
}

/**
 * 08:50 03/06/2023, the order of Vietnamese official papers.
 * @param {Moment} moment
 */
export function formatDateTime(moment) {
  return `${formatTime(moment)} ${formatDate(moment)}`;
}

/** @type {Intl.DateTimeFormatOptions} */
const dayInWords = { timeZone: "UTC", weekday: "long", day: "2-digit", month: "2-digit", year: "numeric" };
const localDay = new Intl.DateTimeFormat(locale, dayInWords);
const localMoment = new Intl.DateTimeFormat(locale, {
  ...dayInWords,
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

/**
 * Thứ Bảy, 03/06/2023.
 * @param {string} value of a field of type date
 */
export function formatLocalDay(value) {
  return localDay.format(new Date(`${value}Z`));
}

/**
 * 08:50 Thứ Bảy, 03/06/2023; by the clock on the wall, wherever it hangs.
 * @param {string} value of a field of type datetime-local
 */
export function formatLocal(value) {
  return localMoment.format(new Date(`${value}Z`));
}

/**
 * 1.703 in Vietnamese, 1,703 in English.
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 */
export function formatNumber(value, options) {
  return new Intl.NumberFormat(locale, options).format(value);
}

/**
 * 85% from 0.85.
 * @param {number} share
 */
export function formatPercent(share) {
  return formatNumber(share, { style: "percent", maximumFractionDigits: 0 });
}

/**
 * A length of time in words: "12 giây", "28 phút", "1 giờ 50 phút".
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return tn("%(n)s giây", "%(n)s giây", whole);
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const minuteText = tn("%(n)s phút", "%(n)s phút", minutes);
  if (hours === 0) return minuteText;
  const hourText = tn("%(n)s giờ", "%(n)s giờ", hours);
  return minutes === 0 ? hourText : `${hourText} ${minuteText}`;
}

/**
 * A position or countdown in figures: "2:05", "1:12:40".
 * @param {number} seconds
 */
export function formatClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  /** @param {number} part */
  const two = (part) => String(part).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours
    ? `${hours}:${two(minutes)}:${two(whole % 60)}`
    : `${minutes}:${two(whole % 60)}`;
}

/**
 * Facts of one thing, of which none that is short is broken in two; where a line ends, its dot ends it.
 * @param {string[]} facts
 */
export function joinFacts(facts) {
  return facts.map((fact) => (fact.length < 16 ? fact.replaceAll(" ", "\u00a0") : fact)).join("\u00a0· ");
}

/**
 * For search: lower case, without Vietnamese diacritics ("Nguyễn Đức" -> "nguyen duc").
 * @param {string} text
 */
export function fold(text) {
  return text
    .normalize("NFD")
    .replace(/\p{Mark}/gu, "")
    .toLowerCase()
    .replace(/[đð]/g, "d");
}
