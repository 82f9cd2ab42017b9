// @ts-check
/**
 * What may come on stage next: the site that the moderator has chosen on the wall, and the first
 * hand of the queue. The server is told, so that their large pictures are there when the stage cuts.
 */

import { fairOrder } from "./queue.js";
import { sends } from "./stage.js";

/** Half of how long the server keeps to it. */
const AGAIN_MS = 10_000;

export class Next {
  #told = "";
  #toldAt = 0;

  /** @param {import("../connection.js").Connection} connection */
  constructor(connection) {
    this.connection = connection;
  }

  /**
   * Tell the server where it does not know; to be called now and then.
   * @param {string | null} chosen id of a site
   */
  tell(chosen) {
    const { state } = this.connection;
    const ids = new Set([chosen, String(fairOrder(state)[0]?.site ?? "")]);
    const sources = [...ids]
      .map((id) => `site:${state.sites[id ?? ""]?.slug}`)
      .filter((source) => state.live?.publications?.[source] && sends(state, source, "picture"))
      .filter((source) => source !== state.conference.stage);
    const now = performance.now();
    const news = sources.join() !== this.#told || now - this.#toldAt > AGAIN_MS;
    if (!sources.length || !news || !this.connection.online) return;
    this.#told = sources.join();
    this.#toldAt = now;
    this.connection.send("media.expect", { sources }).catch(() => (this.#told = ""));
  }
}
