// @ts-check
/**
 * What this page receives: slots agreed once (`stage`, `presentation`, `wall0` …, `audio0` …),
 * whose content the server changes without negotiating again. A `slots` message says which source
 * each one shows, nothing included: a slot that shows nothing keeps its last picture for ever, so
 * pages hide it by `sourceOf`.
 */

import { canReceiveH264 } from "./codecs.js";
import { MediaSession } from "./session.js";
import { Views } from "./views.js";

/** Silence that is mended by an ICE restart; a second before, the line that asks for it is looked at. */
const SILENCE_MS = 3000;
const DOUBT_MS = 2000;
const RETRY_VIEWS_MS = 5000;

export class Receiver extends MediaSession {
  /** @type {Record<string, string | null>} mid → source */
  slots = {};
  /** @type {Map<string, MediaStream>} mid → its track, as a stream */
  streams = new Map();
  /** Whether the browser wants a gesture before it plays sound. */
  soundBlocked = false;
  /** @type {number | null} what the line carries, bit/s, while pictures are smaller for its sake */
  reducedBps = null;
  /** @type {string[]} mids whose picture there is, but for which the line has no room */
  withheld = [];

  /** @type {Map<string, Record<string, string | null>>} slots told before we knew the session */
  #told = new Map();
  /** @type {Map<string, HTMLVideoElement>} */
  #videos = new Map();
  /** @type {Map<string, HTMLAudioElement>} */
  #audios = new Map();
  #views = new Views((heights) => this.#tellViews(heights));
  #soundOn = false;
  #speaker = "";

  /**
   * @param {import("./session.js").Options & {
   *   wall?: number,
   *   audio?: boolean,
   *   sends?: (source: string, kind: "picture" | "sound") => boolean,
   * }} options wall: how many tiles; sends: whether a source's picture or sound reaches the server
   */
  constructor({ wall = 0, audio = true, sends = () => true, ...options }) {
    super(options);
    this.wall = wall;
    this.audio = audio;
    this.sends = sends;
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

  stop() {
    this.leave();
    this.become("idle");
  }

  /** What was told while we were away is missed: who tells its views again is told it again. */
  resume() {
    super.resume();
    if (!this.session) return;
    this.#setReduced({ session: this.session, carries_bps: null, withheld: [] });
    this.#views.renew();
  }

  /**
   * Show a slot in a video element; the element follows every reconnection.
   * @param {string} mid
   * @param {HTMLVideoElement} video
   */
  attach(mid, video) {
    video.muted = true; // pictures never carry sound here, and muted ones may start by themselves
    for (const [other, shown] of this.#videos) if (shown === video) this.#videos.delete(other);
    this.#videos.set(mid, video);
    this.#views.watch(mid, video);
    this.#show(mid);
  }

  /**
   * Receive no picture in a slot: what it would show comes to this page by another way.
   * @param {string} mid
   */
  forgo(mid) {
    this.#views.forgo(mid);
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
    this.onChange();
  }

  /** Try again after a gesture of the person. */
  unblockSound() {
    this.soundBlocked = false;
    for (const mid of this.#audios.keys()) this.#play(mid);
    this.onChange();
  }

  /** @param {string} deviceId of an audio output; empty for the system's own */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    for (const audio of this.#audios.values()) setOutput(audio, deviceId);
  }

  /**
   * A live message of the server.
   * @param {string} type
   * @param {any} data
   */
  handleLive(type, data) {
    if (type === "downlink") this.#setReduced(data);
    else if (type !== "slots") super.handleLive(type, data);
    else if (data.session === this.session) this.#setSlots(data.slots);
    else if (!this.session) this.#told.set(data.session, data.slots);
  }

  /**
   * @protected
   * @param {RTCPeerConnection} connection
   */
  async negotiate(connection) {
    connection.addEventListener("track", (event) => this.#onTrack(connection, event));
    const offer = await this.send("media.receive", { wall: this.wall, audio: this.audio });
    if (!this.adopt(connection, offer.session)) return;
    const told = this.#told.get(offer.session);
    this.#told.clear();
    if (told) this.#setSlots(told);
    await this.#answer(connection, offer.session, offer);
    this.#views.renew();
  }

  /**
   * @protected
   * @param {RTCPeerConnection} connection
   * @param {string} session
   */
  async renegotiate(connection, session) {
    const offer = await this.send("media.restart", { session, sdp: "" });
    if (connection === this.connection) await this.#answer(connection, session, offer);
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {string} session
   * @param {{sdp: string, ice_servers?: RTCIceServer[]}} offer the server's
   */
  async #answer(connection, session, offer) {
    this.relayBy(connection, offer);
    await connection.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    await connection.setLocalDescription();
    await this.send("media.accept", { session, sdp: connection.localDescription?.sdp });
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {RTCTrackEvent} event
   */
  #onTrack(connection, { transceiver, track }) {
    if (connection !== this.connection || transceiver.mid === null) return;
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
      this.onChange();
    });
  }

  /**
   * While there is a path, silence is only wrong where something ought to come: an empty stage sends
   * nothing, nor does a camera that is off.
   * @protected
   * @param {import("./quality.js").Line} line
   */
  onLine(line) {
    const expected = Object.entries(this.slots).some(
      ([mid, source]) => source && this.sends(source, mid.startsWith("audio") ? "sound" : "picture"),
    );
    if (expected && line.silent_ms >= SILENCE_MS) void this.restart();
    else if (expected && line.silent_ms >= DOUBT_MS) this.onSilence();
    const quiet = !expected && this.connection?.connectionState === "connected";
    super.onLine(quiet ? { ...line, level: 4, silent_ms: 0 } : line);
  }

  /**
   * @protected
   * @param {string} mid
   * @returns {string | null}
   */
  showing(mid) {
    const source = this.sourceOf(mid);
    const seen = source && !document.hidden && !this.withheld.includes(mid);
    return seen && this.sends(source, "picture") ? source : null;
  }

  /** @param {Record<string, number>} heights mid → device pixels */
  #tellViews(heights) {
    const { session } = this;
    if (!session || !this.isOnline()) return;
    this.send("media.view", { session, heights }).catch(() => {
      if (session === this.session) window.setTimeout(() => this.#views.renew(), RETRY_VIEWS_MS);
    });
  }

  /** @param {{session: string, carries_bps: number | null, withheld: string[]}} fact */
  #setReduced({ session, carries_bps, withheld }) {
    if (session !== this.session) return;
    this.reducedBps = carries_bps;
    this.withheld = withheld;
    this.onChange();
  }

  /** @param {Record<string, string | null>} slots */
  #setSlots(slots) {
    this.slots = slots;
    this.onChange();
  }

  /** @protected */
  disconnect() {
    super.disconnect();
    this.slots = {};
    this.reducedBps = null;
    this.withheld = [];
    this.streams.clear();
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
