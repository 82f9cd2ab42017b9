// @ts-check
/** Words for a conference's life. */

import { fill } from "../dom.js";
import { t } from "../i18n.js";

/** States in which people check in. */
const OPEN = ["lobby", "live", "paused"];

/**
 * While it is open rooms work: outside of that the server refuses what people would do, so that no
 * page offers it.
 * @param {import("../state.js").State} state
 */
export const isOpen = (state) => OPEN.includes(state.conference.state);

/** @param {import("../state.js").State} state */
export const isOver = (state) => ["ended", "archived"].includes(state.conference.state);

/**
 * Whether there is picture and sound: from the day before on, so that rooms can try them.
 * @param {import("../state.js").State} state
 */
export const hasMedia = (state) => isOpen(state) || state.conference.state === "scheduled";

/**
 * The chip by which a room's people know what is kept of them. A recording goes on through a pause,
 * but as a card without pictures and sound.
 * @param {HTMLElement} chip
 * @param {import("../state.js").State} state
 */
export function showRecording(chip, state) {
  const live = state.conference.state === "live";
  chip.hidden = !live && state.conference.state !== "paused";
  if (state.live?.recording?.state !== "recording") chip.hidden = true;
  chip.classList.toggle("recording", live);
  fill(chip, { text: live ? t("Đang ghi hình") : recordsPauseText() });
}

export const recordsPauseText = () => t("Đang nghỉ: không ghi hình, tiếng");

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
