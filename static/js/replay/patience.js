// @ts-check
/** Requests that are made again until they are answered: by themselves, or at once by a button. */

const WAITS_MS = [1000, 2000, 5000, 10_000];

export class Patience {
  #wake = () => {};
  #troubles = new Set();

  /**
   * @param {(trouble: boolean) => void} onChange called when the first thing fails, and when all is well again
   */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /**
   * JSON from an address, however often it must be asked.
   * @param {string} url
   * @returns {Promise<any>}
   */
  async json(url) {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await fetch(url);
        if (answer.ok) {
          const told = await answer.json();
          this.over(url);
          return told;
        }
      } catch {
        // no network, or half an answer: the same as an answer that says no
      }
      this.trouble(url);
      await this.pause(tries);
    }
  }

  /**
   * Wait before another try, or until somebody presses the button.
   * @param {number} tries how many failed before
   * @returns {Promise<void>}
   */
  pause(tries) {
    const wait_ms = WAITS_MS[Math.min(tries, WAITS_MS.length - 1)];
    const before = this.#wake;
    return new Promise((resolve) => {
      const done = () => (clearTimeout(timer), resolve());
      const timer = setTimeout(resolve, wait_ms);
      this.#wake = () => (before(), done());
    });
  }

  /** Try everything again now. */
  again() {
    const wake = this.#wake;
    this.#wake = () => {};
    wake();
  }

  /** @param {string} what has failed */
  trouble(what) {
    this.#troubles.add(what);
    this.onChange(true);
  }

  /** @param {string} what works (again) */
  over(what) {
    if (this.#troubles.delete(what) && !this.#troubles.size) this.onChange(false);
  }
}
