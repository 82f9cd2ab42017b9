// @ts-check
/**
 * The commands of a page until they are answered: in the order in which they were given, over lost
 * connections, and over a reload of the page. A retry has the same key, so it is never done twice.
 */

import { isStale, leftText, UnsentCommands } from "./unsent.js";

/** @typedef {import("./unsent.js").Unsent} Unsent */
/** @typedef {Record<string, any>} Result */
/**
 * @typedef {{ok: true, result: Result}
 *   | {ok: false, error: string, message: string, retry_after_s?: number}} Answer
 */
/**
 * What it is sent over. `line` resolves once there is one, or its refusal; `ask` gives null where no
 * answer came.
 * @typedef {{
 *   refusal: CommandError | null,
 *   line: () => Promise<unknown>,
 *   ask: (type: string, payload: Record<string, unknown>, key: string) => Promise<Answer | null>,
 * }} Line
 */
/**
 * What is sent again, and what a person shall look at again instead.
 * @typedef {{again: (Unsent & {answer: Promise<Result>})[], told: Unsent[]}} Left
 */

const SOONEST_RETRY_S = 0.5;
/** What the server asks to be sent later is sent again so often, where it is soon; else a person decides. */
const MOST_SLOWED = 5;
const SOON_S = 5;

/** A command that was refused, with a sentence for people. */
export class CommandError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfterS]
   */
  constructor(code, message, retryAfterS) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

export class Outbox {
  /** @type {Map<string, Promise<unknown>>} lane → the end of the command that was given last */
  #last = new Map();
  #line;
  #unsent;
  #hasLanes;
  /** @type {((left: Left) => void)[]} */
  #heirs = [];

  /**
   * @param {Line} line
   * @param {string} seat
   * @param {string} role
   * @param {string} page its name among all pages
   */
  constructor(line, seat, role, page) {
    this.#line = line;
    this.#unsent = new UnsentCommands(seat, page);
    this.#hasLanes = role === "trainee";
  }

  /**
   * Send a command (or a media request) until it is answered, over lost connections too.
   * @param {string} type
   * @param {Record<string, unknown>} [payload]
   * @param {string} [label] what was pressed, for who comes back to this page before it is answered
   * @returns {Promise<Result>} its result
   * @throws {CommandError} where it is refused
   */
  send(type, payload = {}, label = "") {
    const given = { key: newKey(), type, payload, label };
    return type.startsWith("media.") ? this.#persist(given) : this.#queue(this.#unsent.keep(given));
  }

  /**
   * Hear of what each page of this seat that is no more left unanswered. It is sent again from when this
   * is first called.
   * @param {(left: Left) => void} heir
   */
  onLeft(heir) {
    this.#heirs.push(heir);
    if (this.#heirs.length > 1) return;
    this.#unsent.watch(({ again, told }) => {
      const left = { again: again.map((each) => ({ ...each, answer: this.#queue(each) })), told };
      for (const each of this.#heirs) each(left);
    });
  }

  /** The seat is refused for good: nobody shall be asked to stay, nor anything be sent again. */
  drop() {
    this.#unsent.clear();
  }

  /**
   * Commands are done in the order in which they were given: one that has to be sent again shall not
   * come behind, and undo, what was chosen after it. Only with trainees each room has a lane of its
   * own: an answer, which has a deadline, waits for no question.
   * @param {Unsent} command
   * @returns {Promise<Result>}
   * @throws {CommandError}
   */
  #queue(command) {
    const lane = this.#hasLanes ? command.type.split(".")[0] : "";
    const before = this.#last.get(lane) ?? Promise.resolve();
    const answer = before
      .then(() => this.#persist(command))
      .finally(() => this.#unsent.forget(command.key));
    this.#last.set(lane, answer.catch(() => {})); // who sent it hears why it was refused
    return answer;
  }

  /**
   * `send`, whatever else is under way.
   * @param {Omit<Unsent, "at_ms"> & {at_ms?: number}} command
   * @returns {Promise<Result>}
   * @throws {CommandError}
   */
  async #persist({ key, type, payload, label, at_ms }) {
    for (let tries = 1; ; tries += 1) {
      await this.#line.line();
      if (this.#line.refusal) throw this.#line.refusal;
      if (at_ms !== undefined && isStale(at_ms)) {
        throw new CommandError("stale", leftText([{ label, at_ms }]));
      }
      const answer = await this.#line.ask(type, payload, key);
      if (answer?.ok) return answer.result;
      const after_s = answer?.retry_after_s ?? Infinity;
      const slowed = answer?.error === "slow_down" && tries < MOST_SLOWED && after_s <= SOON_S;
      if (answer && !slowed && (answer.error !== "unavailable" || after_s === Infinity)) {
        throw new CommandError(answer.error, answer.message, answer.retry_after_s);
      }
      // Not all who were told the same come back in the same moment.
      await wait(Math.max(SOONEST_RETRY_S, answer?.retry_after_s ?? 0) * (1 + Math.random() / 2) * 1000);
    }
  }
}

/** @param {number} ms */
export function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** 122 random bits; also on plain HTTP, where crypto.randomUUID is missing. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
