// @ts-check
/**
 * A page that says what went wrong: counts down to the time when trying again helps, opens a page
 * again by itself, and goes back to a form with what was typed in it. Its links work without this.
 */

import { on } from "../dom.js";
import { t, tn } from "../i18n.js";

/** Back by the browser's history keeps what was typed, which the link's address cannot. */
on(document, "click", "[data-back]", (link, event) => {
  if (history.length < 2 || !document.referrer.startsWith(location.origin)) return;
  event.preventDefault();
  history.back();
});

const wait = document.getElementById("wait");
if (wait) {
  const until = performance.now() + Number(wait.dataset.waitS) * 1000;
  const timer = setInterval(() => {
    const left = Math.ceil((until - performance.now()) / 1000);
    if (left > 0) {
      wait.textContent = tn("Thử lại được sau %(n)s giây.", "Thử lại được sau %(n)s giây.", left);
      return;
    }
    clearInterval(timer);
    if (wait.dataset.again !== undefined) location.reload();
    else wait.textContent = t("Bây giờ có thể thử lại.");
  }, 1000);
}
