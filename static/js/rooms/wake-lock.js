// @ts-check
/** Keeps a screen from going dark while its page is shown. */

export function keepAwake() {
  if (!("wakeLock" in navigator)) return; // the machine's own settings must do it then
  const ask = () => {
    if (document.visibilityState !== "visible") return;
    navigator.wakeLock.request("screen").catch(() => {}); // refused on a low battery
  };
  document.addEventListener("visibilitychange", ask); // a lock is let go when the page is hidden
  ask();
}
