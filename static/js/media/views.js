// @ts-check
/**
 * How high this page shows its slots, told when it changes: the server sends no larger picture than
 * is seen, and none to a page that is hidden.
 */

/** Sizes change in bursts while a window is dragged. */
const COALESCE_MS = 200;

export class Views {
  /** @type {Map<string, Element | null>} mid → what gives its picture room, null: nothing does */
  #rooms = new Map();
  #told = "";
  #timer = 0;

  /** @param {(heights: Record<string, number>) => void} tell mid → device pixels, 0: not seen */
  constructor(tell) {
    this.tell = tell;
    this.observer = new ResizeObserver(() => this.#soon());
    document.addEventListener("visibilitychange", () => this.#soon());
  }

  /**
   * A slot is shown in this video. The frame around it is measured: the video itself may be hidden
   * while it has no picture, and must not stay so for that.
   * @param {string} mid
   * @param {HTMLVideoElement} video
   */
  watch(mid, video) {
    const room = video.closest("figure, button") ?? video.parentElement ?? video;
    const before = this.#rooms.get(mid);
    if (before === room) return;
    this.#rooms.set(mid, room);
    if (before && ![...this.#rooms.values()].includes(before)) this.observer.unobserve(before);
    this.observer.observe(room);
    this.#soon();
  }

  /**
   * A slot is not shown by this page at all.
   * @param {string} mid
   */
  forgo(mid) {
    this.#rooms.set(mid, null);
    this.#soon();
  }

  /** A new session knows nothing yet. */
  renew() {
    this.#told = "";
    this.#soon();
  }

  #soon() {
    this.#timer ||= window.setTimeout(() => {
      this.#timer = 0;
      const heights = this.#measure();
      const text = JSON.stringify(heights);
      if (text === this.#told) return;
      this.#told = text;
      this.tell(heights);
    }, COALESCE_MS);
  }

  /** @returns {Record<string, number>} without those that have no room yet: they get what is usual */
  #measure() {
    /** @type {Record<string, number>} */
    const heights = {};
    for (const [mid, room] of this.#rooms) {
      const height = Math.round((room?.getBoundingClientRect().height ?? 0) * devicePixelRatio);
      if (document.hidden || !room) heights[mid] = 0;
      else if (height > 0) heights[mid] = Math.min(height, 10_000);
    }
    return heights;
  }
}
