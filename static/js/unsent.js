// @ts-check
/**
 * What somebody did on a page and no answer has come to yet, kept over a reload, a closed tab or a
 * killed browser.
 *
 * What means the same some minutes later is sent again by any page of the seat: under its key, so
 * that it is done once. What moves the conference is not: the floor may be another's by then. The tab
 * that sent it only tells of it, and a person looks again.
 */

import { formatTime, t } from "./i18n.js";

/**
 * A command that was given.
 * @typedef {{
 *   key: string, type: string, payload: Record<string, unknown>, label: string, at_ms: number,
 * }} Unsent `label`: what was pressed, in the words of the page; `at_ms` by this device's clock
 */

/** A person's own choice and words, and what an operator ticks on the roster of their room. */
const MEANS_THE_SAME = new Set([
  "attendance.check_in",
  "attendance.tick",
  "attendance.untick",
  "activity.answer",
  "question.ask",
  "question.answer",
]);
/** A check-in of the morning is none of the afternoon: what is older is sent by nobody any more. */
const SENT_WITHIN_MS = 15 * 60_000;
/** Of seats whose page was never opened again, too. */
const KEPT_FOR_MS = 24 * 3600_000;
const MOST_KEPT = 64;
const PREFIX = "diemcau.unsent.";

/**
 * Whether what was given then may mean something else by now.
 * @param {number} at_ms
 */
export const isStale = (at_ms) => age(at_ms) > SENT_WITHIN_MS;

/**
 * What a person is told of commands of which nobody knows whether they were done.
 * @param {{label: string, at_ms: number}[]} commands
 */
export function leftText(commands) {
  const acts = commands.map(({ label, at_ms }) => `“${label}” (${formatTime(at_ms)})`);
  return t("Chưa rõ máy chủ đã nhận chưa: %(acts)s. Hãy xem lại màn hình, cần thì làm lại.", {
    acts: acts.join(", "),
  });
}

/** The commands of one page that wait for an answer. */
export class UnsentCommands {
  /** @type {Map<string, Storage>} key → where it is kept */
  #kept = new Map();
  #last_ms = 0;

  /** @param {string} seat */
  constructor(seat) {
    this.prefix = `${PREFIX}${seat}.`;
  }

  /**
   * Keep a command until `forget`. Where the browser has no room for it, it lives in the page alone.
   * @param {Omit<Unsent, "at_ms">} given
   * @returns {Unsent}
   */
  keep(given) {
    this.#last_ms = Math.max(Date.now(), this.#last_ms + 1); // no two at once: they have an order
    const command = { ...given, at_ms: this.#last_ms };
    const again = MEANS_THE_SAME.has(command.type);
    const storage = again ? localStorage : sessionStorage;
    this.#hold(command.key, storage);
    if (namesIn(storage, this.prefix).length < MOST_KEPT) {
      try {
        const value = JSON.stringify(again ? command : { ...command, payload: {} });
        storage.setItem(this.prefix + command.key, value);
      } catch {
        // full, or forbidden by the browser's settings
      }
    }
    return command;
  }

  /**
   * It was answered, whatever the answer was.
   * @param {string} key
   */
  forget(key) {
    this.#kept.get(key)?.removeItem(this.prefix + key);
    this.#kept.delete(key);
    if (this.#kept.size === 0) removeEventListener("beforeunload", warn);
  }

  /** All are answered: by the refusal of their seat. */
  clear() {
    for (const key of [...this.#kept.keys()]) this.forget(key);
  }

  /**
   * What an earlier page of this seat left unanswered, in the order in which it was given. What is only
   * told is forgotten by this; the other is kept until it is answered.
   * @returns {{again: Unsent[], told: Unsent[]}}
   */
  take() {
    /** @type {{again: Unsent[], told: Unsent[]}} */
    const left = { again: [], told: [] };
    for (const storage of [localStorage, sessionStorage]) {
      for (const name of namesIn(storage, PREFIX)) {
        const command = read(storage, name);
        const ours = name.startsWith(this.prefix);
        if (!ours && command && age(command.at_ms) < KEPT_FOR_MS) continue;
        if (ours && command && storage === localStorage && !isStale(command.at_ms)) {
          this.#hold(command.key, storage);
          left.again.push(command);
          continue;
        }
        storage.removeItem(name);
        if (ours && command && age(command.at_ms) < KEPT_FOR_MS) left.told.push(command);
      }
    }
    left.again.sort(byTime);
    left.told.sort(byTime);
    return left;
  }

  /**
   * @param {string} key
   * @param {Storage} storage
   */
  #hold(key, storage) {
    if (this.#kept.size === 0) addEventListener("beforeunload", warn);
    this.#kept.set(key, storage);
  }
}

/**
 * How far away it is, also where the clock was set back.
 * @param {number} at_ms
 */
const age = (at_ms) => Math.abs(Date.now() - at_ms);

/**
 * @param {Storage} storage
 * @param {string} prefix
 */
const namesIn = (storage, prefix) => Object.keys(storage).filter((name) => name.startsWith(prefix));

/**
 * @param {Storage} storage
 * @param {string} name
 * @returns {Unsent | null}
 */
function read(storage, name) {
  try {
    return JSON.parse(storage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Unsent} a
 * @param {Unsent} b
 */
const byTime = (a, b) => a.at_ms - b.at_ms;

/**
 * The browser asks whether to leave, in its own words.
 * @param {BeforeUnloadEvent} event
 */
function warn(event) {
  event.preventDefault();
  event.returnValue = true; // Chrome before 119
}
