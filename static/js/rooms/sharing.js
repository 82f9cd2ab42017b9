// @ts-check
/** A room's shared screen: the button, and what would end it unasked. */

import { byId, confirmDialog, on } from "../dom.js";
import { t } from "../i18n.js";

/** @param {import("../media/publish.js").Publisher} screen */
export function wireSharing(screen) {
  byId("share").addEventListener("click", async () => {
    if (screen.wanted) return screen.stop();
    await screen.publish();
    // Closing the browser's own chooser is a choice, not a mistake.
    if (screen.refusal?.code === "NotAllowedError") screen.stop();
  });
  // Another language is the page loaded anew, and browsers share nothing without being asked again.
  on(document, "submit", ".language-switch", async (form, event) => {
    if (!screen.wanted) return;
    event.preventDefault();
    const { submitter } = /** @type {SubmitEvent} */ (event);
    const sure = await confirmDialog({
      title: t("Đổi ngôn ngữ và dừng chia sẻ màn hình?"),
      text: t("Trang phải tải lại nên việc chia sẻ dừng; hình và tiếng của phòng tự gửi tiếp. Sau đó bấm “Chia sẻ màn hình” để chia sẻ lại."),
      confirm: t("Đổi ngôn ngữ"),
    });
    if (!sure) return;
    screen.stop();
    /** @type {HTMLFormElement} */ (form).requestSubmit(submitter);
  });
}
