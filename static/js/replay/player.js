// @ts-check
/**
 * One HLS stream in one video element. hls.js where there is Media Source (it survives hundreds of
 * cuts between sources), the browser's own player elsewhere.
 */

import { Patience } from "./patience.js";

/** @typedef {{destroy: () => void}} Player */

const MOST_RECOVERIES = 3;
/** Where a live recording is played, in hls.js's words; who replays one from its start is left alone. */
const LIVE = {
  startPosition: -1,
  // Behind the end of the playlist: it grows by segments of 4 to 9.5 s, which must not run out.
  liveSyncDuration: 7,
  // What a stall has cost is made up for unheard; what a hidden page or no network has, by a jump.
  maxLiveSyncPlaybackRate: 1.05,
  liveMaxLatencyDuration: 30,
};

/**
 * Open `url` in `video`. What the network or the server does not give is asked for until it comes.
 * @param {HTMLVideoElement} video
 * @param {string} url an m3u8 for Media Source
 * @param {string} native the same for players without it
 * @param {() => void} onFailure called once where it cannot be played
 * @param {{live?: boolean, patience?: Patience}} [options] live: begin at the newest picture, not at
 *   time zero; patience: hears of troubles with the network
 * @returns {Promise<Player>}
 */
export async function openPlayer(video, url, native, onFailure, { live = false, patience } = {}) {
  const { default: Hls } = await import("../../vendor/hls.js/hls.light.min.js");
  if (!Hls.isSupported()) {
    video.src = native;
    video.addEventListener("error", onFailure, { once: true });
    return {
      destroy() {
        video.removeEventListener("error", onFailure);
        video.removeAttribute("src");
        video.load(); // only now it ceases
      },
    };
  }
  // Its worker would be a blob, which our Content-Security-Policy refuses.
  const hls = new Hls({
    enableWorker: false,
    backBufferLength: 30,
    maxBufferLength: 60,
    startPosition: 0,
    ...(live ? LIVE : {}),
  });
  const patient = patience ?? new Patience(() => {});
  let [recoveries, tries, open] = [0, 0, true];
  const askAgain = async () => {
    patient.trouble(url);
    await patient.pause(tries++);
    if (!open) return;
    if (hls.levels?.length) hls.startLoad();
    else hls.loadSource(url); // the master playlist itself did not come
  };
  hls.on(Hls.Events.FRAG_LOADED, () => {
    tries = 0;
    patient.over(url);
  });
  hls.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.NETWORK_ERROR) return void askAgain();
    // Nothing here decodes it (Firefox on Linux without libavcodec): no recovery changes that.
    if (data.details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) return onFailure();
    recoveries += 1;
    if (recoveries > MOST_RECOVERIES) onFailure();
    else if (data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else hls.startLoad();
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  return {
    destroy() {
      open = false;
      patient.over(url);
      hls.destroy();
    },
  };
}
