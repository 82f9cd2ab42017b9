// Run by tests/wire/test_state.py: the states that Python computed, computed again by state.js.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { apply } from "../../static/js/state.js";

const steps = JSON.parse(readFileSync(process.argv[2], "utf-8"));
for (const { what, before, events, after } of steps) {
  const untouched = structuredClone(before);
  let state = before;
  for (const { type, data } of events) state = apply(state, type, data);
  assert.deepEqual(state, after, `after ${what}`);
  assert.deepEqual(before, untouched, `${what} changed a state in place`);
}
console.log(steps.length);
