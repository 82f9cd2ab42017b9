// @ts-check
/** Words for a conference's life. */

import { fill } from "../dom.js";
import { t } from "../i18n.js";

/** States in which people check in. */
const OPEN = ["lobby", "live", "paused"];

/** @param {import("../state.js").State} state */
export const isOpen = (state) => OPEN.includes(state.conference.state);

/**
 * Whether there is picture and sound: from the day before on, so that rooms can try them.
 * @param {import("../state.js").State} state
 */
export const hasMedia = (state) => isOpen(state) || state.conference.state === "scheduled";

/**
 * Whether it is being recorded, as people must be told.
 * @param {import("../state.js").State} state
 */
export const isRecorded = (state) =>
  ["live", "paused"].includes(state.conference.state) &&
  state.live?.recording?.state === "recording";

/** @param {string} state */
export function conferenceStateText(state) {
  switch (state) {
    case "draft":
      return t("Bản nháp");
    case "scheduled":
      return t("Đã lên lịch");
    case "lobby":
      return t("Phòng chờ");
    case "live":
      return t("Trực tiếp");
    case "paused":
      return t("Đang tạm nghỉ");
    case "ended":
      return t("Đã kết thúc");
    default:
      return t("Đã lưu trữ");
  }
}

/**
 * The chip that says how the conference stands; amber while it is live.
 * @param {HTMLElement} chip
 * @param {string} state
 * @param {string} [text] in place of the state's own words
 */
export function showLife(chip, state, text = conferenceStateText(state)) {
  fill(chip, { text });
  chip.classList.toggle("now", state === "live");
  chip.classList.toggle("plain", state !== "live");
}
