// @ts-check
/** Which codecs this browser has, and in which order they are offered (media.md, choice 6). */

/** Constrained baseline, the one profile that every browser plays and the recorder keeps. */
const BASELINE = /profile-level-id=42e0/i;
const ONE_NAL_OR_FRAGMENTS = /packetization-mode=1/i;

/** @param {RTCRtpCapabilities | null} capabilities */
const hasH264 = (capabilities) =>
  capabilities?.codecs.some((codec) => codec.mimeType.toLowerCase() === "video/h264") ?? false;

/** Whether this browser can send H.264 over WebRTC. */
export const canSendH264 = () => hasH264(RTCRtpSender.getCapabilities("video"));

/** Whether this browser can receive H.264 over WebRTC. Firefox on a closed network cannot. */
export const canReceiveH264 = () => hasH264(RTCRtpReceiver.getCapabilities("video"));

/** Whether this browser plays H.264 at all. Firefox on Linux does by the system's libavcodec, which need not be there. */
export const canPlayH264 = () =>
  document.createElement("video").canPlayType('video/mp4; codecs="avc1.42e01f"') !== "";

/**
 * H.264 constrained baseline first, VP8 after it, then what repairs them; nothing else, so that
 * no publisher ends up with a codec that the recorder does not keep.
 * @returns {RTCRtpCodec[]}
 */
export function offeredVideoCodecs() {
  const all = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  return all
    .map((codec) => ({ codec, rank: rank(codec) }))
    .filter((each) => each.rank < 9)
    .sort((a, b) => a.rank - b.rank)
    .map((each) => each.codec);
}

/**
 * An offer that also offers to repeat sound that is asked for again (NACK, RFC 4585): Chromium does so,
 * but never says it by itself.
 * @param {string | undefined} sdp
 */
export const offeringRepeats = (sdp) =>
  sdp?.replace(/^a=rtpmap:(\d+) opus\/.*$/gim, "$&\r\na=rtcp-fb:$1 nack");

/** @param {RTCRtpCodec} codec */
function rank({ mimeType, sdpFmtpLine = "" }) {
  const kind = mimeType.toLowerCase();
  if (kind === "video/h264") {
    if (!ONE_NAL_OR_FRAGMENTS.test(sdpFmtpLine)) return 9;
    return BASELINE.test(sdpFmtpLine) ? 0 : 1;
  }
  return { "video/vp8": 2, "video/rtx": 3, "video/red": 9, "video/ulpfec": 9 }[kind] ?? 9;
}
