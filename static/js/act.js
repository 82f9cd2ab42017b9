// @ts-check
/**
 * Buttons that send commands: busy while one is under way, an error said where it was refused. What the
 * page before this one left unanswered is sent again, or told.
 */

import { setBusy, toast } from "./dom.js";
import { t } from "./i18n.js";
import { leftText } from "./unsent.js";

/** Nobody waits longer without being told that nothing is lost. */
const TOLD_AFTER_MS = 4000;

/**
 * Sends a command for a control; resolves to whether it was done. The screen changes by the event,
 * never here.
 * @typedef {(control: HTMLElement, type: string, payload: Record<string, unknown>) => Promise<boolean>} Act
 */

/**
 * @param {import("./connection.js").Connection} connection
 * @returns {Act}
 */
export function actBy(connection) {
  let late = 0;
  let close = () => {};

  /** Where a line is lost the page's banner says so; here it is the server that takes its time. */
  function watch() {
    let isLate = false;
    const timer = setInterval(() => {
      if (isLate || !connection.online) return;
      isLate = true;
      const told = t("Máy chủ trả lời chậm. Thao tác của bạn được giữ lại và tự gửi lại.");
      if (late++ === 0) close = toast(told, { seconds: Infinity });
    }, TOLD_AFTER_MS);
    return () => {
      clearInterval(timer);
      if (isLate && --late === 0) close();
    };
  }

  /**
   * @param {Promise<unknown>} answer
   * @returns {Promise<boolean>}
   */
  async function done(answer) {
    const answered = watch();
    try {
      await answer;
      return true;
    } catch (error) {
      toast(/** @type {Error} */ (error).message, { kind: "wrong" });
      return false;
    } finally {
      answered();
    }
  }

  connection.outbox.onLeft(({ again, told }) => {
    for (const { answer } of again) void done(answer);
    if (again.length) toast(t("Đang gửi lại những gì bạn đã bấm trước khi trang bị đóng hoặc tải lại."));
    if (told.length) toast(leftText(told), { seconds: Infinity });
  });

  return async (control, type, payload) => {
    setBusy(control, true);
    const isDone = await done(connection.send(type, payload, labelOf(control)));
    setBusy(control, false);
    return isDone;
  };
}

/** @param {HTMLElement} control */
function labelOf(control) {
  const text = control.getAttribute("aria-label") ?? control.textContent ?? "";
  return text.trim().replace(/\s+/g, " ");
}
