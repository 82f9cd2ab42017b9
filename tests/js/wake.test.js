// Run by `node --test tests/js/`. A page hears of its machine's sleep by the clock, since its timers slept too.
import assert from "node:assert/strict";
import test from "node:test";

/** @type {Record<string, () => void>} */
const listeners = {};
let now_ms = 1_000_000;
/** What the page's timer calls each second. */
let beat = () => {};
const page = { hidden: false, addEventListener: listen };

/** @param {string} type @param {() => void} callback */
function listen(type, callback) {
  listeners[type] = callback;
}

Object.assign(globalThis, {
  document: page,
  addEventListener: listen,
  setInterval: (/** @type {() => void} */ callback) => (beat = callback),
});
Date.now = () => now_ms;
const { onWake } = await import("../../static/js/wake.js");

/** @type {number[]} */
const heard = [];
onWake((asleep_ms) => heard.push(asleep_ms));

/** @param {number} elapsed_ms */
function after(elapsed_ms, then = beat) {
  now_ms += elapsed_ms;
  then();
  return heard.splice(0);
}

test("a timer that is a little late is no sleep", () => {
  assert.deepEqual(after(1000), []);
  assert.deepEqual(after(4900), []);
});

test("a machine that slept is told of once, and for how long", () => {
  assert.deepEqual(after(40_000), [40_000]);
  assert.deepEqual(after(1000), []);
});

test("a hidden page, whose timers are slowed down, is told nothing; nor when it is seen again in time", () => {
  page.hidden = true;
  assert.deepEqual(after(60_000), []);
  page.hidden = false;
  assert.deepEqual(after(1000, listeners.visibilitychange), []);
});

test("who sees the page again after a sleep is told at once, as after the browser's own cache", () => {
  page.hidden = true;
  assert.deepEqual(after(1000), []);
  page.hidden = false;
  assert.deepEqual(after(90_000, listeners.visibilitychange), [90_000]);
  assert.deepEqual(after(30_000, listeners.pageshow), [30_000]);
});

test("another network is news without any sleep", () => {
  assert.deepEqual(after(100, listeners.online), [0]);
});
