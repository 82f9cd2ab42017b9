// @ts-check
/**
 * One media session of this page with the server, sending or receiving: the connection, its state,
 * and how it comes back by itself. A line that dies is mended by an ICE restart, a session that
 * died by connecting anew. Nothing is negotiated while commands do not go out: what waits would be
 * stale when it arrives.
 */

import { t } from "../i18n.js";
import { onWake } from "../wake.js";
import { LineWatch } from "./quality.js";
import { mediaPlace } from "./reach.js";

/**
 * `idle` nothing wanted · `connecting` · `live` · `retrying` again in `retry_s` seconds ·
 * `taken_over` another page has this session's place now. Of publishers only: `asking` the browser
 * asks for the camera · `previewing` open, not sent · `refused` no camera
 * @typedef {"idle" | "asking" | "previewing" | "connecting" | "live" | "retrying" | "refused"
 *   | "taken_over"} SessionState
 */

/** @typedef {(type: string, payload: Record<string, unknown>) => Promise<any>} Send */

/**
 * @typedef {object} Options
 * @property {Send} send sends a command, rejects with {code, message}
 * @property {() => void} onChange after every change here
 * @property {() => boolean} [isOnline] whether commands go out now
 * @property {() => void} [onSilence] nothing comes from the server, perhaps on no line at all
 */

const RETRY_S = [1, 2, 3];
const CONNECT_TIMEOUT_MS = 15_000;
/** A restart that is under way is given so long. */
const RESTART_EVERY_MS = 2500;
/** Who was answered and hears no media for so long is told what may be in the way: TCP takes 2 s. */
const UNREACHABLE_AFTER_MS = 8000;
/** A path that failed may still come back by itself, or be mended once signalling is back. */
const FAILED_FOR_MS = 15_000;

/** Why the server has cut off who published, page or encoder. */
export function excessText() {
  return t("Máy chủ đã ngắt vì gửi lên quá nhiều: hơn 15 Mbit/s hoặc 4.000 gói mỗi giây. Hãy giảm chất lượng ở nơi gửi.");
}

export class MediaSession {
  /** @type {SessionState} */
  state = "idle";
  /** @type {import("./quality.js").Line | null} */
  line = null;
  /** Why it is not live, in the server's words; empty when there is nothing to say. */
  message = "";
  retry_s = 0;
  /** @type {import("./reach.js").Place | null} what answers nothing, while all else of the server does */
  unreachable = null;

  /**
   * @protected
   * @type {RTCPeerConnection | null}
   */
  connection = null;
  /**
   * The server's name of it.
   * @protected
   * @type {string | null}
   */
  session = null;
  #failures = 0;
  /** @type {number | null} since when media is awaited, over all tries */
  #awaited_ms = null;
  #restarted_ms = -RESTART_EVERY_MS;
  /** A restart waits for the line to the server. */
  #owed = false;
  #restarting = false;
  /** @type {LineWatch | null} */
  #watch = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Options} options */
  constructor({ send, onChange, isOnline = () => true, onSilence = () => {} }) {
    this.send = send;
    this.onChange = onChange;
    this.isOnline = isOnline;
    this.onSilence = onSilence;
    onWake(() => this.distrust());
    addEventListener("pagehide", () => this.#hide());
  }

  /** Whether it is live, or means to be. */
  get wanted() {
    return ["connecting", "live", "retrying"].includes(this.state);
  }

  /** Begin, and keep at it. */
  start() {
    this.#failures = 0;
    this.#awaitNothing();
    void this.#connect();
  }

  /** The line to the server is there (again): do at once what has waited for it. */
  resume() {
    if (!this.connection && ["connecting", "retrying"].includes(this.state)) this.start();
    else if (this.#owed) void this.restart();
  }

  /** Mend the line now: a new ICE path on the same session. */
  async restart() {
    const { connection, session } = this;
    const now_ms = performance.now();
    if (!connection || !session) return;
    this.onSilence();
    this.#owed = !this.isOnline();
    if (this.#owed || this.#restarting || now_ms - this.#restarted_ms < RESTART_EVERY_MS) return;
    this.#restarted_ms = now_ms;
    this.#restarting = true;
    try {
      await this.renegotiate(connection, session);
    } catch (error) {
      if (connection !== this.connection) return;
      if (/** @type {any} */ (error).code === "not_found") this.start(); // it ended unheard
      else this.#retry(error);
    } finally {
      if (connection === this.connection) this.#restarting = false;
    }
  }

  /**
   * Mend the line as soon as there is one to the server, whatever the browser still believes: this
   * machine was asleep, or has another address now.
   */
  distrust() {
    this.#restarted_ms = -RESTART_EVERY_MS;
    this.#owed = this.connection !== null;
    if (this.isOnline()) this.resume();
  }

  /**
   * A closed tab's process ends before its browser has hung up: the server would hear nothing, as on a
   * line that is dead. A page that is shown again after all goes on by `resume`.
   */
  #hide() {
    if (!this.connection) return;
    this.leave();
    this.state = "connecting";
  }

  /**
   * A live message of the server.
   * @param {string} type
   * @param {any} data
   */
  handleLive(type, data) {
    if (type === "media_ready" && this.wanted) this.start();
    else if (type === "media_closed" && data.session === this.session) {
      if (data.reason === "taken_over") {
        this.disconnect();
        this.become("taken_over");
      } else if (data.reason === "silent") this.start(); // the line was down: keep asking for it
      else if (data.reason === "excess") this.#retry(new Error(excessText()));
      else if (data.reason !== "left") this.#retry(null);
    }
  }

  /**
   * Agree with the server on a new session, and `adopt` it.
   * @protected
   * @param {RTCPeerConnection} _connection
   * @returns {Promise<void>}
   */
  async negotiate(_connection) {
    throw new Error("a session must know how it is negotiated");
  }

  /**
   * Agree on a new ICE path.
   * @protected
   * @param {RTCPeerConnection} _connection
   * @param {string} _session
   * @returns {Promise<void>}
   */
  async renegotiate(_connection, _session) {
    throw new Error("a session must know how it is negotiated");
  }

  /**
   * Take the TURN servers of an answer, before the local description that begins to gather:
   * credentials expire, so each negotiation brings its own.
   * @protected
   * @param {RTCPeerConnection} connection
   * @param {{ice_servers?: RTCIceServer[]}} answer
   */
  relayBy(connection, { ice_servers: iceServers = [] }) {
    if (iceServers.length === 0) return;
    connection.setConfiguration({ ...connection.getConfiguration(), iceServers });
  }

  /**
   * The server calls what we negotiate `session`.
   * @protected
   * @param {RTCPeerConnection} connection
   * @param {string} session
   * @returns {boolean} false when it is not wanted any more; then it has been closed
   */
  adopt(connection, session) {
    if (connection === this.connection) this.session = session;
    else this.#close(session);
    return connection === this.connection;
  }

  /**
   * Once a second while there is a session.
   * @protected
   * @param {import("./quality.js").Line} line
   */
  onLine(line) {
    this.line = this.state === "live" ? line : null; // nothing is known of a line that never was
    this.onChange();
  }

  /**
   * The source whose moving picture is to be seen in a slot; of publishers none.
   * @protected
   * @param {string} _mid
   * @returns {string | null}
   */
  showing(_mid) {
    return null;
  }

  /** @protected End the session, here and there. */
  leave() {
    const { session } = this;
    this.disconnect();
    this.message = "";
    this.#awaitNothing();
    if (session) this.#close(session);
  }

  /** @protected End it here: the server has ended it, or will when it hears no more. */
  disconnect() {
    clearTimeout(this.#timer);
    this.#watch?.stop();
    this.#watch = null;
    this.line = null;
    this.connection?.close();
    this.connection = null;
    this.#restarting = false;
    this.session = null;
  }

  /**
   * @protected
   * @param {SessionState} state
   */
  become(state) {
    this.state = state;
    this.onChange();
  }

  async #connect() {
    this.disconnect();
    this.become("connecting");
    if (!this.isOnline()) return; // `resume` goes on
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.connection = connection;
    connection.addEventListener("connectionstatechange", () => this.#onConnection(connection));
    this.#timer = setTimeout(() => this.#retry(null), CONNECT_TIMEOUT_MS);
    try {
      await this.negotiate(connection);
      if (connection !== this.connection) return;
      this.#watch = new LineWatch(
        connection,
        (mid) => this.showing(mid),
        (line) => {
          if (["disconnected", "failed"].includes(connection.connectionState)) void this.restart();
          if (this.state === "connecting") this.#await(connection);
          this.onLine(line);
        },
        (report) => this.#report(report),
      );
    } catch (error) {
      if (connection === this.connection) this.#retry(error);
    }
  }

  /** @param {RTCPeerConnection} connection */
  #onConnection(connection) {
    if (connection !== this.connection) return;
    switch (connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        this.#failures = 0;
        this.#awaitNothing();
        this.message = "";
        this.become("live");
        break;
      case "disconnected":
        void this.restart();
        break;
      case "failed":
        if (this.state !== "live") return this.#retry(null); // it never was
        void this.restart();
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#retry(null), FAILED_FOR_MS);
    }
  }

  /**
   * The server has answered, and its media is awaited.
   * @param {RTCPeerConnection} connection
   */
  #await(connection) {
    this.#awaited_ms ??= performance.now();
    if (performance.now() - this.#awaited_ms < UNREACHABLE_AFTER_MS) return;
    this.unreachable = mediaPlace(connection.remoteDescription?.sdp ?? "");
  }

  #awaitNothing() {
    this.#awaited_ms = null;
    this.unreachable = null;
  }

  /**
   * Connect anew after a while, longer after each failure.
   * @param {unknown} error what the server said, or null where it said nothing
   */
  #retry(error) {
    this.disconnect();
    if (error) this.#awaitNothing(); // it is not the line
    this.message = error instanceof Error ? error.message : "";
    this.retry_s = RETRY_S[Math.min(this.#failures++, RETRY_S.length - 1)];
    this.become("retrying");
    const countDown = () => {
      this.retry_s -= 1;
      if (this.retry_s <= 0) void this.#connect();
      else {
        this.onChange();
        this.#timer = setTimeout(countDown, 1000);
      }
    };
    this.#timer = setTimeout(countDown, 1000);
  }

  /** @param {import("./quality.js").Report} report for those who look after the lines */
  #report(report) {
    if (!this.session || !this.isOnline()) return;
    this.send("media.report", { session: this.session, ...report }).catch(() => {}); // the next will do
  }

  /** @param {string} session */
  #close(session) {
    this.send("media.close", { session }).catch(() => {}); // gone already: as wished
  }
}
