// @ts-check
/** What a room's people, and staff, read about a line that makes pictures smaller. */

import { fill, setBanner } from "../dom.js";
import { formatNumber, t } from "../i18n.js";
import { unreachableText } from "../media/reach.js";

/** @param {number} bps */
const rate = (bps) => formatNumber(Math.round(bps / 1000));

/**
 * On the page whose pictures are smaller.
 * @param {HTMLElement} element shown only meanwhile
 * @param {number | null} bps what the line carries, bit/s; null: all is well
 */
export function showReduced(element, bps) {
  element.hidden = bps === null;
  if (bps === null) return;
  const values = { rate: rate(bps) };
  fill(element, { text: t("Hình đã giảm: đường truyền chỉ tải được %(rate)s kbit/s", values) });
}

/**
 * On a page that gets through to the server with all but its pictures and sound.
 * @param {string} id of the banner
 * @param {import("../media/session.js").MediaSession[]} sessions
 */
export function showUnreachable(id, sessions) {
  const place = sessions.find((each) => each.unreachable)?.unreachable;
  setBanner(id, place ? unreachableText(place) : null);
}

/**
 * In place of a picture that there is, but for which this page's line has no room: unlike a camera
 * that is off. Stage and presentation always get their smallest.
 * @param {import("../media/receive.js").Receiver} receiver
 * @param {string | undefined} mid
 */
export function withheldText(receiver, mid) {
  const withheld = mid !== undefined && receiver.withheld.includes(mid);
  return withheld ? t("Đường truyền hẹp: tạm không có hình") : "";
}

/**
 * On the desk's tile of that site; empty while all is well.
 * @param {import("../state.js").State} state
 * @param {string} source
 */
export function siteReduced(state, source) {
  const bps = state.live?.downlinks?.[source];
  return bps ? t("nhận hình giảm: %(rate)s kbit/s", { rate: rate(bps) }) : "";
}
