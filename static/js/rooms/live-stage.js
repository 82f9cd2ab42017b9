// @ts-check
/**
 * The stage in this browser: by WebRTC, or by the live recording where there is no H.264 in WebRTC
 * (Firefox on a closed network).
 */

import { fill, toast } from "../dom.js";
import { t } from "../i18n.js";
import { canPlayH264 } from "../media/codecs.js";
import { hasMedia } from "./conference.js";
import { liveRecording, LiveStream } from "./live-stream.js";
import { sends, stageText, Tile } from "./stage.js";

/** @typedef {import("../state.js").State} State */

/**
 * The stage's tile, where its picture comes by HLS, or nothing does. Its sound is left off: the
 * floor's comes by WebRTC.
 */
export class LiveStage {
  #plays = canPlayH264();
  #emptyText = "";
  #label = "";
  /** @type {State | null} */
  #state = null;

  /**
   * @param {HTMLElement} figure
   * @param {import("../media/receive.js").Receiver} receiver
   */
  constructor(figure, receiver) {
    receiver.forgo("stage"); // what is sent as VP8 would come twice
    const video = figure.querySelector("video");
    if (!video) throw new Error("a tile needs a video");
    video.muted = true;
    this.figure = figure;
    this.stream = new LiveStream(video, () => this.#show());
    if (!this.#plays) return;
    const why = t("Trình duyệt này không có H.264 nên hình đi chậm khoảng mười giây. Nên dùng Chrome, Edge hoặc Cốc Cốc.");
    toast(why, { seconds: 20 });
  }

  /**
   * @param {State} state
   * @param {string} emptyText said while there is nothing to show
   * @param {string} [label] what it shows
   */
  render(state, emptyText, label = stageText(state, state.conference.stage)) {
    this.#state = state;
    [this.#emptyText, this.#label] = [emptyText, label];
    if (this.#plays) this.stream.follow(liveRecording(state));
    this.#show();
  }

  #show() {
    if (!this.#state) return;
    const { shown, video } = this.stream;
    this.figure.classList.toggle("has-picture", shown);
    const late = shown && this.#label;
    const name = late ? t("%(name)s · hình đi chậm", { name: this.#label }) : this.#label;
    fill(this.figure, { name, noPicture: this.#absence(this.#state) });
    const caption = this.figure.querySelector("figcaption");
    if (caption) caption.hidden = !name;
    video.setAttribute("aria-label", name || this.#emptyText);
  }

  /** @param {State} state */
  #absence(state) {
    if (this.stream.failed) return t("Không phát được hình trực tiếp trên trình duyệt này.");
    if (this.#plays && liveRecording(state)) return t("Đang chờ hình trực tiếp…");
    if (!hasMedia(state) || !sends(state, state.conference.stage, "picture")) return this.#emptyText;
    return this.#plays
      ? t("Trình duyệt này chỉ hiện hình khi hội nghị đang diễn ra.")
      : t("Trình duyệt này không có H.264 nên không có hình. Hãy dùng Chrome, Edge hoặc Cốc Cốc.");
  }
}

/**
 * The stage's tile in this browser.
 * @param {HTMLElement} figure
 * @param {import("../media/receive.js").Receiver} receiver
 */
export function stageTile(figure, receiver) {
  return receiver.showsPictures ? new Tile(figure, receiver, "stage") : new LiveStage(figure, receiver);
}
