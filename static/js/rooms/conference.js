// @ts-check
/** Words for a conference's life. */

import { t } from "../i18n.js";

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
      return t("Tạm dừng");
    case "ended":
      return t("Đã kết thúc");
    default:
      return t("Đã lưu trữ");
  }
}
