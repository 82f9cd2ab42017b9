// @ts-check
/** Cameras, microphones and speakers: finding, opening, remembering them, and saying why not. */

import { t } from "../i18n.js";

/**
 * What a person chose; an empty string is the browser's own choice.
 * @typedef {{camera: string, microphone: string, speaker: string}} Choice
 */

/** @typedef {{video: boolean, audio: boolean}} Wanted what is to be opened */

/** @typedef {Record<"camera" | "microphone" | "speaker", MediaDeviceInfo[]>} Devices */

/**
 * Why there is no camera, and what to do.
 * @typedef {{code: string, title: string, advice: string}} Refusal
 */

const STORE = "diemcau.devices";
/** Three simulcast layers need 960×540 or more: capture at 720p. */
const PICTURE = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
};
const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** @returns {Choice} the last choice on this machine */
export function rememberedChoice() {
  /** @type {Choice} */
  const none = { camera: "", microphone: "", speaker: "" };
  try {
    return { ...none, ...JSON.parse(localStorage.getItem(STORE) ?? "{}") };
  } catch {
    return none; // storage refused or spoilt: begin anew
  }
}

/** @param {Choice} choice */
export function rememberChoice(choice) {
  try {
    localStorage.setItem(STORE, JSON.stringify(choice));
  } catch {
    // a private window without storage: the choice lasts as long as the page
  }
}

/**
 * All devices by kind. Their labels are empty until a camera or microphone was allowed.
 * @returns {Promise<Devices>}
 */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  /** @param {MediaDeviceKind} kind */
  const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId !== "");
  return { camera: of("videoinput"), microphone: of("audioinput"), speaker: of("audiooutput") };
}

/**
 * Open the chosen camera and microphone, or what there is of those wanted: a remembered device that
 * is gone is replaced by another, and a room without a microphone, its picture off, sends nothing.
 * @param {Choice} choice
 * @param {Wanted} wanted
 * @returns {Promise<MediaStream>}
 * @throws {DOMException} as getUserMedia does; see `describeRefusal`
 */
export async function openCamera(choice, wanted) {
  const { mediaDevices } = navigator;
  if (!mediaDevices) throw new DOMException("insecure page", "SecurityError");
  /** @param {string} id */
  const chosen = (id) => (id ? { deviceId: { ideal: id } } : {});
  const video = wanted.video && { ...PICTURE, ...chosen(choice.camera) };
  const audio = wanted.audio && { ...SOUND, ...chosen(choice.microphone) };
  try {
    return await mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== "NotFoundError") throw error;
    const { camera, microphone } = await listDevices();
    if (video && audio && camera.length > 0) return mediaDevices.getUserMedia({ video });
    if (video && audio && microphone.length > 0) return mediaDevices.getUserMedia({ audio });
    if (!video) return new MediaStream();
    throw error;
  }
}

/**
 * Let the person pick a screen or window to share, its picture only: the room's sound is the
 * microphone's, and a second source of it would echo.
 * @returns {Promise<MediaStream>}
 */
export async function openScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new DOMException("", "NotSupportedError");
  const stream = await navigator.mediaDevices.getDisplayMedia({
    video: { width: { max: 1920 }, height: { max: 1080 }, frameRate: { max: 15 } },
    audio: false,
  });
  for (const track of stream.getVideoTracks()) track.contentHint = "detail"; // text stays sharp
  return stream;
}

/**
 * Words for a refusal of getUserMedia or getDisplayMedia, and what to do about it.
 * @param {unknown} error
 * @returns {Refusal}
 */
export function describeRefusal(error) {
  const code = error instanceof DOMException ? error.name : "Error";
  switch (code) {
    case "NotAllowedError":
      return {
        code,
        title: t("Trình duyệt chưa được phép dùng camera và micrô"),
        advice: t(
          "Bấm vào biểu tượng ổ khoá hoặc camera ở thanh địa chỉ, chọn Cho phép, rồi bấm Thử lại.",
        ),
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return {
        code,
        title: t("Không tìm thấy camera hoặc micrô"),
        advice: t("Cắm camera và micrô vào máy, kiểm tra dây và công tắc, rồi bấm Thử lại."),
      };
    case "NotReadableError":
    case "AbortError":
      return {
        code,
        title: t("Camera hoặc micrô đang bị chương trình khác dùng"),
        advice: t("Đóng Zoom, Zalo, Teams và các thẻ trình duyệt khác, rồi bấm Thử lại."),
      };
    case "SecurityError":
      return {
        code,
        title: t("Trang này không được mở bằng địa chỉ an toàn"),
        advice: t("Camera chỉ dùng được khi địa chỉ bắt đầu bằng https. Hỏi ban tổ chức địa chỉ đó."),
      };
    case "NotSupportedError":
      return {
        code,
        title: t("Trình duyệt này không chia sẻ được màn hình"),
        advice: t("Dùng Chrome, Edge, Cốc Cốc hoặc Firefox trên máy tính."),
      };
    default:
      return {
        code,
        title: t("Không mở được camera và micrô"),
        advice: t("Rút ra cắm lại thiết bị, rồi bấm Thử lại. Nếu vẫn không được, khởi động lại máy."),
      };
  }
}
