// @ts-check
/** Who may be heard, and who waits for it. */

import { formatTime, t } from "../i18n.js";
import { isOver } from "./conference.js";

/** @typedef {import("../state.js").State} State */
/** @typedef {import("../state.js").Entity} Entity */

/**
 * The site of this page's seat.
 * @param {State} state
 * @returns {Entity | undefined}
 */
export const ownSite = (state) => state.sites[String(state.me.site)];

/**
 * Open speaking requests, the longest waiting first.
 * @param {State} state
 * @returns {Entity[]}
 */
export const waiting = (state) =>
  Object.values(state.requests).sort(
    (a, b) => Date.parse(a.requested_at) - Date.parse(b.requested_at),
  );

/**
 * The open request of this page's site.
 * @param {State} state
 * @returns {Entity | undefined}
 */
export const ownRequest = (state) => waiting(state).find((each) => each.site === state.me.site);

/**
 * Whether no sound of a site comes to the server: its microphone is off, or it sends nothing.
 * False where nothing is known of what is published.
 * @param {State} state
 * @param {Entity} site
 * @returns {boolean}
 */
export function isUnheard(state, site) {
  const publications = state.live?.publications;
  return Boolean(publications && !publications[`site:${site.slug}`]?.heard);
}

/**
 * How this page's site stands to the floor. It speaks only while the conference is live: in a
 * pause it holds the floor and goes on afterwards.
 * @param {State} state
 * @returns {"speaking" | "muted" | "unheard" | "held" | "waiting" | "silent" | "over"}
 */
export function ownFloor(state) {
  if (isOver(state)) return "over";
  const site = ownSite(state);
  if (site?.floor_since && state.conference.state !== "live") return "held";
  if (site?.floor_since) {
    if (site.muted) return "muted";
    return isUnheard(state, site) ? "unheard" : "speaking";
  }
  return ownRequest(state) ? "waiting" : "silent";
}

/**
 * Names of the sites that hold the floor, in the order in which they got it.
 * @param {State} state
 * @returns {string[]}
 */
export const holders = (state) =>
  Object.values(state.sites)
    .filter((site) => site.floor_since)
    .sort((a, b) => Date.parse(a.floor_since) - Date.parse(b.floor_since))
    .map((site) => site.name);

/**
 * A headline and a line under it: how this room stands to the floor.
 * @param {State} state
 * @returns {{title: string, about: string}}
 */
export function floorText(state) {
  const own = ownSite(state);
  switch (ownFloor(state)) {
    case "speaking":
      return {
        title: t("Điểm cầu này đang phát biểu"),
        about: t("Cả hội nghị nghe tiếng từ %(time)s", { time: formatTime(own?.floor_since) }),
      };
    case "muted":
      return {
        title: t("Điểm cầu này đang bị tắt tiếng"),
        about: t("Người điều phối đã tắt tiếng. Hội nghị chưa nghe được."),
      };
    case "unheard":
      return {
        title: t("Điểm cầu này được mời phát biểu"),
        about: t("Chưa có tiếng từ micrô của phòng. Hội nghị chưa nghe được."),
      };
    case "held":
      // The microphone is the room's own affair in a pause: promise neither silence nor sound.
      return {
        title:
          state.conference.state === "paused"
            ? t("Hội nghị tạm nghỉ")
            : t("Hội nghị chưa bắt đầu"),
        about: t("Hãy tắt micrô khi phòng không phát biểu."),
      };
    case "over":
      return {
        title: t("Hội nghị đã kết thúc"),
        about: state.conference.recording
          ? t("Cảm ơn quý vị đã tham dự. Bản ghi có thể xem lại ngay.")
          : t("Cảm ơn quý vị đã tham dự."),
      };
    case "waiting":
      return waitingText(state);
    default: {
      return { title: t("Hội nghị không nghe tiếng phòng này"), about: othersText(state) };
    }
  }
}

/**
 * Who is heard instead, or why nobody is.
 * @param {State} state
 * @returns {string}
 */
function othersText(state) {
  if (state.conference.state === "paused") return t("Hội nghị tạm nghỉ");
  if (state.conference.state !== "live") return t("Hội nghị chưa bắt đầu");
  const names = holders(state).join(", ");
  return names ? t("Đang phát biểu: %(names)s", { names }) : t("Chưa có điểm cầu nào phát biểu");
}

/**
 * @param {State} state
 * @returns {{title: string, about: string}}
 */
function waitingText(state) {
  const request = ownRequest(state);
  const place = waiting(state).findIndex((each) => each.id === request?.id) + 1;
  return {
    title: t("Đang chờ phát biểu"),
    about: t("Thứ %(place)s trong hàng chờ, xin lúc %(time)s", {
      place,
      time: formatTime(request?.requested_at),
    }),
  };
}
