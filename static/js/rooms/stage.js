// @ts-check
/** What the stage and other slots show: names of sources, and video tiles that tell the truth. */

import { fill } from "../dom.js";
import { t } from "../i18n.js";
import { hasMedia } from "./conference.js";

/** @typedef {import("../state.js").State} State */

/**
 * The site that a source (`site:{slug}` or `site:{slug}:screen`) belongs to.
 * @param {State} state
 * @param {string | null} source
 * @returns {import("../state.js").Entity | undefined}
 */
export function siteOfSource(state, source) {
  const slug = source?.split(":")[1];
  return slug ? Object.values(state.sites).find((site) => site.slug === slug) : undefined;
}

/**
 * A source's name for people.
 * @param {State} state
 * @param {string | null} source
 */
export function sourceText(state, source) {
  const name = siteOfSource(state, source)?.name ?? "";
  return source?.endsWith(":screen") ? t("Trình chiếu · %(site)s", { site: name }) : name;
}

/**
 * Whether a voice comes from a source now: of those who hold the floor the server tells who speaks,
 * steadied, so that a pause between words changes nothing.
 * @param {State} state
 * @param {string} source
 * @returns {boolean}
 */
export const isHeardNow = (state, source) =>
  hasMedia(state) && (state.live?.speaking?.includes(source) ?? false);

/**
 * What the stage shows, and who is heard here that it does not show.
 * @param {State} state
 * @param {string | null} source
 */
export function stageText(state, source) {
  const voices = Object.values(state.sites)
    .filter((site) => `site:${site.slug}` !== source && site.id !== state.me.site)
    .filter((site) => isHeardNow(state, `site:${site.slug}`))
    .map((site) => site.name);
  const speaking = voices.length ? t("đang nói: %(sites)s", { sites: voices.join(", ") }) : "";
  return [sourceText(state, source), speaking].filter(Boolean).join(" · ");
}

/**
 * What the stage says while its slot shows nothing: a site was put on it, or none was.
 * @param {State} state
 */
export function emptyStageText(state) {
  if (!hasMedia(state)) {
    return ["ended", "archived"].includes(state.conference.state)
      ? t("Hội nghị đã kết thúc")
      : t("Hội nghị chưa mở");
  }
  if (state.conference.state === "paused") return t("Hội nghị tạm nghỉ");
  const site = siteOfSource(state, state.conference.stage)?.name;
  return site
    ? t("Chưa có hình từ %(site)s", { site })
    : t("Chưa có hình trên màn hình chung");
}

/**
 * Whether a source's picture or sound reaches the server; true where nothing is known of it.
 * @param {State} state
 * @param {string | null} source
 * @param {"picture" | "sound"} kind
 * @returns {boolean}
 */
export function sends(state, source, kind) {
  const publications = state.live?.publications;
  if (!source || !publications) return Boolean(source);
  const publication = publications[source];
  if (kind === "picture") return Boolean(publication?.picture);
  return Boolean(publication?.alive && publication.audio);
}

/**
 * Whether this browser gets a source's picture: without H.264 it gets what is sent as VP8.
 * @param {State} state
 * @param {import("../media/receive.js").Receiver} receiver
 * @param {string | null} source
 * @returns {boolean}
 */
export function arrives(state, receiver, source) {
  if (!sends(state, source, "picture")) return false;
  return receiver.showsPictures || state.live?.publications?.[source ?? ""]?.video === "VP8";
}

/**
 * A `figure.video` that shows one slot of a receiver. It has a picture only while the slot shows a
 * source that sends one, and frames of it have come.
 */
export class Tile {
  #framed = false;
  #waiting = false;

  /**
   * @param {HTMLElement} figure
   * @param {import("../media/receive.js").Receiver} receiver
   * @param {string} mid
   */
  constructor(figure, receiver, mid) {
    this.figure = figure;
    this.receiver = receiver;
    this.mid = mid;
    const video = figure.querySelector("video");
    if (!video) throw new Error("a tile needs a video");
    this.video = video;
    receiver.attach(mid, video);
  }

  /** @returns {string | null} */
  get source() {
    return this.receiver.sourceOf(this.mid);
  }

  /**
   * @param {State} state
   * @param {string} emptyText said while the slot shows nothing
   */
  render(state, emptyText) {
    const source = this.source;
    const sent = sends(state, source, "picture");
    const arriving = arrives(state, this.receiver, source);
    if (!arriving) this.#framed = false;
    else if (!this.#framed && !this.#waiting) this.#awaitFrame();
    const name = sourceText(state, source);
    const label = this.mid === "stage" ? stageText(state, source) : name;
    this.figure.classList.toggle("has-picture", this.#framed);
    fill(this.figure, { name: label, noPicture: this.#absence(source, name, sent, arriving, emptyText) });
    const caption = this.figure.querySelector("figcaption");
    if (caption) caption.hidden = !label;
    this.video.setAttribute("aria-label", name || emptyText);
  }

  /**
   * Why there is no picture.
   * @param {string | null} source
   * @param {string} name
   * @param {boolean} sent to the server
   * @param {boolean} arriving here
   * @param {string} emptyText
   */
  #absence(source, name, sent, arriving, emptyText) {
    if (this.receiver.state === "retrying") return t("Mất kết nối hình, đang nối lại…");
    if (this.receiver.state === "connecting") return t("Đang kết nối hình…");
    if (!source) return emptyText;
    if (sent && !arriving) return t("Trình duyệt này không hiện được hình này (không có H.264).");
    return sent
      ? t("Đang chờ hình từ %(site)s…", { site: name })
      : t("Chưa có hình từ %(site)s", { site: name });
  }

  #awaitFrame() {
    this.#waiting = true;
    const arrived = () => {
      this.#waiting = false;
      this.#framed = this.source !== null;
      this.figure.classList.toggle("has-picture", this.#framed);
    };
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(arrived);
    else addOnce(this.video, arrived);
  }
}

/**
 * @param {HTMLVideoElement} video
 * @param {() => void} listener
 */
function addOnce(video, listener) {
  video.addEventListener("timeupdate", listener, { once: true });
}
