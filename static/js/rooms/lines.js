// @ts-check
/**
 * How every site's line is, in words: the desk sees all sites, an operator the own one. Asked of the
 * server every few seconds, and only while somebody looks.
 */

import { renderList } from "../dom.js";
import { formatNumber, formatPercent, t, tn } from "../i18n.js";
import { grade } from "../media/quality.js";
import { isOver } from "./conference.js";
import { presenceText } from "./presence.js";

/** @typedef {import("../state.js").Entity} Entity */

/**
 * One line now, as `media.lines` answers.
 * @typedef {object} Line
 * @property {number | null} site
 * @property {"up" | "down"} way
 * @property {string} what
 * @property {number} bitrate_bps
 * @property {number | null} loss
 * @property {number | null} rtt_ms
 * @property {number | null} height_px
 * @property {number | null} worth_px
 * @property {number | null} carries_bps
 * @property {string} reason
 * @property {boolean} silent
 * @property {boolean} reduced
 * @property {string} limited
 * @property {number} freezes
 * @property {number} frozen_ms
 * @property {number} line_freezes
 */

const EVERY_MS = 3000;
/** What was told before an answer has been missing for so long is said to be of before. */
const OLD_MS = 5000;
const MUCH_LOSS = 0.02;
const MUCH_DELAY_MS = 300;
/** Of the last minute: a tenth of it, and nobody follows any more. */
const MUCH_FROZEN_MS = 6000;
/** Less than that, where the line has no part in it, is not worth a word. */
const SOME_FROZEN_MS = 2000;

/** @param {number} bps to two figures of whole kbit/s: an estimate is no more exact */
export const rate = (bps) => formatNumber(Number((bps / 1000).toPrecision(2)), { maximumFractionDigits: 0 });

/** @param {string} what */
function nameOf(what) {
  /** @type {Record<string, string>} */
  const names = {
    camera: t("Camera"),
    screen: t("Chia sẻ màn hình"),
    encoder: t("Bộ mã hoá"),
    room: t("Trang kỹ thuật"),
    display: t("Màn hình phòng"),
    desk: t("Trang ban tổ chức"),
    player: t("Trình phát ngoài"),
  };
  return names[what] ?? what;
}

/**
 * 0 to 4, as the bars of `.quality`.
 * @param {Line} line
 */
function level(line) {
  if (line.silent) return 0;
  if (line.way === "up" && line.reason === "excess") return 1;
  const stands = line.frozen_ms > MUCH_FROZEN_MS;
  if (stands && line.line_freezes) return 1;
  let worst = grade(line.loss ?? 0, line.rtt_ms ?? 0, line.line_freezes, 0);
  if (otherwise(line)) worst = /** @type {0 | 1 | 2 | 3} */ (Math.min(worst, stands ? 2 : 3));
  return line.reduced ? Math.min(worst, 2) : worst;
}

/**
 * Does the picture stand for reasons other than this line?
 * @param {Line} line
 */
const otherwise = (line) => !line.line_freezes && line.freezes && line.frozen_ms > SOME_FROZEN_MS;

/**
 * What is wrong with it, the worst first; nothing said of what is well.
 * @param {Line} line
 */
function sentence(line) {
  const loss = formatPercent(line.loss ?? 0);
  if (line.way === "up") {
    if (line.reason === "excess") {
      if (line.silent) return t("đã bị ngắt vì gửi quá nhiều: hãy giảm tốc độ bit ở nơi gửi");
      return t("gửi quá nhiều nên bị bỏ bớt, sắp bị ngắt: hãy giảm tốc độ bit ở nơi gửi");
    }
    if (line.silent) return t("mất đường truyền, máy chủ không nhận được gì");
    if (line.limited === "bandwidth") return t("hình gửi lên đã giảm, đường lên hẹp");
    if ((line.loss ?? 0) > MUCH_LOSS) return t("đường lên mất %(loss)s gói", { loss });
    if (line.limited === "cpu") return t("máy quá tải nên gửi hình nhỏ hơn");
  } else {
    if (line.silent) return t("mất đường truyền, không nhận được gì");
    if (line.reduced && line.carries_bps) {
      const values = { rate: rate(line.carries_bps) };
      return t("hình đã giảm, đường truyền chỉ tải được %(rate)s kbit/s", values);
    }
    if ((line.loss ?? 0) > MUCH_LOSS) return t("đường xuống mất %(loss)s gói", { loss });
    if (line.line_freezes) return freezesText(line.line_freezes);
  }
  if ((line.rtt_ms ?? 0) > MUCH_DELAY_MS) return t("tiếng và hình đến chậm");
  if (otherwise(line)) return otherFreezesText(line.freezes);
  if (line.height_px && line.height_px < (line.worth_px ?? 0)) return t("tốt, nơi gửi chỉ gửi hình nhỏ");
  return t("tốt");
}

/** @param {number} n */
const freezesText = (n) =>
  tn("hình đứng %(n)s lần trong một phút qua", "hình đứng %(n)s lần trong một phút qua", n);

/**
 * Nothing was lost meanwhile.
 * @param {number} n
 */
const otherFreezesText = (n) =>
  tn(
    "hình đứng %(n)s lần trong một phút qua, không do đường truyền này: xem lại máy hoặc nơi gửi",
    "hình đứng %(n)s lần trong một phút qua, không do đường truyền này: xem lại máy hoặc nơi gửi",
    n,
  );

/**
 * For a technician on the telephone.
 * @param {Line} line
 */
function figures(line) {
  if (line.silent) return ""; // what is sent does not arrive, and the rest is of before
  const known = [t("%(rate)s kbit/s", { rate: rate(line.bitrate_bps) })];
  if (line.loss !== null) known.push(t("mất gói %(loss)s", { loss: formatPercent(line.loss) }));
  if (line.rtt_ms !== null) known.push(t("trễ %(delay)s ms", { delay: formatNumber(line.rtt_ms) }));
  if (line.height_px) known.push(`${line.height_px}p`);
  return known.join(" · ");
}

/**
 * The worst line of one way: what a site's row says.
 * @param {Line[]} lines
 * @param {string} none what is said where there is no line
 */
function worst(lines, none) {
  const line = lines.reduce(
    (/** @type {Line | null} */ found, each) => (found && level(found) <= level(each) ? found : each),
    null,
  );
  if (!line) return { text: none, level: null, figures: "" };
  const text = `${nameOf(line.what)}: ${sentence(line)}`;
  return { text, level: level(line), figures: figures(line) };
}

/**
 * A row for each site that publishes, in the order of the sites, and one for staff.
 * @param {Record<string, Entity>} sites those that are to be shown
 * @param {Line[]} lines
 * @param {number | null} now the server's time; null after the end, when presence means nothing any more
 * @param {import("./presence.js").Counts} [counts] how many phones are connected
 */
export function lineRows(sites, lines, now, counts) {
  const rooms = Object.values(sites)
    .filter((site) => site.kind !== "online")
    .sort((a, b) => a.position - b.position || a.id - b.id)
    .map((site) => ({
      id: site.id,
      name: site.name,
      presence: now === null ? "" : presenceText(site, now, counts),
    }));
  const staff = lines.some((line) => line.site === null);
  const rows = staff ? [...rooms, { id: null, name: t("Ban tổ chức"), presence: "" }] : rooms;
  return rows.map(({ id, name, presence }) => {
    const own = lines.filter((line) => line.site === id);
    const up = worst(own.filter((line) => line.way === "up"), t("Không gửi hình và tiếng"));
    const down = worst(own.filter((line) => line.way === "down"), t("Không nhận hình"));
    return {
      id: String(id),
      name,
      presence,
      sends: id !== null,
      up: up.text,
      upLevel: up.level,
      upFigures: up.figures,
      down: down.text,
      downLevel: down.level,
      downFigures: down.figures,
    };
  });
}

export class LinesPanel {
  /** @type {number | null} since when an answer is awaited */
  #waiting_ms = null;
  #asking = false;

  /**
   * @param {HTMLElement} list its parent is hidden while nobody looks
   * @param {HTMLElement} old says that the list is of before
   * @param {ReturnType<typeof import("../connection.js").connect>} connection
   * @param {() => Record<string, Entity>} sites
   */
  constructor(list, old, connection, sites) {
    this.list = list;
    this.old = old;
    this.connection = connection;
    this.sites = sites;
    setInterval(() => void this.show(), EVERY_MS);
  }

  /** Now, if it is to be seen; else it will be, when it is. */
  async show() {
    const seen = this.list.parentElement?.getClientRects().length && !document.hidden;
    this.#waiting_ms = seen ? (this.#waiting_ms ?? performance.now()) : null;
    this.#tellAge();
    if (!seen || this.#asking || !this.connection.online) return;
    this.#asking = true;
    try {
      const { lines } = await this.connection.send("media.lines", {});
      const { state } = this.connection;
      const now = isOver(state) ? null : this.connection.now();
      const rows = lineRows(this.sites(), lines, now, state.live?.presence);
      renderList(this.list, "line-template", rows, (row) => row.id, (row) => row);
      this.#waiting_ms = null;
      this.#tellAge();
    } catch {
      // The next time will do.
    } finally {
      this.#asking = false;
    }
  }

  #tellAge() {
    const late = this.#waiting_ms !== null && performance.now() - this.#waiting_ms > OLD_MS;
    this.old.hidden = !late || this.list.children.length === 0;
    this.list.classList.toggle("old", !this.old.hidden);
  }
}
