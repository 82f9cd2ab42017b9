// @ts-check
/**
 * A page that says what went wrong: counts down to the time when trying again helps, opens a page
 * again by itself where that repeats nothing, and shows what was being written on the page in whose place
 * it came. Its links work without this. (Back by the browser's history would keep what was typed, but ask
 * to resend where the page before answered a form.)
 */

import { byId, clone } from "../dom.js";
import { t, tn } from "../i18n.js";
import { drafts } from "../kept.js";

const written = Object.values(drafts()).filter((text) => text.trim());
byId("drafts").hidden = written.length === 0;
byId("drafts").append(...written.map((text) => clone("draft-template", { text })));

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
