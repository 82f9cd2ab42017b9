// @ts-check
/**
 * What this page receives: slots agreed once (`stage`, `presentation`, `wall0` …, `audio0` …),
 * whose content the server changes without negotiating again. A `slots` message says which source
 * each one shows, nothing included: a slot that shows nothing keeps its last picture for ever, so
 * pages hide it by `sourceOf`.
 */

import { canReceiveH264 } from "./codecs.js";
import { LineWatch } from "./quality.js";

/** @typedef {"idle" | "connecting" | "live" | "retrying"} ReceiverState */

const RETRY_S = [1, 2, 4, 8, 10];
const CONNECT_TIMEOUT_MS = 15_000;
/** Silence that is mended by an ICE restart, and how often at most. */
const SILENCE_MS = 3000;
const RESTART_EVERY_MS = 6000;

export class Receiver {
  /** @type {ReceiverState} */
  state = "idle";
  /** @type {import("./quality.js").Line | null} */
  line = null;
  /** @type {Record<string, string | null>} mid → source */
  slots = {};
  /** @type {Map<string, MediaStream>} mid → its track, as a stream */
  streams = new Map();
  /** Whether the browser wants a gesture before it plays sound. */
  soundBlocked = false;
  message = "";

  /** @type {RTCPeerConnection | null} */
  #connection = null;
  /** @type {string | null} */
  #session = null;
  /** @type {Map<string, Record<string, string | null>>} slots told before we knew the session */
  #told = new Map();
  /** @type {Map<string, HTMLVideoElement>} */
  #videos = new Map();
  /** @type {Map<string, HTMLAudioElement>} */
  #audios = new Map();
  #soundOn = false;
  #speaker = "";
  #failures = 0;
  #restarted_ms = -RESTART_EVERY_MS;
  /** @type {LineWatch | null} */
  #watch = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {import("./publish.js").Send} options.send
   * @param {number} [options.wall] how many tiles
   * @param {boolean} [options.audio]
   * @param {(receiver: Receiver) => void} options.onChange after every change here
   * @param {(source: string) => boolean} [options.isAlive] whether a source reaches the server
   * @param {() => boolean} [options.isOnline] whether commands go out now; see Publisher
   */
  constructor({
    send,
    wall = 0,
    audio = true,
    onChange,
    isAlive = () => true,
    isOnline = () => true,
  }) {
    this.send = send;
    this.wall = wall;
    this.audio = audio;
    this.onChange = onChange;
    this.isAlive = isAlive;
    this.isOnline = isOnline;
  }

  /** Whether this browser shows the slots' pictures; without H.264 it cannot. */
  get showsPictures() {
    return canReceiveH264();
  }

  /** Whether sound is wanted here (it may still be blocked). */
  get soundOn() {
    return this.#soundOn;
  }

  /**
   * What a slot shows now.
   * @param {string} mid
   * @returns {string | null}
   */
  sourceOf(mid) {
    return this.slots[mid] ?? null;
  }

  /** Begin, and keep at it until `stop`. */
  start() {
    this.#failures = 0;
    void this.#connect();
  }

  stop() {
    const session = this.#session;
    this.#disconnect();
    if (session) this.send("media.close", { session }).catch(() => {});
    this.#become("idle");
  }

  /**
   * Show a slot in a video element; the element follows every reconnection.
   * @param {string} mid
   * @param {HTMLVideoElement} video
   */
  attach(mid, video) {
    video.muted = true; // pictures never carry sound here, and muted ones may start by themselves
    this.#videos.set(mid, video);
    this.#show(mid);
  }

  /**
   * Play the floor's sound here, or not: one page of a room does (domain.md, truth 7).
   * @param {boolean} on
   */
  setSound(on) {
    if (on === this.#soundOn) return;
    this.#soundOn = on;
    if (!on) this.soundBlocked = false;
    for (const mid of this.#audios.keys()) this.#play(mid);
    this.onChange(this);
  }

  /** Try again after a gesture of the person. */
  unblockSound() {
    this.soundBlocked = false;
    for (const mid of this.#audios.keys()) this.#play(mid);
    this.onChange(this);
  }

  /** @param {string} deviceId of an audio output; empty for the system's own */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    for (const audio of this.#audios.values()) setOutput(audio, deviceId);
  }

  /** Mend the line now: the server offers a new ICE path on the same session. */
  async restart() {
    const connection = this.#connection;
    const session = this.#session;
    const now_ms = performance.now();
    if (!connection || !session || !this.isOnline()) return;
    if (now_ms - this.#restarted_ms < RESTART_EVERY_MS) return;
    this.#restarted_ms = now_ms;
    try {
      const offer = await this.send("media.restart", { session, sdp: "" });
      if (connection === this.#connection) await this.#answer(connection, session, offer.sdp);
    } catch (error) {
      if (connection === this.#connection) this.#retry(error);
    }
  }

  /** The line to the server is there (again): do at once what has waited for it. */
  resume() {
    if (this.#connection || !["connecting", "retrying"].includes(this.state)) return;
    this.#failures = 0;
    void this.#connect();
  }

  /**
   * A live message of the server.
   * @param {string} type
   * @param {any} data
   */
  handleLive(type, data) {
    if (type === "slots") {
      if (data.session === this.#session) this.#setSlots(data.slots);
      else if (!this.#session) this.#told.set(data.session, data.slots);
    } else if (type === "media_ready" && this.state !== "idle") this.start();
    else if (type === "media_closed" && data.session === this.#session && data.reason !== "left") {
      this.#retry(null);
    }
  }

  async #connect() {
    this.#disconnect();
    this.#become("connecting");
    if (!this.isOnline()) return; // `resume` goes on
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#connection = connection;
    connection.addEventListener("track", (event) => this.#onTrack(connection, event));
    connection.addEventListener("connectionstatechange", () => this.#onConnection(connection));
    this.#timer = setTimeout(() => this.#retry(null), CONNECT_TIMEOUT_MS);
    try {
      const offer = await this.send("media.receive", { wall: this.wall, audio: this.audio });
      if (connection !== this.#connection) {
        this.send("media.close", { session: offer.session }).catch(() => {});
        return;
      }
      this.#session = offer.session;
      const told = this.#told.get(offer.session);
      this.#told.clear();
      if (told) this.#setSlots(told);
      await this.#answer(connection, offer.session, offer.sdp);
      this.#watch = new LineWatch(connection, (line) => this.#onLine(line));
    } catch (error) {
      if (connection === this.#connection) this.#retry(error);
    }
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {string} session
   * @param {string} sdp the server's offer
   */
  async #answer(connection, session, sdp) {
    await connection.setRemoteDescription({ type: "offer", sdp });
    await connection.setLocalDescription();
    await this.send("media.accept", { session, sdp: connection.localDescription?.sdp });
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {RTCTrackEvent} event
   */
  #onTrack(connection, { transceiver, track }) {
    if (connection !== this.#connection || transceiver.mid === null) return;
    const mid = transceiver.mid;
    this.streams.set(mid, new MediaStream([track]));
    if (track.kind === "audio") {
      if (!this.#audios.has(mid)) this.#audios.set(mid, soundElement(mid, this.#speaker));
      this.#play(mid);
    } else this.#show(mid);
  }

  /** @param {string} mid */
  #show(mid) {
    const video = this.#videos.get(mid);
    const stream = this.streams.get(mid) ?? null;
    if (!video || video.srcObject === stream) return;
    video.srcObject = stream;
    if (stream) video.play().catch(() => {}); // muted: only a removed element refuses
  }

  /** @param {string} mid */
  #play(mid) {
    const audio = this.#audios.get(mid);
    if (!audio) return;
    const stream = this.#soundOn ? (this.streams.get(mid) ?? null) : null;
    if (audio.srcObject !== stream) audio.srcObject = stream;
    if (!stream) return;
    audio.play().catch((error) => {
      if (error.name !== "NotAllowedError" || this.soundBlocked) return;
      this.soundBlocked = true;
      this.onChange(this);
    });
  }

  /** @param {RTCPeerConnection} connection */
  #onConnection(connection) {
    if (connection !== this.#connection) return;
    switch (connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        this.#failures = 0;
        this.message = "";
        this.#become("live");
        break;
      case "disconnected":
        void this.restart();
        break;
      case "failed":
        this.#retry(null);
    }
  }

  /** @param {import("./quality.js").Line} line */
  #onLine(line) {
    // Silence is only wrong where something ought to come: an empty stage sends nothing.
    const expected = Object.values(this.slots).some((source) => source && this.isAlive(source));
    this.line = expected ? line : { ...line, level: 4, silent_ms: 0 };
    if (expected && line.silent_ms >= SILENCE_MS) void this.restart();
    this.onChange(this);
  }

  /** @param {Record<string, string | null>} slots */
  #setSlots(slots) {
    this.slots = slots;
    this.onChange(this);
  }

  /** @param {unknown} error */
  #retry(error) {
    this.#disconnect();
    this.message = error instanceof Error ? error.message : "";
    const wait_s = RETRY_S[Math.min(this.#failures++, RETRY_S.length - 1)];
    this.#become("retrying");
    this.#timer = setTimeout(() => void this.#connect(), wait_s * 1000);
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#watch?.stop();
    this.#watch = null;
    this.line = null;
    this.#connection?.close();
    this.#connection = null;
    this.#session = null;
    this.slots = {};
    this.streams.clear();
  }

  /** @param {ReceiverState} state */
  #become(state) {
    this.state = state;
    this.onChange(this);
  }
}

/**
 * @param {string} mid
 * @param {string} speaker
 */
function soundElement(mid, speaker) {
  const audio = document.createElement("audio");
  audio.dataset.mid = mid;
  audio.hidden = true;
  document.body.append(audio);
  if (speaker) setOutput(audio, speaker);
  return audio;
}

/**
 * @param {HTMLAudioElement} audio
 * @param {string} deviceId
 */
function setOutput(audio, deviceId) {
  // Where a browser cannot choose, or the device is gone, the system's own output plays.
  if ("setSinkId" in audio) audio.setSinkId(deviceId).catch(() => {});
}
