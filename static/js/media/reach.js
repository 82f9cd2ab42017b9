// @ts-check
/** What people are told to do where nothing of the server's media port can be reached. */

import { t } from "../i18n.js";

/**
 * What a page hears nothing from, as the server's description names it.
 * @typedef {object} Place
 * @property {string[]} addresses
 * @property {string[]} ports
 */

/**
 * Where a description says that the server takes media (RFC 8839, 5.1).
 * @param {string} sdp
 * @returns {Place | null} null where it names no place
 */
export function mediaPlace(sdp) {
  const candidates = [...sdp.matchAll(/^a=candidate:\S+ \d+ \S+ \d+ (\S+) (\d+) /gm)];
  if (candidates.length === 0) return null;
  return {
    addresses: [...new Set(candidates.map((each) => each[1]))],
    ports: [...new Set(candidates.map((each) => each[2]))],
  };
}

/**
 * @param {Place} place
 * @returns {string} for an operator, and for whoever looks after the network
 */
export function unreachableText({ addresses, ports }) {
  return t(
    "Hình và tiếng không đến được máy chủ: có lẽ mạng này chặn cổng %(port)s. Nhờ quản trị mạng mở cổng %(port)s tới %(address)s: UDP, nếu không được thì TCP. Trang tự kết nối khi cổng mở.",
    { port: ports.join(", "), address: addresses.join(", ") },
  );
}
