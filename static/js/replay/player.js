// @ts-check
/**
 * One HLS stream in one video element. hls.js where there is Media Source (it survives hundreds of
 * cuts between sources), the browser's own player elsewhere.
 */

/** @typedef {{destroy: () => void}} Player */

/**
 * Open `url` in `video`.
 * @param {HTMLVideoElement} video
 * @param {string} url an m3u8 for Media Source
 * @param {string} native the same for players without it
 * @param {() => void} onFailure called once where it cannot be played
 * @param {{live?: boolean}} [options] live: begin at the newest picture, not at time zero
 * @returns {Promise<Player>}
 */
export async function openPlayer(video, url, native, onFailure, { live = false } = {}) {
  const { default: Hls } = await import("../../vendor/hls.js/hls.light.min.js");
  if (!Hls.isSupported()) {
    video.src = native;
    video.addEventListener("error", onFailure, { once: true });
    return { destroy: () => video.removeAttribute("src") };
  }
  // Its worker would be a blob, which our Content-Security-Policy refuses.
  const hls = new Hls({
    enableWorker: false,
    backBufferLength: 30,
    maxBufferLength: 60,
    startPosition: live ? -1 : 0,
  });
  let recoveries = 0;
  hls.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) return;
    recoveries += 1;
    if (recoveries > 3) onFailure();
    else if (data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else hls.startLoad();
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  return hls;
}
