// @ts-check
/** How loud a microphone is, as a bar (`.level`, custom property --level from 0 to 1). */

const FLOOR_DB = -60;
/** Often enough for the eye; a frame of the screen each would keep a small PC busy. */
const EVERY_MS = 100;
/** How far the bar falls in that time, at most. */
const FALLS = 0.8;
/** A voice is loud below 4 kHz: a sixth of the samples to work on, and all sound between two looks in one. */
const VOICE = { sampleRate: 8000 };
const SAMPLES = 1024;
/** A voice at a sensible distance rises above this. */
const VOICE_LEVEL = 0.35;

/**
 * Measures one stream's sound, ten times a second (once, while the page is hidden), until it is stopped.
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
    const { context, analyser } = listen(stream);
    const samples = new Float32Array(analyser.fftSize);
    let level = 0;
    const measure = () => {
      analyser.getFloatTimeDomainData(samples);
      level = Math.max(loudness(samples), level * FALLS);
      this.bar.style.setProperty("--level", level.toFixed(2));
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
 * What hears a stream, at the rate of a voice where the browser can do that.
 * @param {MediaStream} stream
 */
function listen(stream) {
  let context = new AudioContext(VOICE);
  let source;
  try {
    source = context.createMediaStreamSource(stream);
  } catch {
    // Firefox: a microphone's own rate and no other (NotSupportedError)
    void context.close();
    context = new AudioContext();
    source = context.createMediaStreamSource(stream);
  }
  const analyser = context.createAnalyser();
  analyser.fftSize = SAMPLES;
  source.connect(analyser);
  return { context, analyser };
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
