// @ts-check
/** Displays that came by PIN and wait to be let in, by their room's operator or by the desk. */

import { byId, on, renderList } from "../dom.js";
import { formatTime, t } from "../i18n.js";
import { isOpen } from "./conference.js";
import { siteName } from "./questions.js";

/** @param {import("../state.js").State} state */
export function renderAdmissions(state) {
  const asking = isOpen(state) ? Object.values(state.admissions) : [];
  renderList(byId("admissions"), "admission-template", asking, (each) => each.seat, (each) => ({
    seat: each.seat,
    text: t("Một màn hình xin vào %(site)s lúc %(time)s. Hỏi xem có phải màn hình của phòng đó.", {
      site: siteName(state, each.site),
      time: formatTime(each.asked_at),
    }),
  }));
}

/** @param {import("../act.js").Act} act */
export function wireAdmissions(act) {
  on(byId("admissions"), "click", "[data-seat]", (button) => {
    const { seat, admit } = button.dataset;
    void act(button, "seat.admit", { seat, admit: admit === "yes" });
  });
}
