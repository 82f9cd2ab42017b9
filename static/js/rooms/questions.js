// @ts-check
/** Words for questions. */

import { t } from "../i18n.js";

/** @param {string} state */
export function questionStateText(state) {
  switch (state) {
    case "asked":
      return t("Chờ duyệt");
    case "approved":
      return t("Đã duyệt");
    case "on_stage":
      return t("Đang trả lời");
    case "answered":
      return t("Đã trả lời");
    default:
      return t("Không đưa ra hội nghị");
  }
}

/**
 * @param {import("../state.js").State} state
 * @param {number} id
 */
export function siteName(state, id) {
  return state.sites[String(id)]?.name ?? "";
}
