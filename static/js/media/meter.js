// @ts-check
/** How loud a microphone is, as a bar (`.level`, custom property --level from 0 to 1). */

const FLOOR_DB = -60;
/** Often enough for the eye; a frame of the screen each would keep a small PC busy. */
const EVERY_MS = 66;
/** A voice at a sensible distance rises above this. */
const VOICE_LEVEL = 0.35;

/**
 * Measures one stream's sound, fifteen times a second (once, while the page is hidden), until it is stopped.
 */
export class LevelMeter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** Whether a voice has been heard since the beginning. */
  heard = false;

  /**
   * @param {HTMLElement} bar
   * @param {(heard: boolean) => void} [onHeard] called once, at the first voice
   */
  constructor(bar, onHeard) {
    this.bar = bar;
    this.onHeard = onHeard;
  }

  /** @param {MediaStream} stream */
  start(stream) {
    this.stop();
    if (stream.getAudioTracks().length === 0) return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let level = 0;
    const measure = () => {
      analyser.getFloatTimeDomainData(samples);
      level = Math.max(loudness(samples), level * 0.85);
      this.bar.style.setProperty("--level", level.toFixed(3));
      if (level > VOICE_LEVEL && !this.heard) {
        this.heard = true;
        this.onHeard?.(true);
      }
    };
    this.#context = context;
    // Suspended until a gesture in some browsers; the first press on the page resumes it.
    if (context.state === "suspended") {
      addEventListener("pointerdown", () => void context.resume(), { once: true });
    }
    this.#timer = setInterval(measure, EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    if (this.#context) void this.#context.close();
    this.#context = null;
    this.bar.style.setProperty("--level", "0");
  }
}

/**
 * Root mean square on a decibel scale, 0 (−60 dB or less) to 1 (0 dB).
 * @param {Float32Array} samples −1 to 1
 */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length || 1e-12);
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
}
