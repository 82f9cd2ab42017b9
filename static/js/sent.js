// @ts-check
/** Forms that are on their way to the server: what takes long says so, and cannot be pressed twice. */

import { on, setBusy } from "./dom.js";

/** @param {string} selector of the forms */
export function showSending(selector) {
  on(document, "submit", selector, (_form, event) => {
    const button = /** @type {SubmitEvent} */ (event).submitter;
    // After the browser has read the form: a disabled button would not be sent.
    if (button instanceof HTMLButtonElement) setTimeout(() => setBusy(button, true));
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const button of document.querySelectorAll("[aria-busy=true]")) {
      if (button instanceof HTMLButtonElement) setBusy(button, false);
    }
  });
}
