// @ts-check
/**
 * A click hits what was aimed at, though the page moves: nothing is redrawn while a pointer is down,
 * and what slid under a resting pointer a moment ago is not what somebody clicks. Then the click
 * goes to what was there before, or nowhere if that is gone.
 */

/** People do not see and decide faster than this. */
const REACTION_MS = 300;
/** A click follows its release at once, on touch screens a little later. */
const CLICK_MS = 100;
/** Longer presses are no clicks; a release that never comes must not stop the page. */
const PRESS_MS = 2000;
const CONTROLS = "button, a, select, input, textarea, summary";

let pressed = false;
let timer = 0;
/** @type {Map<object, () => void>} what waits for the pointer's release, the last of each */
const waiting = new Map();

/**
 * Draw now, or when the pointer that is down has been released and its click has been heard.
 * @param {object} key of what is drawn: a later drawing of it replaces one that waits
 * @param {() => void} draw
 */
export function drawSteadily(key, draw) {
  if (pressed) waiting.set(key, draw);
  else draw();
}

/** @param {number} after_ms */
function release(after_ms) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    pressed = false;
    const draws = [...waiting.values()];
    waiting.clear();
    for (const draw of draws) draw();
  }, after_ms);
}

/** What lies under the mouse, and what did before it slid away. */
const under = {
  control: /** @type {Element | null} */ (null),
  before: /** @type {Element | null} */ (null),
  slid_ms: -REACTION_MS,
  x: -1,
  y: -1,
};

/** @param {Event} event */
const controlOf = ({ target }) => (target instanceof Element ? target.closest(CONTROLS) : null);

/**
 * The browser tells what is under the mouse when the mouse moves, and also when the page does.
 * @param {PointerEvent} event
 */
function onOver(event) {
  if (event.pointerType !== "mouse") return;
  const control = controlOf(event);
  const moved = Math.hypot(event.clientX - under.x, event.clientY - under.y) > 1;
  if (moved) under.slid_ms = -REACTION_MS;
  else if (control !== under.control) {
    // Of several slides in a row the first one counts: that is what was seen.
    if (event.timeStamp - under.slid_ms >= REACTION_MS) under.before = under.control;
    under.slid_ms = event.timeStamp;
  }
  Object.assign(under, { control, x: event.clientX, y: event.clientY });
}

/** @param {MouseEvent} event */
function onClick(event) {
  const slid = event.timeStamp - under.slid_ms < REACTION_MS;
  const byMouse = event.isTrusted && event.detail > 0;
  const { before } = under;
  if (!byMouse || !slid || controlOf(event) === before) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (before instanceof HTMLElement && before.isConnected && before.checkVisibility()) before.click();
}

if (typeof document !== "undefined") {
  for (const type of ["pointerover", "pointermove"]) {
    document.addEventListener(type, (event) => onOver(/** @type {PointerEvent} */ (event)), {
      capture: true,
      passive: true,
    });
  }
  document.addEventListener("scroll", () => (under.x = -1), { capture: true, passive: true });
  document.addEventListener("click", onClick, { capture: true });
  document.addEventListener("pointerdown", () => {
    pressed = true;
    release(PRESS_MS);
  }, { capture: true });
  for (const type of ["pointerup", "pointercancel"]) {
    document.addEventListener(type, () => release(CLICK_MS), { capture: true });
  }
}
