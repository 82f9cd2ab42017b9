// @ts-check
/**
 * A page that says what went wrong: counts down to the time when trying again helps, opens a page
 * again by itself where that repeats nothing. Its links work without this. (Back by the browser's
 * history would keep what was typed, but ask to resend where the page before answered a form.)
 */

import { t, tn } from "../i18n.js";

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
