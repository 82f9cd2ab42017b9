// @ts-check
/**
 * The operator's roster: counts, search, check-in for those without a phone and its undoing, and
 * freeing those who changed theirs.
 */

import { announce, byId, confirmDialog, fill, on, renderList, toast } from "../dom.js";
import { formatNumber, t } from "../i18n.js";
import { isOpen, isOver } from "./conference.js";
import { ownSite } from "./floor.js";
import { rosterRows } from "./roster.js";

/** @typedef {import("../state.js").State} State */
/**
 * Sends a command from a button; true when it was done.
 * @callback Act
 * @param {HTMLElement} button
 * @param {string} type
 * @param {Record<string, unknown>} payload
 * @returns {Promise<boolean>}
 */

export class RosterPanel {
  /** @type {"all" | "absent" | "present"} */
  #which = "all";
  /** @type {unknown[]} what the list was last drawn from */
  #drawn = [];

  /**
   * @param {() => State} current
   * @param {Act} act
   */
  constructor(current, act) {
    const panel = byId("panel-roster");
    byId("roster-search").addEventListener("input", () => this.render(current()));
    on(panel, "click", "[data-which]", (button) => {
      this.#which = /** @type {"all" | "absent" | "present"} */ (button.dataset.which);
      for (const each of panel.querySelectorAll("[data-which]")) {
        each.setAttribute("aria-pressed", String(each === button));
      }
      this.render(current());
    });
    on(byId("roster"), "click", "[data-person]", (button) => {
      const person = Number(button.dataset.person);
      const name = current().roster[String(person)]?.name ?? "";
      const present = button.dataset.present !== undefined;
      void (present ? untick(act, button, person, name) : tick(act, button, person, name));
    });
    on(byId("roster"), "click", "[data-phone]", (button) => {
      const person = Number(button.dataset.phone);
      void reset(act, button, person, current().roster[String(person)]?.name ?? "");
    });
  }

  /** @param {State} state */
  render(state) {
    const { present = 0, expected = 0 } = ownSite(state) ?? {};
    fill(byId("present"), {
      present: formatNumber(present),
      of: t("/ %(n)s có mặt", { n: formatNumber(expected) }),
    });
    byId("present-meter", HTMLProgressElement).value = expected ? present / expected : 0;
    const query = byId("roster-search", HTMLInputElement).value;
    // A hundred and fifty rows are drawn only when something in them has changed.
    const phase = state.conference.state;
    const content = [query, this.#which, state.attendance, state.roster, phase];
    if (content.every((part, index) => part === this.#drawn[index])) return;
    this.#drawn = content;
    const rows = rosterRows(state, query, this.#which);
    renderList(byId("roster"), "roster-template", rows, (row) => row.person, (row) => ({
      ...row,
      canTick: isOpen(state) || phase === "ended", // mended right after the end
      // Who changed theirs stands at the table and is searched for; or was here by the old one.
      canReset: !isOver(state) && (query.trim() !== "" || row.evidence === "qr" || row.evidence === "code"),
      verb: row.present ? t("Bỏ") : t("Điểm danh"),
      label: row.present
        ? t("Bỏ điểm danh %(name)s", { name: row.name })
        : t("Điểm danh %(name)s", { name: row.name }),
      change: t("Đổi điện thoại của %(name)s", { name: row.name }),
    }));
  }
}

/**
 * @param {Act} act
 * @param {HTMLElement} button
 * @param {number} person
 * @param {string} name
 */
async function tick(act, button, person, name) {
  if (await act(button, "attendance.tick", { person })) {
    announce(t("Đã điểm danh %(name)s", { name }));
  }
}

/**
 * @param {Act} act
 * @param {HTMLElement} button
 * @param {number} person
 * @param {string} name
 */
async function untick(act, button, person, name) {
  const sure = await confirmDialog({
    title: t("Bỏ điểm danh %(name)s?", { name }),
    text: t("Lượt điểm danh được đánh dấu là nhầm. Có thể điểm danh lại."),
    confirm: t("Bỏ điểm danh"),
    danger: true,
  });
  if (sure) await act(button, "attendance.untick", { person });
}

/**
 * @param {Act} act
 * @param {HTMLElement} button
 * @param {number} person
 * @param {string} name
 */
async function reset(act, button, person, name) {
  const sure = await confirmDialog({
    title: t("Gỡ điện thoại của %(name)s?", { name }),
    text: t("Điện thoại đang dùng bị thoát ra; người này nhập lại mã cá nhân trên điện thoại mới."),
    confirm: t("Gỡ điện thoại"),
    danger: true,
  });
  if (!sure || !(await act(button, "phone.reset", { person }))) return;
  toast(t("Đã gỡ. Giờ có thể nhập mã trên điện thoại mới."), { kind: "good" });
}
