// @ts-check
/** Notices that this machine was asleep, or that its network has come back. */

const BEAT_MS = 1000;
/** Timers that stood still for longer were not merely late. */
const ASLEEP_MS = 5000;

/**
 * Hear of each awakening of a page that is seen (a hidden one has its timers slowed down, so that it
 * is told when it is seen again) and of each new network.
 * @param {(asleep_ms: number) => void} callback with 0 where only the network has changed
 */
export function onWake(callback) {
  let beat_ms = Date.now(); // performance.now() stands still on machines that sleep
  const look = () => {
    const asleep_ms = Date.now() - beat_ms;
    beat_ms = Date.now();
    if (asleep_ms > ASLEEP_MS && !document.hidden) callback(asleep_ms);
  };
  setInterval(look, BEAT_MS);
  document.addEventListener("visibilitychange", look);
  addEventListener("pageshow", look);
  addEventListener("online", () => callback(0));
}
