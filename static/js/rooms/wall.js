// @ts-check
/** The wall of sites at the desk: who is here, who speaks, whose line is bad, whose hand is up. */

import { byId, fill, find, on, renderList } from "../dom.js";
import { formatNumber, joinFacts, t } from "../i18n.js";
import { keep, kept } from "../kept.js";
import { Receiver } from "../media/receive.js";
import { hasMedia, isOpen, isOver } from "./conference.js";
import { showUnreachable, siteReduced, withheldText } from "./downlink.js";
import { isUnheard } from "./floor.js";
import { Listening } from "./listening.js";
import { LiveStage } from "./live-stage.js";
import { Next } from "./next.js";
import { goneText, presenceText } from "./presence.js";
import { fairOrder } from "./queue.js";
import { arrives, isHeardNow, sends } from "./stage.js";
import { siteNarrow } from "./uplink.js";

/** @typedef {import("../state.js").Entity} Entity */

const MAX_TILES = 16;
/** Below this a site's picture is visibly poor; media.md has the rates of the layers. */
const POOR_LOSS = 0.05;

/**
 * Why a tile of the pair has no picture, though a source was chosen for it.
 * @param {string} slot
 * @param {string} site
 */
const absence = (slot, site) =>
  slot === "presentation"
    ? t("%(site)s không chia sẻ màn hình", { site })
    : t("Chưa có hình từ %(site)s", { site });

export class Wall {
  /** @type {string | null} id of the chosen site */
  #chosen = kept("chosen") ?? null;
  /** @type {LiveStage | null} */
  #liveStage = null;

  /**
   * @param {import("../connection.js").Connection} connection
   * @param {import("../act.js").Act} act
   */
  constructor(connection, act) {
    this.connection = connection;
    this.act = act;
    this.next = new Next(connection);
    this.receiver = new Receiver({
      send: (type, payload) => connection.send(type, payload),
      wall: MAX_TILES,
      onChange: () => this.#draw(),
      isOnline: () => connection.online,
      onSilence: () => void connection.doubt(),
      sends: (source, kind) => sends(connection.state, source, kind),
    });
    this.listening = new Listening(byId("listen"), this.receiver);
    on(byId("wall"), "click", "button.video", (tile) => this.#choose(tile.dataset.site ?? ""));
    const menu = document.getElementById("tile-menu");
    if (menu) on(menu, "click", "[data-tile]", (button) => this.#command(button));
    this.#attach();
    this.listening.start();
  }

  #attach() {
    if (!this.receiver.showsPictures) this.#liveStage = new LiveStage(byId("stage"), this.receiver);
    for (const name of this.#liveStage ? ["presentation"] : ["stage", "presentation"]) {
      this.receiver.attach(name, find(byId(name), "video", HTMLVideoElement));
    }
  }

  /**
   * A live fact of the server.
   * @param {import("../connection.js").Fact} fact
   */
  hear({ type, data }) {
    this.receiver.handleLive(type, data);
  }

  /** Follow the state: receive while there is something to receive, and show it. */
  render() {
    const wanted = hasMedia(this.connection.state) && !this.connection.refusal;
    // Either draws by itself.
    if (wanted && this.receiver.state === "idle") this.receiver.start();
    else if (!wanted && this.receiver.state !== "idle") this.receiver.stop();
    else this.#draw();
  }

  #draw() {
    const { state } = this.connection;
    const sites = Object.values(state.sites).sort((a, b) => a.position - b.position);
    const order = fairOrder(state).map((request) => request.site);
    renderList(byId("wall"), "tile-template", sites, (site) => site.id, (site, element) =>
      this.#describe(site, order.indexOf(site.id), element),
    );
    this.#renderPair();
    this.#renderLines(sites);
    this.#renderMenu();
    this.listening.render();
    showUnreachable("media-banner", [this.receiver]);
    const known = state.live?.publications ?? {};
    const here = sites.filter((site) => known[`site:${site.slug}`]?.picture).length;
    byId("connected").hidden = !hasMedia(state);
    byId("connected").textContent = t("%(here)s / %(all)s có hình", {
      here: formatNumber(here),
      all: formatNumber(sites.filter((site) => site.kind !== "online").length),
    });
  }

  /**
   * @param {Entity} site
   * @param {number} place in the queue, −1 without a hand up
   * @param {HTMLElement} element
   */
  #describe(site, place, element) {
    const { state } = this.connection;
    const source = `site:${site.slug}`;
    const button = find(element, "button");
    button.dataset.site = String(site.id);
    const mid = Object.keys(this.receiver.slots).find(
      (name) => name.startsWith("wall") && this.receiver.slots[name] === source,
    );
    const video = find(element, "video", HTMLVideoElement);
    if (mid && video.dataset.mid !== mid) {
      video.dataset.mid = mid;
      this.receiver.attach(mid, video);
    }
    const arriving = Boolean(mid) && arrives(state, this.receiver, source);
    const open = isOpen(state);
    const now = this.connection.now();
    const gone = open && !arriving ? goneText(site, now) : "";
    const withheld = arriving ? withheldText(this.receiver, mid) : "";
    const unshown = sends(state, source, "picture") && !arrives(state, this.receiver, source);
    const count = `${formatNumber(site.present)}/${formatNumber(site.expected)}`;
    const unheard = open && isUnheard(state, site);
    const floorText = unheard ? t("chưa có tiếng") : t("đang nói");
    const facts = [
      place >= 0 ? `↑ ${place + 1}` : "",
      site.floor_since ? floorText : "",
      site.muted ? t("tắt tiếng") : "",
      site.expected ? count : "",
      sends(state, source, "picture") ? siteNarrow(state, source) : "",
      gone ? "" : siteReduced(state, source),
    ];
    return {
      name: site.name,
      facts: joinFacts(facts.filter(Boolean)),
      presence: open && presenceText(site, now, state.live?.presence),
      picture: arriving && !withheld,
      instead: unshown ? t("Trình duyệt này không hiện được") : withheld || gone,
      live: state.conference.stage === source,
      speaking: isHeardNow(state, source),
      hand: place >= 0,
      bad: this.#isPoor(source),
      selected: String(site.id) === this.#chosen,
    };
  }

  /** @param {string} source */
  #isPoor(source) {
    const line = this.connection.state.live?.lines?.[source];
    return Boolean(line && line.loss > POOR_LOSS);
  }

  #renderPair() {
    const { state } = this.connection;
    const over = isOver(state);
    byId("stage").classList.toggle("live", !over);
    for (const [name, words, empty] of [
      over
        ? ["stage", t("Sân khấu"), t("Hội nghị đã kết thúc")]
        : ["stage", t("Đang phát"), t("Sân khấu đang trống")],
      ["presentation", t("Trình chiếu"), t("Không có trình chiếu")],
    ]) {
      const source = over ? null : state.conference[name];
      const site = Object.values(state.sites).find((s) => source?.split(":")[1] === s.slug);
      const label = site ? `${words} · ${site.name}` : words;
      if (name === "stage" && this.#liveStage) {
        this.#liveStage.render(state, empty, label);
        continue;
      }
      const shown =
        this.receiver.sourceOf(name) === source && arrives(state, this.receiver, source);
      byId(name).classList.toggle("has-picture", shown);
      fill(byId(name), {
        name: label,
        noPicture: site ? absence(name, site.name) : empty,
      });
    }
  }

  /** @param {Entity[]} sites */
  #renderLines(sites) {
    const lines = this.connection.state.live?.lines ?? {};
    const worst = sites
      .filter((site) => this.#isPoor(`site:${site.slug}`))
      .sort((a, b) => lines[`site:${b.slug}`].loss - lines[`site:${a.slug}`].loss)[0];
    const chip = byId("worst-line");
    chip.hidden = !worst;
    if (worst) fill(chip, { text: t("%(site)s: đường truyền yếu", { site: worst.name }) });
  }

  #renderMenu() {
    const menu = document.getElementById("tile-menu");
    if (!menu) return;
    const { state } = this.connection;
    byId("clear-menu").hidden = !isOpen(state);
    const site = this.#chosen && isOpen(state) ? state.sites[this.#chosen] : undefined;
    menu.hidden = !site;
    if (!site) return;
    fill(menu, {
      name: site.name,
      presence: presenceText(site, this.connection.now(), state.live?.presence),
      mute: site.muted ? t("Bật tiếng lại") : t("Tắt tiếng"),
    });
    const screen = state.live?.publications?.[`site:${site.slug}:screen`]?.picture;
    const silent = !site.floor_since && site.kind !== "online";
    for (const [name, shown] of Object.entries({
      floor: silent,
      join: silent,
      take: Boolean(site.floor_since),
      stage: site.kind !== "online",
      present: Boolean(screen),
    })) {
      find(menu, `[data-tile=${name}]`).hidden = !shown;
    }
    find(menu, "[data-tile=mute]").classList.toggle("now", Boolean(site.muted));
  }

  /** @param {string} id */
  #choose(id) {
    this.#chosen = this.#chosen === id ? null : id;
    keep("chosen", this.#chosen);
    this.render();
    this.expect();
  }

  /** Prepare what may come on stage next; for a moderator, now and then. */
  expect() {
    this.next.tell(this.#chosen);
  }

  /** @param {HTMLElement} button */
  #command(button) {
    const site = this.connection.state.sites[this.#chosen ?? ""];
    if (!site) return;
    const camera = `site:${site.slug}`;
    /** @type {Record<string, [string, Record<string, unknown>]>} */
    const commands = {
      floor: ["floor.give", { site: site.id }],
      join: ["floor.give", { site: site.id, alone: false, stage: false }],
      take: ["floor.take", { site: site.id }],
      stage: ["stage.show", { source: camera }],
      present: ["stage.present", { source: `${camera}:screen` }],
      mute: ["site.mute", { site: site.id, muted: !site.muted }],
    };
    const command = commands[button.dataset.tile ?? ""];
    if (command) this.act(button, ...command);
  }
}
