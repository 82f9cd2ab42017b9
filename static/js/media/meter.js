// @ts-check
/** How loud a microphone is, as a bar (`.level`, custom property --level from 0 to 1). */

const FLOOR_DB = -60;
/** A voice at a sensible distance rises above this. */
const VOICE_LEVEL = 0.35;

/**
 * Measures one stream's sound, ten times a second or more, until it is stopped.
 */
export class LevelMeter {
  /** @type {AudioContext | null} */
  #context = null;
  #frame = 0;
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
    let ticks = 0;
    const measure = () => {
      this.#frame = requestAnimationFrame(measure);
      if (ticks++ % 4) return; // 15 times a second are enough for the eye and spare a small PC
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
    measure();
  }

  stop() {
    cancelAnimationFrame(this.#frame);
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
