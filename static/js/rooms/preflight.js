// @ts-check
/** Before joining: choose camera, microphone and speaker, see and hear that they work. */

import { byId, clone, fill } from "../dom.js";
import { t } from "../i18n.js";
import { listDevices, rememberChoice, rememberedChoice } from "../media/devices.js";
import { LevelMeter } from "../media/meter.js";

/** @typedef {import("../media/publish.js").Publisher} Publisher */

/** @type {("camera" | "microphone" | "speaker")[]} */
const KINDS = ["camera", "microphone", "speaker"];

export class Preflight {
  choice = rememberedChoice();
  #meter = new LevelMeter(byId("preview-level"), () => {
    fill(byId("voice"), { text: t("Micrô thu tốt.") });
    byId("voice").classList.add("good-text");
  });
  /** @type {MediaStream | null} */
  #shown = null;

  /**
   * @param {Publisher} publisher the camera's
   * @param {object} on
   * @param {(withCamera: boolean) => void} on.join
   * @param {() => boolean} on.refused whether this page's seat is no more
   * @param {(deviceId: string) => void} on.speaker
   */
  constructor(publisher, on) {
    this.publisher = publisher;
    this.on = on;
    byId("codec-note").hidden = publisher.sendsH264;
    byId("preflight-form").addEventListener("submit", (event) => {
      event.preventDefault();
      on.join(true);
    });
    byId("join-silent").addEventListener("click", () => on.join(false));
    byId("join-silent", HTMLButtonElement).disabled = false; // until here nothing would have heard it
    byId("preview-retry").addEventListener("click", () => void this.open());
    for (const kind of KINDS) {
      byId(kind).addEventListener("change", () => {
        this.choice[kind] = byId(kind, HTMLSelectElement).value;
        rememberChoice(this.choice);
        if (kind === "speaker") on.speaker(this.choice.speaker);
        else void this.open();
      });
    }
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#list());
    on.speaker(this.choice.speaker);
  }

  /** Open the chosen devices and show them. */
  async open() {
    await this.publisher.preview().catch(() => {}); // what is being published goes on
    await this.#list(); // labels are known only now
  }

  show() {
    byId("preflight").hidden = false;
    this.render();
  }

  hide() {
    byId("preflight").hidden = true;
    this.#meter.stop();
    this.#shown = null;
  }

  /** Follow the publisher. */
  render() {
    if (byId("preflight").hidden) return;
    const { refusal, stream, state } = this.publisher;
    byId("refusal").hidden = !refusal;
    if (refusal) fill(byId("refusal"), { title: refusal.title, advice: refusal.advice });
    const off = this.publisher.muted.video ? t("Đang tắt hình") : t("Không có hình");
    const asking = state === "asking";
    fill(byId("preview"), {
      noPicture: asking ? t("Trình duyệt đang hỏi quyền dùng camera…") : off,
    });
    if (stream && !stream.getAudioTracks().length) {
      fill(byId("voice"), { text: t("Không tìm thấy micrô: hội nghị sẽ không nghe được phòng này.") });
    }
    const refused = this.on.refused();
    byId("join", HTMLButtonElement).disabled = !stream || refused;
    byId("join-silent", HTMLButtonElement).disabled = refused;
    if (stream !== this.#shown) showSelf(byId("preview"), stream);
    if (stream && stream !== this.#shown) this.#meter.start(stream);
    else if (!stream) this.#meter.stop();
    this.#shown = stream;
  }

  async #list() {
    const devices = await listDevices();
    for (const kind of KINDS) {
      const select = byId(kind, HTMLSelectElement);
      const known = devices[kind].filter((device) => device.deviceId !== "default");
      const options = known.map((device, index) =>
        clone("device-template", {
          id: device.deviceId,
          label: device.label || t("Thiết bị %(n)s", { n: index + 1 }),
        }),
      );
      const first = select.options[0];
      select.replaceChildren(first, ...options);
      const chosen = known.some((device) => device.deviceId === this.choice[kind]);
      select.value = chosen ? this.choice[kind] : "";
      byId(`${kind}-field`).hidden = kind === "speaker" && known.length === 0;
    }
  }
}

/**
 * Show one's own camera in a tile, without its sound.
 * @param {HTMLElement} figure
 * @param {MediaStream | null} stream
 */
export function showSelf(figure, stream) {
  const video = figure.querySelector("video");
  if (!video) return;
  video.muted = true;
  if (video.srcObject !== stream) video.srcObject = stream;
  if (stream) video.play().catch(() => {});
  figure.classList.toggle("has-picture", Boolean(stream?.getVideoTracks().length));
}
