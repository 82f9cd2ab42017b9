// @ts-check
/**
 * One publication of this page: a camera with its microphone, or a screen.
 *
 * The browser offers, the server answers at once (no trickle: the server is ICE-lite and needs no
 * candidates of ours). A line that dies is mended by an ICE restart, a session that died by
 * publishing anew, both without a hand.
 */

import { canSendH264, offeredVideoCodecs } from "./codecs.js";
import { describeRefusal } from "./devices.js";
import { LineWatch } from "./quality.js";

/**
 * `idle` nothing open · `asking` the browser asks for the camera · `previewing` open, not sent ·
 * `connecting` · `live` · `retrying` again in `retry_s` seconds · `refused` no camera, see `refusal`
 * · `taken_over` another page publishes this site now
 * @typedef {"idle" | "asking" | "previewing" | "connecting" | "live" | "retrying" | "refused"
 *   | "taken_over"} PublisherState
 */

/** @typedef {(type: string, payload: Record<string, unknown>) => Promise<any>} Send */

const RETRY_S = [1, 2, 4, 8, 10];
const CONNECT_TIMEOUT_MS = 15_000;
/** 720p30 of a talking person in H.264 baseline. */
const CAMERA_BPS = 1_800_000;
const SCREEN_BPS = 2_500_000;
const SPEECH_BPS = 48_000;

export class Publisher {
  /** @type {PublisherState} */
  state = "idle";
  /** @type {MediaStream | null} */
  stream = null;
  /** @type {import("./devices.js").Refusal | null} */
  refusal = null;
  /** @type {import("./quality.js").Line | null} */
  line = null;
  /** Why it is not live, in the server's words; empty when there is nothing to say. */
  message = "";
  retry_s = 0;
  muted = { audio: false, video: false };

  /** @type {RTCPeerConnection | null} */
  #connection = null;
  /** @type {string | null} */
  #session = null;
  #failures = 0;
  /** @type {LineWatch | null} */
  #watch = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {Send} options.send sends a command, rejects with {code, message}
   * @param {"camera" | "screen"} options.source
   * @param {() => Promise<MediaStream>} options.capture opens the camera or the screen
   * @param {(publisher: Publisher) => void} options.onChange after every change here
   * @param {() => boolean} [options.isOnline] whether commands go out now. Nothing is negotiated
   *   before they do: an offer that waits would be stale when it arrives
   */
  constructor({ send, source, capture, onChange, isOnline = () => true }) {
    this.send = send;
    this.source = source;
    this.capture = capture;
    this.onChange = onChange;
    this.isOnline = isOnline;
  }

  /** Whether this browser sends H.264; if not it sends VP8, which costs the server a transcoding. */
  get sendsH264() {
    return canSendH264();
  }

  /** Whether it publishes, or means to. */
  get wanted() {
    return ["connecting", "live", "retrying"].includes(this.state);
  }

  /**
   * Open (or open anew, with other devices) what is to be published; while published the new
   * tracks take the place of the old ones without a gap in the connection.
   * @returns {Promise<boolean>} false when it was refused
   */
  async preview() {
    const wasWanted = this.wanted;
    if (!wasWanted) this.#become("asking");
    let stream;
    try {
      stream = await this.capture();
    } catch (error) {
      if (wasWanted && this.stream?.active) throw error; // what runs goes on
      this.refusal = describeRefusal(error);
      this.#become("refused");
      return false;
    }
    const old = this.stream;
    this.stream = stream;
    this.refusal = null;
    this.#applyMute();
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => this.#onTrackEnded(track));
    }
    await Promise.all(
      (this.#connection?.getSenders() ?? []).map((sender) => {
        const kind = sender.track?.kind;
        const track = stream.getTracks().find((each) => each.kind === kind);
        return track ? sender.replaceTrack(track) : undefined;
      }),
    );
    for (const track of old?.getTracks() ?? []) track.stop();
    if (wasWanted) this.onChange(this);
    else this.#become("previewing");
    return true;
  }

  /** Publish what `preview` opened; opens it first where needed. */
  async publish() {
    if (!this.stream?.active && !(await this.preview())) return;
    this.#failures = 0;
    await this.#connect();
  }

  /** Mend the line now: a new ICE path on the same session. */
  async restart() {
    const connection = this.#connection;
    const session = this.#session;
    if (!connection || !session || !this.isOnline()) return;
    try {
      await connection.setLocalDescription(await connection.createOffer({ iceRestart: true }));
      const sdp = connection.localDescription?.sdp;
      const answer = await this.send("media.restart", { session, sdp });
      if (connection !== this.#connection) return;
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch (error) {
      if (connection === this.#connection) this.#retry(error); // the session is gone: begin anew
    }
  }

  /**
   * @param {"audio" | "video"} kind
   * @param {boolean} muted
   */
  mute(kind, muted) {
    this.muted[kind] = muted;
    this.#applyMute();
    this.onChange(this);
  }

  /** Stop publishing; the camera stays open. */
  halt() {
    const session = this.#session;
    this.#disconnect();
    this.message = "";
    if (session) this.send("media.close", { session }).catch(() => {}); // gone already: as wished
    this.#become(this.stream ? "previewing" : "idle");
  }

  /** Stop publishing and let go of the camera. */
  stop() {
    this.halt();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.#become("idle");
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
    if (type === "media_ready" && this.wanted) {
      this.#failures = 0;
      void this.#connect();
    } else if (type === "media_closed" && data.session === this.#session) {
      if (data.reason === "taken_over") {
        this.#disconnect();
        this.#become("taken_over");
      } else if (data.reason !== "left") this.#retry(null);
    }
  }

  async #connect() {
    this.#disconnect();
    const stream = this.stream;
    if (!stream) return;
    this.#become("connecting");
    if (!this.isOnline()) return; // `resume` goes on
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#connection = connection;
    connection.addEventListener("connectionstatechange", () => this.#onConnection(connection));
    this.#timer = setTimeout(() => this.#retry(null), CONNECT_TIMEOUT_MS);
    try {
      this.#addTracks(connection, stream);
      await connection.setLocalDescription();
      const sdp = connection.localDescription?.sdp;
      const answer = await this.send("media.publish", { source: this.source, sdp });
      if (connection !== this.#connection) {
        this.send("media.close", { session: answer.session }).catch(() => {});
        return;
      }
      this.#session = answer.session;
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      this.#watch = new LineWatch(connection, (line) => {
        this.line = line;
        this.onChange(this);
      });
    } catch (error) {
      if (connection === this.#connection) this.#retry(error);
    }
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {MediaStream} stream
   */
  #addTracks(connection, stream) {
    for (const track of stream.getTracks()) {
      const video = this.source === "camera" ? CAMERA_BPS : SCREEN_BPS;
      const maxBitrate = track.kind === "video" ? video : SPEECH_BPS;
      const transceiver = connection.addTransceiver(track, {
        direction: "sendonly",
        streams: [stream],
        sendEncodings: [{ maxBitrate }], // one layer; simulcast adds its layers here
      });
      if (track.kind === "video") transceiver.setCodecPreferences?.(offeredVideoCodecs());
    }
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

  /**
   * Publish anew after a while, longer after each failure.
   * @param {unknown} error what the server said, or null where it said nothing
   */
  #retry(error) {
    this.#disconnect();
    this.message = error instanceof Error ? error.message : "";
    this.retry_s = RETRY_S[Math.min(this.#failures++, RETRY_S.length - 1)];
    this.#become("retrying");
    const countDown = () => {
      this.retry_s -= 1;
      if (this.retry_s <= 0) void this.#connect();
      else {
        this.onChange(this);
        this.#timer = setTimeout(countDown, 1000);
      }
    };
    this.#timer = setTimeout(countDown, 1000);
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#watch?.stop();
    this.#watch = null;
    this.line = null;
    this.#connection?.close();
    this.#connection = null;
    this.#session = null;
  }

  #applyMute() {
    for (const track of this.stream?.getTracks() ?? []) {
      track.enabled = !this.muted[/** @type {"audio" | "video"} */ (track.kind)];
    }
  }

  /** @param {MediaStreamTrack} track */
  #onTrackEnded(track) {
    if (!this.stream?.getTracks().includes(track)) return;
    if (this.source === "screen") return this.stop(); // "stop sharing" of the browser itself
    this.stop(); // a camera or microphone that was pulled out
    this.refusal = describeRefusal(new DOMException("", "NotFoundError"));
    this.#become("refused");
  }

  /** @param {PublisherState} state */
  #become(state) {
    this.state = state;
    this.onChange(this);
  }
}
