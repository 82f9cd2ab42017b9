// @ts-check
/**
 * What somebody did on a page and no answer has come to yet, kept over a reload, a closed tab or a
 * killed browser.
 *
 * What means the same some minutes later is sent again by any page of the seat: under its key, so
 * that it is done once. What moves the conference is not: the floor may be another's by then. The tab
 * that sent it only tells of it, and a person looks again.
 *
 * A page holds a Web Lock of its own name while it sends: what a living page still sends is left by
 * nobody, and no other tab says a word of it. A page at rest holds none, or the browser would not let it
 * sleep. Where there are no locks (plain HTTP) every page but this one counts as gone.
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
  #seat;
  #own;
  #allAnswered = () => {};

  /**
   * @param {string} seat
   * @param {string} page its name among all pages
   */
  constructor(seat, page) {
    this.#seat = `${PREFIX}${seat}.`;
    this.#own = `${this.#seat}${page}.`;
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
    if (namesIn(storage, this.#seat).length < MOST_KEPT) {
      this.#write(again ? command : { ...command, payload: {} }, storage);
    }
    return command;
  }

  /**
   * It was answered, whatever the answer was.
   * @param {string} key
   */
  forget(key) {
    this.#kept.get(key)?.removeItem(this.#own + key);
    this.#kept.delete(key);
    if (this.#kept.size > 0) return;
    removeEventListener("beforeunload", warn);
    this.#allAnswered();
  }

  /** All are answered: by the refusal of their seat. */
  clear() {
    for (const key of [...this.#kept.keys()]) this.forget(key);
  }

  /**
   * Once for each page of this seat that left something, as soon as it is no more: what is there now and
   * it has not sent by then, in the order in which it was given. What is only told is forgotten by this;
   * the other is this page's from now on and kept until it is answered.
   * @param {(left: {again: Unsent[], told: Unsent[]}) => void} found
   */
  watch(found) {
    /** @type {Map<string, string[]>} */
    const pages = new Map();
    for (const storage of [localStorage, sessionStorage]) {
      for (const name of namesIn(storage, PREFIX)) {
        const page = this.#pageOf(name);
        if (!isRecent(read(storage, name))) storage.removeItem(name);
        else if (name.startsWith(this.#seat)) pages.set(page, [...(pages.get(page) ?? []), name]);
      }
    }
    pages.delete(this.#own);
    for (const [page, names] of pages) {
      void whenGone(page, () => {
        const left = this.#take(names);
        if (left.again.length || left.told.length) found(left);
      });
    }
  }

  /** @param {string} name of what is kept */
  #pageOf(name) {
    return `${this.#seat}${name.slice(this.#seat.length).split(".")[0]}.`;
  }

  /**
   * @param {string[]} names
   * @returns {{again: Unsent[], told: Unsent[]}}
   */
  #take(names) {
    /** @type {{again: Unsent[], told: Unsent[]}} */
    const left = { again: [], told: [] };
    for (const storage of [localStorage, sessionStorage]) {
      for (const name of names) {
        const command = read(storage, name);
        storage.removeItem(name);
        if (!command) continue;
        const again = storage === localStorage && !isStale(command.at_ms);
        (again ? left.again : left.told).push(command);
      }
    }
    left.again.sort(byTime);
    left.told.sort(byTime);
    for (const command of left.again) {
      this.#hold(command.key, localStorage);
      this.#write(command, localStorage);
    }
    return left;
  }

  /**
   * @param {Unsent} command
   * @param {Storage} storage
   */
  #write(command, storage) {
    try {
      storage.setItem(this.#own + command.key, JSON.stringify(command));
    } catch {
      // full, or forbidden by the browser's settings
    }
  }

  /**
   * @param {string} key
   * @param {Storage} storage
   */
  #hold(key, storage) {
    if (this.#kept.size === 0) {
      addEventListener("beforeunload", warn);
      /** @type {Promise<void>} */
      const answered = new Promise((resolve) => (this.#allAnswered = resolve));
      void navigator.locks?.request(this.#own, () => answered);
    }
    this.#kept.set(key, storage);
  }
}

/**
 * How far away it is, also where the clock was set back.
 * @param {number} at_ms
 */
const age = (at_ms) => Math.abs(Date.now() - at_ms);

/** @param {Unsent | null} command */
const isRecent = (command) => command !== null && age(command.at_ms) < KEPT_FOR_MS;

/**
 * Once no page of this name sends, which is when it lives no more or all is answered that it gave before;
 * for one page at a time.
 * @param {string} page
 * @param {() => void} then
 */
const whenGone = (page, then) => (navigator.locks ? navigator.locks.request(page, then) : Promise.resolve().then(then));

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
