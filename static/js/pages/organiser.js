// @ts-check
/**
 * The organiser's forms work without this; it asks before what is hard to undo, adds rows in
 * place, and shows that an upload is on its way.
 */

import { confirmDialog, on } from "../dom.js";
import { formatLocal, formatLocalDay, t } from "../i18n.js";
import { showSending } from "../sent.js";

/** Submitting by a button with data-confirm asks first. */
on(document, "click", "[data-confirm]", async (button, event) => {
  if (!(button instanceof HTMLButtonElement) || button.dataset.confirmed) return;
  event.preventDefault();
  const yes = await confirmDialog({
    title: button.dataset.confirm ?? "",
    confirm: button.getAttribute("aria-label") ?? button.textContent?.trim() ?? t("Đồng ý"),
    danger: true,
  });
  if (!yes) return;
  button.dataset.confirmed = "1";
  button.form?.requestSubmit(button);
});

/** Another empty row: the last one copied, its fields renumbered. */
on(document, "click", "[data-add-row]", (button, event) => {
  const form = button.closest("form");
  const rows = form?.querySelector("[data-rows]");
  const last = rows?.lastElementChild;
  const count = form?.elements.namedItem("rows");
  if (!rows || !last || !(count instanceof HTMLInputElement)) return;
  event.preventDefault();
  const n = rows.children.length;
  const row = /** @type {HTMLElement} */ (last.cloneNode(true));
  for (const element of row.querySelectorAll("[id], [name], [for], [aria-describedby]")) {
    for (const name of ["id", "name", "for"]) {
      const value = element.getAttribute(name);
      if (value) element.setAttribute(name, value.replace(/-\d+$/, `-${n}`));
    }
    element.removeAttribute("aria-describedby");
    element.removeAttribute("aria-invalid");
  }
  for (const words of row.querySelectorAll("legend, legend > :first-child, label")) {
    if (!words.children.length) words.textContent = (words.textContent ?? "").replace(/\d+$/, String(n + 1));
  }
  for (const error of row.querySelectorAll(".error")) error.remove();
  for (const field of row.querySelectorAll(".invalid")) field.classList.remove("invalid");
  for (const input of row.querySelectorAll("input, textarea")) {
    if (input instanceof HTMLInputElement && input.type === "checkbox") input.checked = false;
    else if (keeps(input)) continue;
    else if (input instanceof HTMLInputElement || input instanceof HTMLTextAreaElement) {
      input.value = "";
    }
  }
  continueFrom(last, row);
  rows.append(row);
  sayDays();
  count.value = String(n + 1);
  row.querySelector("textarea, input:not([type=hidden])")?.dispatchEvent(new Event("input"));
  const first = row.querySelector("[name^=title-], [name^=text-]");
  if (first instanceof HTMLElement) first.focus();
});

/** @param {Element} input */
function keeps(input) {
  return /^(date|seconds)-/.test(input.getAttribute("name") ?? "");
}

/**
 * The next agenda item begins where the one before ends.
 * @param {Element} last
 * @param {Element} row
 */
function continueFrom(last, row) {
  const end = last.querySelector("[name^=end-]");
  const start = row.querySelector("[name^=start-]");
  if (end instanceof HTMLInputElement && start instanceof HTMLInputElement) start.value = end.value;
}

/** A browser writes a moment in its own language's way, 06/03 for 3 June too: here it is in ours. */
function sayMoments() {
  for (const field of document.querySelectorAll("[data-say-moment]")) {
    const said = document.getElementById(field.getAttribute("data-say-moment") ?? "");
    const { value } = /** @type {HTMLInputElement} */ (field);
    if (!said?.parentElement) continue;
    said.textContent = value && formatLocal(value);
    said.parentElement.hidden = [...said.parentElement.children].some((each) => !each.textContent);
  }
}
on(document, "input", "[data-say-moment]", sayMoments);
sayMoments();

/** So with a date: it stands over the first row of each day. */
function sayDays() {
  let before = "";
  for (const said of document.querySelectorAll("[data-say-day]")) {
    const field = said.closest("[data-row]")?.querySelector("[type=date]");
    const value = field instanceof HTMLInputElement ? field.value : "";
    said.textContent = value && value !== before ? formatLocalDay(value) : "";
    before = value;
  }
}
on(document, "input", "[data-row] [type=date]", sayDays);
sayDays();

showSending("[data-upload], [data-slow]");

/** The file that was chosen, or dropped onto the field: the browser takes it, the field shows where. */
for (const area of document.querySelectorAll(".file-drop")) {
  const [input, name] = [area.querySelector("input"), area.querySelector("[data-file-name]")];
  const showName = () => {
    const file = input?.files?.[0];
    if (file && name) name.textContent = file.name;
  };
  area.addEventListener("change", showName);
  addEventListener("pageshow", showName); // a browser that goes back keeps it
  area.addEventListener("dragover", () => area.classList.add("over"));
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", () => area.classList.remove("over"));
}

for (const button of document.querySelectorAll("[data-print]")) {
  if (!(button instanceof HTMLButtonElement)) continue;
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Only one question stands open at a time.
on(document, "click", ".ask-first > summary", (summary) => {
  for (const other of document.querySelectorAll(".ask-first[open]")) {
    if (other !== summary.parentElement) other.removeAttribute("open");
  }
});

// On a phone the sections scroll sideways: the present one is brought into view.
const current = document.querySelector(".sections [aria-current]");
current?.parentElement?.scrollTo({
  left: current instanceof HTMLElement ? current.offsetLeft - 80 : 0,
});
