// @ts-check
/** Speaking requests in a fair order, with the reason: who has spoken least, then who waits longest. */

import { byId, on, renderList } from "../dom.js";
import { formatDuration, t } from "../i18n.js";
import { isOpen } from "./conference.js";

/** @typedef {import("../state.js").Entity} Entity */

/**
 * Open requests, next first.
 * @param {import("../state.js").State} state
 * @returns {Entity[]}
 */
export function fairOrder(state) {
  const spoken = (/** @type {Entity} */ request) => state.sites[String(request.site)]?.spoken_s ?? 0;
  return Object.values(state.requests).sort(
    (a, b) => spoken(a) - spoken(b) || Date.parse(a.requested_at) - Date.parse(b.requested_at),
  );
}

/**
 * @param {import("../state.js").State} state
 * @param {number} now server time, ms
 */
export function renderQueue(state, now) {
  let place = 0;
  renderList(byId("requests"), "request-template", fairOrder(state), (r) => r.id, (request, element) => {
    const site = state.sites[String(request.site)];
    element.dataset.id = String(request.id);
    element.dataset.site = String(request.site);
    const spoken = site?.spoken_s
      ? t("đã nói %(time)s", { time: formatDuration(site.spoken_s) })
      : t("chưa phát biểu");
    const waits = t("chờ %(time)s", {
      time: formatDuration((now - Date.parse(request.requested_at)) / 1000),
    });
    place += 1;
    return {
      place,
      open: isOpen(state),
      name: site?.name ?? "",
      why: [waits, spoken, request.reason].filter(Boolean).join(" · "),
    };
  });
}

/**
 * @param {import("../connection.js").Connection} connection
 * @param {import("../act.js").Act} act
 */
export function wireQueue(connection, act) {
  on(byId("requests"), "click", "[data-request]", (button) => {
    const row = button.closest("[data-id]");
    if (button.dataset.request === "give") {
      act(button, "floor.give", { site: Number(row?.getAttribute("data-site")) });
    } else act(button, "floor.decline", { request: Number(row?.getAttribute("data-id")) });
  });
}
