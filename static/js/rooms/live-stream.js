// @ts-check
/**
 * The stage for a browser that has no H.264 in WebRTC (Firefox on a closed network): the live
 * recording by HLS, some seconds behind. Its sound is left off; the floor's comes by WebRTC.
 */

import { t } from "../i18n.js";
import { setBanner, toast } from "../dom.js";
import { openPlayer } from "../replay/player.js";

/**
 * @param {HTMLElement} figure the stage's tile
 * @returns {{render: (state: import("../state.js").State) => void}} to be called when state changes
 */
export function playLiveStream(figure) {
  const video = figure.querySelector("video");
  if (!video) throw new Error("a tile needs a video");
  /** @type {string | null} */
  let playing = null;
  toast(t("Trình duyệt này không có H.264 nên hình đi chậm vài giây. Nên dùng Chrome, Edge hoặc Cốc Cốc."), {
    seconds: 20,
  });
  return {
    render(state) {
      const wanted = state.conference.state === "live" ? state.conference.recording : null;
      if (wanted && wanted !== playing) {
        playing = wanted;
        play(video, wanted).catch(() => {
          playing = null;
          setBanner("line-banner", t("Không phát được hình trực tiếp trên trình duyệt này."));
        });
      }
      figure.classList.toggle("has-picture", wanted !== null && video.readyState >= 2);
    },
  };
}

/**
 * Play a live recording from its newest picture.
 * @param {HTMLVideoElement} video
 * @param {string} recording
 */
export async function play(video, recording) {
  const base = `/replay/${recording}`;
  const failed = () =>
    toast(t("Không phát được hình trực tiếp trên trình duyệt này."), { kind: "wrong" });
  await openPlayer(video, `${base}/master.m3u8`, `${base}/native.m3u8`, failed, { live: true });
  await video.play();
}
