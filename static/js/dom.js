// @ts-check
/**
 * Helpers between data and the page. Markup lives in templates alone: scripts clone a
 * `<template>` and fill its slots, they never build HTML from strings.
 *
 * Slots, on the cloned element or anything in it (several separated by a space):
 *   data-text="name"            textContent = values.name
 *   data-attr="href:url"        attribute href = values.url; false, null, undefined remove it
 *   data-class="live:isLive"    class live is there while values.isLive is truthy
 *   data-show="name"            hidden while values.name is falsy ("!name" the other way)
 *   data-var="level:loudness"   CSS custom property --level = values.loudness
 * A slot whose name is not in `values` is left as it is.
 */

import { drawSteadily } from "./steady.js";

/** @typedef {Record<string, unknown>} Slots */

/**
 * The element of that id.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type] its class, where more than HTMLElement is needed
 * @returns {T}
 * @throws {Error} when the page has none, or one of another class
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!element || (type && !(element instanceof type))) throw new Error(`no element #${id}`);
  return /** @type {T} */ (/** @type {unknown} */ (element));
}

/**
 * The first match inside `root`.
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} [type]
 * @returns {T}
 * @throws {Error} when there is none, or one of another class
 */
export function find(root, selector, type) {
  const element = root.querySelector(selector);
  if (!element || (type && !(element instanceof type))) throw new Error(`no element ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (element));
}

/**
 * A fresh copy of the first element in `<template id>`, filled with `values`.
 * @param {string} templateId
 * @param {Slots} [values]
 * @returns {HTMLElement}
 */
export function clone(templateId, values) {
  const first = byId(templateId, HTMLTemplateElement).content.firstElementChild;
  if (!first) throw new Error(`template #${templateId} is empty`);
  const element = /** @type {HTMLElement} */ (document.importNode(first, true));
  if (values) fill(element, values);
  return element;
}

/**
 * Set the slots of an element and what is in it; touches the page only where a value changed,
 * so that live regions, selections and running transitions are left alone.
 * @param {Element} element
 * @param {Slots} values
 */
export function fill(element, values) {
  for (const [attribute, apply] of Object.entries(slotKinds)) {
    const matches = element.querySelectorAll(`[${attribute}]`);
    for (const target of element.hasAttribute(attribute) ? [element, ...matches] : matches) {
      for (const slot of (target.getAttribute(attribute) ?? "").split(/\s+/)) {
        const [subject, name = subject] = slot.split(":");
        const key = name.replace(/^!/, "");
        if (key in values) apply(/** @type {HTMLElement} */ (target), subject, values[key]);
      }
    }
  }
}

/** @type {Record<string, (target: HTMLElement, subject: string, value: unknown) => void>} */
const slotKinds = {
  "data-text": (target, _subject, value) => {
    const text = String(value ?? "");
    if (target.textContent !== text) target.textContent = text;
  },
  "data-attr": (target, subject, value) => {
    if (value === false || value === null || value === undefined) target.removeAttribute(subject);
    else {
      const text = value === true ? "" : String(value);
      if (target.getAttribute(subject) !== text) target.setAttribute(subject, text);
    }
  },
  "data-class": (target, subject, value) => void target.classList.toggle(subject, Boolean(value)),
  "data-show": (target, subject, value) => {
    target.hidden = subject.startsWith("!") ? Boolean(value) : !value;
  },
  "data-var": (target, subject, value) => target.style.setProperty(`--${subject}`, String(value)),
};

/**
 * Make the children of `container` show `items`, in order: known keys are refilled and moved
 * (focus and scroll stay), new ones cloned, missing ones removed. While a pointer is down it waits,
 * so that a click hits what it was aimed at. An element with
 * `data-empty-for="<container id>"` is shown while there are no items.
 * @template Item
 * @param {HTMLElement} container
 * @param {string} templateId
 * @param {Iterable<Item>} items
 * @param {(item: Item) => string | number} key unique among the items
 * @param {(item: Item, element: HTMLElement) => Slots | void} describe the slots of one item; may
 *   also touch the element itself
 */
export function renderList(container, templateId, items, key, describe) {
  drawSteadily(container, () => drawList(container, templateId, items, key, describe));
}

/**
 * @template Item
 * @param {HTMLElement} container
 * @param {string} templateId
 * @param {Iterable<Item>} items
 * @param {(item: Item) => string | number} key
 * @param {(item: Item, element: HTMLElement) => Slots | void} describe
 */
function drawList(container, templateId, items, key, describe) {
  const focused = document.activeElement;
  /** @type {Map<string, HTMLElement>} */
  const known = new Map();
  for (const child of container.children) {
    if (child instanceof HTMLElement && child.dataset.key !== undefined) {
      known.set(child.dataset.key, child);
    }
  }
  /** @type {HTMLElement[]} */
  const wanted = [];
  for (const item of items) {
    const id = String(key(item));
    const element = known.get(id) ?? clone(templateId);
    known.delete(id);
    element.dataset.key = id;
    const values = describe(item, element);
    if (values) fill(element, values);
    wanted.push(element);
  }
  for (const element of known.values()) element.remove();
  let cursor = container.firstElementChild;
  for (const element of wanted) {
    if (element === cursor) cursor = cursor.nextElementSibling;
    else container.insertBefore(element, cursor);
  }
  if (focused instanceof HTMLElement && document.activeElement !== focused) {
    if (container.contains(focused)) focused.focus({ preventScroll: true });
  }
  const empty = document.querySelector(`[data-empty-for="${CSS.escape(container.id)}"]`);
  if (empty instanceof HTMLElement) empty.hidden = wanted.length > 0;
}

/**
 * Handle an event of any present or future descendant that matches.
 * @param {HTMLElement | Document} root
 * @param {string} type such as "click"
 * @param {string} selector such as "[data-action=approve]"
 * @param {(element: HTMLElement, event: Event) => void} handler
 */
export function on(root, type, selector, handler) {
  root.addEventListener(type, (event) => {
    const target = event.target instanceof Element ? event.target.closest(selector) : null;
    if (target instanceof HTMLElement && root.contains(target)) handler(target, event);
  });
}

/**
 * Show that a control's work is under way. Not `disabled`, which would throw the focus away;
 * a second press is swallowed instead.
 * @param {HTMLElement} button
 * @param {boolean} busy
 */
export function setBusy(button, busy) {
  if (busy) button.setAttribute("aria-busy", "true");
  else button.removeAttribute("aria-busy");
}

document.addEventListener(
  "click",
  (event) => {
    if (event.target instanceof Element && event.target.closest("[aria-busy=true]:not(form)")) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  },
  { capture: true },
);

/**
 * Show or hide one of the page's banners (`.banner[hidden]`), with a new text if given; from then on
 * one that style would have shown by itself (`awaited`) is as it is told.
 * @param {string} id
 * @param {string | null} text null hides it
 */
export function setBanner(id, text) {
  const banner = byId(id);
  if (text !== null) fill(banner, { text });
  banner.hidden = text === null;
  banner.classList.remove("awaited");
}

/**
 * Say something to screen readers only.
 * @param {string} text
 * @param {{assertive?: boolean}} [options]
 */
export function announce(text, { assertive = false } = {}) {
  const region = byId(assertive ? "announcer-assertive" : "announcer");
  region.textContent = ""; // the same text again is spoken again
  requestAnimationFrame(() => (region.textContent = text));
}

/**
 * A passing message at the foot of the page. Wrong ones, and those for Infinity, stay until they are
 * closed. One that stands there already is not said beside itself: it begins anew.
 * @param {string} text
 * @param {{kind?: "good" | "wrong" | "info", seconds?: number}} [options]
 * @returns {() => void} closes it
 */
export function toast(text, { kind = "info", seconds = 6 } = {}) {
  const element = clone("toast-template", { text });
  element.classList.add(kind);
  element.setAttribute("role", kind === "wrong" ? "alert" : "status");
  const close = () => element.remove();
  find(element, "button").addEventListener("click", close);
  const toasts = byId("toasts");
  [...toasts.children].find((each) => each.isEqualNode(element))?.remove();
  toasts.append(element);
  if (kind !== "wrong" && seconds < Infinity) setTimeout(close, seconds * 1000);
  return close;
}

/** Close the passing messages: they were about the place that somebody has just left. */
export function closeToasts() {
  for (const element of byId("toasts").querySelectorAll(".toast:not(.wrong)")) element.remove();
}

/**
 * Ask before doing what is hard to undo.
 * @param {{title: string, text?: string, confirm: string, danger?: boolean}} question `confirm`
 *   is the label of the button that does it: a verb, not "OK"
 * @returns {Promise<boolean>} true when confirmed; false on cancel or Escape
 */
export function confirmDialog({ title, text = "", confirm, danger = false }) {
  const dialog = byId("confirm-dialog", HTMLDialogElement);
  fill(dialog, { title, text, confirm, danger });
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "confirm"), {
      once: true,
    });
  });
}
