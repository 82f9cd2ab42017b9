// @ts-check
/**
 * One publication of this page: a camera with its microphone, or a screen.
 *
 * The browser offers, the server answers at once (no trickle: the server is ICE-lite and needs no
 * candidates of ours). A picture that is switched off is not sent at all and its camera is let go
 * of, so that its light goes out and others know that there is none.
 */

import { canSendH264, offeredVideoCodecs, offeringRepeats } from "./codecs.js";
import { describeRefusal } from "./devices.js";
import { MediaSession } from "./session.js";

/**
 * Simulcast layers of a camera, ascending: 180p, 360p and 720p of talking people in H.264 baseline.
 * @type {RTCRtpEncodingParameters[]}
 */
const CAMERA_LAYERS = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_500_000 },
];
const SCREEN_BPS = 2_500_000;
const SPEECH_BPS = 48_000;
/** So often a picture that the line has made smaller is tried to be made larger again. */
const TRY_EVERY_S = 3;
/** Every connection begins with a small picture; one that stays small for so long has a narrow line. */
const NARROW_AFTER_S = 10;
/** What the largest layer's limit changes by then: nobody sees it. */
const NUDGE_BPS = 1000;

export class Publisher extends MediaSession {
  /** @type {MediaStream | null} */
  stream = null;
  /** @type {import("./devices.js").Refusal | null} */
  refusal = null;
  muted = { audio: false, video: false };

  /** @type {Map<string, string[]>} layers to be sent, told for sessions that we may not know yet */
  #layers = new Map();
  /** How often the camera was asked for or let go of: what comes too late for either is not kept. */
  #turn = 0;
  /** @type {Promise<void>} changes of layers, one after another */
  #changing = Promise.resolve();
  /** For how long the line has kept the picture small. */
  #narrow_s = 0;

  /**
   * @param {import("./session.js").Options & {
   *   source: "camera" | "screen",
   *   capture: (wanted: import("./devices.js").Wanted) => Promise<MediaStream>,
   * }} options capture opens the camera or the screen
   */
  constructor({ source, capture, ...options }) {
    super(options);
    this.source = source;
    this.capture = capture;
  }

  /** Whether this browser sends H.264; if not it sends VP8, which costs the server a transcoding. */
  get sendsH264() {
    return canSendH264();
  }

  /** Whether the line keeps the picture smaller than it is wanted. */
  get isNarrow() {
    return this.#narrow_s >= NARROW_AFTER_S;
  }

  /**
   * Open (or open anew, with other devices) what is to be published; while published the new
   * tracks take the place of the old ones without a gap in the connection.
   * @returns {Promise<boolean>} false when it was refused, or is wanted no more
   */
  async preview() {
    const turn = ++this.#turn;
    const wasWanted = this.wanted;
    if (!wasWanted) this.become("asking");
    let stream;
    try {
      stream = await this.capture({ video: !this.muted.video, audio: true });
    } catch (error) {
      if (turn !== this.#turn) return false;
      if (wasWanted && this.stream?.active) throw error; // what runs goes on
      this.refusal = describeRefusal(error);
      this.become("refused");
      return false;
    }
    if (turn !== this.#turn) {
      for (const track of stream.getTracks()) track.stop();
      return false;
    }
    const old = this.stream;
    this.stream = stream;
    this.refusal = null;
    this.#hearEnds(stream);
    this.#muteSound();
    await Promise.all([this.#send("video"), this.#send("audio")]);
    for (const track of old?.getTracks() ?? []) track.stop();
    if (wasWanted) this.onChange();
    else this.become("previewing");
    return true;
  }

  /** Publish what `preview` opened; opens it first where needed. */
  async publish() {
    if (!this.stream?.active && !(await this.preview())) return;
    this.start();
  }

  /**
   * @param {"audio" | "video"} kind
   * @param {boolean} muted
   */
  async mute(kind, muted) {
    this.muted[kind] = muted;
    this.onChange();
    if (kind === "audio") this.#muteSound();
    else if (muted) await this.#darken();
    else await this.#light();
    this.onChange();
  }

  /** Stop publishing; the camera stays open. */
  halt() {
    this.leave();
    this.become(this.stream ? "previewing" : "idle");
  }

  /** Stop publishing and let go of the camera. */
  stop() {
    this.#turn += 1;
    this.halt();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.refusal = null;
    this.become("idle");
  }

  /**
   * A live message of the server.
   * @param {string} type
   * @param {any} data
   */
  handleLive(type, data) {
    if (type !== "layers") return super.handleLive(type, data);
    this.#layers.set(data.session, data.rids);
    if (data.session === this.session) this.#sendLayers();
  }

  /**
   * Once a second while there is a session.
   * @protected
   * @param {import("./quality.js").Line} line
   */
  onLine(line) {
    this.#narrow_s = line.limited === "bandwidth" ? this.#narrow_s + 1 : 0;
    super.onLine(line);
    if (this.#narrow_s && this.#narrow_s % TRY_EVERY_S === 0) this.#tryLarger();
  }

  /** Pause the layers that nobody receives, and send the others. */
  #sendLayers() {
    this.#change((encodings) => {
      const rids = this.#layers.get(this.session ?? "");
      if (!rids || encodings.length < 2) return false;
      for (const encoding of encodings) encoding.active = rids.includes(encoding.rid ?? "");
      return true;
    }); // where it fails we are told again while a layer is missing
  }

  /**
   * Chromium looks for what the line carries when the most that it may send changes; by itself its
   * estimate only grows by some percent a second, and the picture stays small for long (docs/media.md).
   */
  #tryLarger() {
    this.#change((encodings) => {
      const largest = [...encodings].reverse().find((each) => each.active !== false);
      if (!largest) return false;
      const layer = CAMERA_LAYERS.find((each) => each.rid === largest.rid);
      const full_bps = this.source === "camera" ? (layer?.maxBitrate ?? 0) : SCREEN_BPS;
      if (!full_bps) return false;
      largest.maxBitrate = largest.maxBitrate === full_bps ? full_bps - NUDGE_BPS : full_bps;
      return true;
    });
  }

  /**
   * Change how the picture is sent, after all earlier changes.
   * @param {(encodings: RTCRtpEncodingParameters[]) => boolean} edit whether there is anything to change
   */
  #change(edit) {
    this.#changing = this.#changing.then(async () => {
      const lines = this.connection?.getTransceivers() ?? [];
      const sender = lines.find((each) => each.receiver.track.kind === "video")?.sender;
      const parameters = sender?.getParameters();
      if (!sender || !parameters?.encodings?.length || !edit(parameters.encodings)) return;
      await sender.setParameters(parameters).catch(() => {});
    });
  }

  /**
   * @protected
   * @param {RTCPeerConnection} connection
   */
  async negotiate(connection) {
    if (this.stream) this.#addTracks(connection, this.stream);
    const offer = await connection.createOffer();
    const sdp = offeringRepeats(offer.sdp);
    const answer = await this.send("media.publish", { source: this.source, sdp });
    if (!this.adopt(connection, answer.session)) return;
    for (const session of this.#layers.keys()) {
      if (session !== answer.session) this.#layers.delete(session);
    }
    this.relayBy(connection, answer);
    await connection.setLocalDescription(offer);
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    this.#sendLayers();
  }

  /**
   * @protected
   * @param {RTCPeerConnection} connection
   * @param {string} session
   */
  async renegotiate(connection, session) {
    const offer = await connection.createOffer({ iceRestart: true });
    const sdp = offeringRepeats(offer.sdp);
    const answer = await this.send("media.restart", { session, sdp });
    if (connection !== this.connection) return;
    this.relayBy(connection, answer);
    await connection.setLocalDescription(offer);
    await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {MediaStream} stream
   */
  #addTracks(connection, stream) {
    /** @type {(MediaStreamTrack | "video")[]} */
    const tracks = stream.getTracks();
    if (this.muted.video) tracks.push("video"); // a line that waits for the picture
    for (const track of tracks) {
      const isVideo = track === "video" || track.kind === "video";
      const video = this.source === "camera" ? CAMERA_LAYERS : [{ maxBitrate: SCREEN_BPS }];
      const transceiver = connection.addTransceiver(track, {
        direction: "sendonly",
        streams: [stream],
        sendEncodings: isVideo ? video : [{ maxBitrate: SPEECH_BPS }],
      });
      if (isVideo) transceiver.setCodecPreferences?.(offeredVideoCodecs());
    }
  }

  /**
   * Send the stream's track of a kind on its line, or nothing where it has none.
   * @param {"audio" | "video"} kind
   */
  async #send(kind) {
    const transceivers = this.connection?.getTransceivers() ?? [];
    const line = transceivers.find((each) => each.receiver.track.kind === kind);
    const track = this.stream?.getTracks().find((each) => each.kind === kind) ?? null;
    await line?.sender.replaceTrack(track);
  }

  async #darken() {
    for (const track of this.stream?.getVideoTracks() ?? []) {
      this.stream?.removeTrack(track);
      track.stop();
    }
    await this.#send("video");
  }

  /** Open the camera again; refused, the picture stays off. */
  async #light() {
    const { stream } = this;
    if (!stream || stream.getVideoTracks().length) return;
    try {
      const opened = await this.capture({ video: true, audio: false });
      const wanted = this.stream === stream && !this.muted.video;
      for (const track of opened.getVideoTracks()) {
        if (wanted) stream.addTrack(track);
        else track.stop();
      }
      if (!wanted) return;
      this.refusal = null;
      this.#hearEnds(opened);
      await this.#send("video");
    } catch (error) {
      this.muted.video = true;
      this.refusal = describeRefusal(error);
    }
  }

  #muteSound() {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !this.muted.audio;
  }

  /** @param {MediaStream} stream of tracks that may end by themselves */
  #hearEnds(stream) {
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => this.#onTrackEnded(track));
    }
  }

  /** @param {MediaStreamTrack} track */
  #onTrackEnded(track) {
    if (!this.stream?.getTracks().includes(track)) return;
    this.stop(); // "stop sharing" of the browser itself, or a device that was pulled out
    if (this.source === "screen") return;
    this.refusal = describeRefusal(new DOMException("", "NotFoundError"));
    this.become("refused");
  }
}
