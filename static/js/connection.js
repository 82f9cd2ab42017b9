// @ts-check
/**
 * The page's line to the server: the only user of socket.io-client. Keeps the state by events,
 * resumes by `since`; what is sent over it waits in its outbox.
 */

import { io } from "../vendor/socket.io-client/socket.io.esm.min.js";
import { t } from "./i18n.js";
import { CommandError, newKey, Outbox, wait } from "./outbox.js";
import { apply } from "./state.js";
import { onWake } from "./wake.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {{seq: number, at: string, type: string, data: Record<string, any>}} WireEvent */
/** @typedef {{seat: string, role: string, seq: number, state: State} & Record<string, any>} Boot */
/** @typedef {{type: string, data: any}} Fact */
/** @typedef {import("./outbox.js").Answer} Answer */
/**
 * @typedef {{
 *   seat: string, role: string, seq: number, state: State,
 *   onChange?: (state: State, events: WireEvent[]) => void,
 *   onStatus?: (online: boolean, refusal: CommandError | null) => void,
 *   onLive?: (fact: Fact) => void,
 * }} Options `onChange` is called once for each message, with an empty list for a snapshot and for
 *   live facts; `onStatus` says that there is no line once there has been none for two seconds, since most who
 *   come back do sooner; `refusal` why the server will not have this page any more
 */

const ANSWER_TIMEOUT_MS = 12_000;
/** Phones of a whole conference lose their line at once: each comes back at a moment of its own. */
const RECONNECTION = { reconnectionDelay: 1000, reconnectionDelayMax: 15_000, randomizationFactor: 0.5 };
const COME_BACK_WITHIN_MS = 1500;
const WEBSOCKET_FIRST = ["websocket", "polling"];
const POLLING_FIRST = ["polling", "websocket"];
/** After so long without a line a page says so; and a try that heard nothing is looked into. */
const SAY_AFTER_MS = 2000;
const SILENT_MS = 5000;
/** A line that was asleep for longer is not trusted: the server may have hung up unheard. */
const TRUSTED_ASLEEP_MS = 20_000;
/** A server that does not answer is tried so often, and each time waited for so long. */
const PROBE_EVERY_MS = 500;
const PROBE_FOR_MS = 2000;
/** A line that is alive answers about as soon as a new connection does. */
const HEARD_LATER_MS = 1000;
const ASK_ANEW_AFTER_MS = 60_000;

/**
 * What the server put into the page for its script.
 * @returns {Boot}
 */
export function readBoot() {
  const boot = JSON.parse(document.getElementById("boot")?.textContent ?? "null");
  if (!boot) throw new Error("no #boot in the page");
  return boot;
}

/**
 * Connect this page's seat.
 * @param {Options} options
 */
export function connect(options) {
  return new Connection(options);
}

export class Connection {
  /** @param {Options} options */
  constructor({ seat, role, seq, state, onChange, onStatus, onLive }) {
    /** @type {State} what the page knows now; a new object after each change */
    this.state = { ...state, live: state.live ?? {} };
    /** the last event that `state` holds */
    this.seq = seq;
    this.online = false;
    /** hung up for good by the page itself */
    this.closed = false;
    /** @type {CommandError | null} why the server refuses this seat for good */
    this.refusal = null;
    /** @type {(() => void)[]} commands that wait for a line, or for its refusal */
    this.waiting = [];
    this.listeners = { onChange, onStatus, onLive };
    this.clockOffsetMs = 0;
    /** this page's name among all, e.g. those that may play its room's sound */
    this.page = newKey();
    this.outbox = new Outbox(this, seat, role, this.page);
    /** whether it can play it now */
    this.listens = false;
    this.toldListens = false;
    this.doubting = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.watching = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.missing = undefined;
    this.socket = io({ auth: (give) => give(this.hello(seat)), transports: [...WEBSOCKET_FIRST], tryAllTransports: true, ...RECONNECTION });
    this.wire();
    this.watch();
    this.miss();
    onWake((asleep_ms) => this.hurry(asleep_ms));
  }

  /** The server's time, in milliseconds since 1970. */
  now() {
    return Date.now() + this.clockOffsetMs;
  }

  /**
   * Send a command (or a media request) until it is answered, over lost connections too.
   * @param {string} type
   * @param {Record<string, unknown>} [payload]
   * @param {string} [label] what was pressed, for who comes back to this page before it is answered
   * @returns {Promise<Record<string, any>>} its result
   * @throws {CommandError} where it is refused
   */
  send(type, payload = {}, label = "") {
    return this.outbox.send(type, payload, label);
  }

  /** Whether this page is the one that plays its room's sound. */
  get sounds() {
    return this.soundingPage === this.page;
  }

  /** The page that plays this room's sound; null while none does. */
  get soundingPage() {
    return this.state.live?.presence?.[String(this.state.me.site ?? 0)]?.sound ?? null;
  }

  /**
   * Say whether this page can play its room's sound.
   * @param {boolean} listens
   * @param {{here?: boolean}} [options] here: somebody wants it to be this page
   */
  listen(listens, { here = false } = {}) {
    this.listens = listens;
    if (!this.online || (!here && listens === this.toldListens)) return;
    this.toldListens = listens;
    this.send("media.listen", { listens, here }).catch(() => {}); // said again at connecting
  }

  /**
   * Come back now, after a sleep or on a new network, instead of when it is this page's turn.
   * @param {number} asleep_ms
   */
  hurry(asleep_ms) {
    if (this.closed || this.refusal) return;
    if (this.socket.connected && asleep_ms < TRUSTED_ASLEEP_MS) return;
    this.socket.disconnect().connect();
    this.watch();
  }

  /**
   * Something else of this page hears nothing from the server. Where it cannot be reached at all,
   * come back as soon as it can: TCP itself would try again only after half a minute or so. Where it can, and
   * only this line is dead (the machine has another address now), nothing else would tell for as long.
   * @returns {Promise<boolean>} whether this line was lost; then it is being made anew
   */
  async doubt() {
    if (this.doubting) return false;
    this.doubting = true;
    const heard = this.socket.connected ? this.isHeard() : true;
    const first = await answeredFirst(() => this.closed || this.refusal !== null);
    const late = wait(HEARD_LATER_MS).then(() => false);
    const lost = !first || !(await Promise.race([heard, late]));
    this.doubting = false;
    if (lost) this.hurry(Infinity);
    return lost;
  }

  /** Whether the server answers over this line. It is told what it knows already. */
  async isHeard() {
    const told = this.socket.timeout(ANSWER_TIMEOUT_MS);
    const payload = { listens: this.toldListens, here: false };
    return told.emitWithAck("media.listen", payload, newKey()).then(() => true, () => false);
  }

  /** Hang up for good. */
  close() {
    this.closed = true;
    this.socket.disconnect();
  }

  /**
   * One try. Null where no answer came.
   * @param {string} type
   * @param {Record<string, unknown>} payload
   * @param {string} key
   * @returns {Promise<Answer | null>}
   */
  async ask(type, payload, key) {
    try {
      return await this.socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(type, payload, key);
    } catch {
      return null;
    }
  }

  /** Until there is a line, or the refusal of one. */
  async line() {
    while (!this.socket.connected && !this.refusal) {
      await new Promise((resolve) => this.waiting.push(() => resolve(undefined)));
    }
  }

  /** @param {string} seat */
  hello(seat) {
    this.toldListens = this.listens;
    return { seat, since: this.seq, page: this.page, listens: this.listens };
  }

  wire() {
    const { socket } = this;
    socket.on("connect", () => this.arrive());
    socket.on("disconnect", (reason) => {
      this.miss();
      // The server hung up: a revoked seat is told why on its next try, others just come back.
      if (reason === "io server disconnect") {
        wait(Math.random() * COME_BACK_WITHIN_MS).then(() => this.closed || socket.connect());
      }
    });
    socket.on("connect_error", (error) => this.refuse(error));
    socket.io.on("reconnect_attempt", () => this.watch());
    socket.io.on("open", () => socket.io.engine.once("upgrade", () => this.tryOtherwise(false)));
    socket.on("snapshot", ({ state, seq }) => {
      this.seq = seq;
      this.change({ ...state, live: this.state.live }, []);
    });
    socket.on("events", (/** @type {WireEvent[]} */ events) => this.take(events));
    socket.on("head", (/** @type {number} */ seq) => (this.seq = Math.max(this.seq, seq)));
    socket.on("live", (/** @type {Fact[]} */ facts) => this.hear(facts));
  }

  /** @param {WireEvent[]} events */
  take(events) {
    // What a snapshot held already may still have been on its way.
    const fresh = events.filter((event) => event.seq > this.seq);
    if (fresh.length === 0) return;
    let { state } = this;
    for (const { type, data } of fresh) state = apply(state, type, data);
    this.seq = fresh[fresh.length - 1].seq;
    this.change(state, fresh);
  }

  /** @param {Fact[]} facts */
  hear(facts) {
    const live = { ...this.state.live };
    for (const { type, data } of facts) {
      if (type === "clock") this.clockOffsetMs = Date.parse(data.at) - Date.now();
      live[type] = data;
    }
    this.change({ ...this.state, live }, []);
    for (const fact of facts) this.listeners.onLive?.(fact);
  }

  /**
   * @param {State} state
   * @param {WireEvent[]} events
   */
  change(state, events) {
    this.state = state;
    this.listeners.onChange?.(state, events);
  }

  /** There is a line. */
  arrive() {
    this.online = true;
    this.refusal = null;
    this.wake();
    this.listen(this.listens); // it may have changed since the handshake
    this.say();
  }

  /** There is none, which is said if it stays so. */
  miss() {
    this.online = false;
    clearTimeout(this.missing);
    this.missing = setTimeout(() => this.closed || this.say(), SAY_AFTER_MS);
  }

  say() {
    clearTimeout(this.missing);
    this.listeners.onStatus?.(this.online, this.refusal);
  }

  /** @param {Error & {data?: {error: string, message: string, retry_after_s?: number}}} error */
  refuse(error) {
    const told = error.data;
    if (!told) this.tryOtherwise(error.message === "timeout");
    if (told && told.retry_after_s === undefined) {
      this.refusal = new CommandError(told.error, told.message || t("Phiên đã kết thúc."));
      this.outbox.drop();
      askAnew();
    } else if (told) {
      // socket.io comes back by itself from a lost line, not from a refusal.
      const waitMs = (told.retry_after_s ?? 1) * 1000 + Math.random() * COME_BACK_WITHIN_MS;
      wait(waitMs).then(() => this.closed || this.socket.connect());
    }
    this.wake();
    if (this.refusal) this.say();
  }

  /**
   * socket.io goes on to polling where a WebSocket is refused; not where a network takes one and lets
   * nothing through it.
   * @param {boolean} silent the last try was not refused, it ended without an answer
   */
  tryOtherwise(silent) {
    this.socket.io.opts.transports = silent ? [...POLLING_FIRST] : [...WEBSOCKET_FIRST];
  }

  /** A try begins: look into it where it stays silent. */
  watch() {
    clearTimeout(this.watching);
    this.watching = setTimeout(() => this.lookInto(), SILENT_MS);
  }

  /**
   * Where something else gets through, go on by polling at once. Where nothing does, all are late, as when
   * a whole conference comes back at once: whoever gives up then only comes once more.
   */
  async lookInto() {
    const { engine } = this.socket.io;
    const isSilent = () => engine.readyState === "opening" && engine.transport?.name === "websocket";
    if (!isSilent() || !(await isReachable()) || !isSilent()) return;
    this.tryOtherwise(true);
    this.socket.disconnect().connect();
  }

  wake() {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/**
 * The server's own page says why it will not have this one; nothing here shall look as if it went on.
 * Not again soon: a page that is served and whose line is refused must not go round and round.
 */
function askAnew() {
  const before_ms = Number(sessionStorage.getItem("refused_ms") ?? 0);
  if (Date.now() - before_ms < ASK_ANEW_AFTER_MS) return;
  sessionStorage.setItem("refused_ms", String(Date.now()));
  location.reload();
}

/**
 * Wait for the server to answer a new connection. One that began while there was no line may never
 * hear of its return: others begin meanwhile.
 * @param {() => boolean} isOver nobody waits any more
 * @returns {Promise<boolean>} whether the first of them was answered, before any other
 */
function answeredFirst(isOver) {
  return new Promise((resolve) => {
    /** @param {boolean} first */
    const probe = async (first) => {
      if (!(await isReachable()) && !isOver()) return;
      clearInterval(timer);
      resolve(first);
    };
    const timer = setInterval(() => void probe(false), PROBE_EVERY_MS);
    void probe(true);
  });
}

/** Whether the server answers a new connection, with a file: its health it would have to find out first. */
function isReachable() {
  /** @type {RequestInit} */
  const options = { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PROBE_FOR_MS) };
  return fetch(import.meta.url, options).then(() => true, () => false);
}
