/** Response time from paint to answer, without the time in which the page was hidden. */

const FIRST_GUESS_SECONDS = 8;
const REMEMBERED = 15;

export class Stopwatch {
  constructor() {
    /** @type {number[]} */
    this.recent = []; // the last response times, in milliseconds
    this.startedAt = 0;
    this.hiddenSince = /** @type {number|null} */ (null);
    this.hiddenTotal = 0;
    this.running = false;
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
  }

  /**
   * Start anew.
   * @param {number} now a `performance.now()` or animation-frame time
   */
  start(now) {
    this.startedAt = now;
    this.hiddenTotal = 0;
    this.hiddenSince = document.hidden ? now : null;
    this.running = true;
  }

  /**
   * Stop and read both clocks, in whole milliseconds.
   * @returns {{response_ms: number, hidden_ms: number}}
   */
  stop() {
    const now = performance.now();
    const hidden = this.hiddenTotal + (this.hiddenSince === null ? 0 : now - this.hiddenSince);
    this.running = false;
    const response = Math.max(0, Math.round(now - this.startedAt - hidden));
    this.recent = [...this.recent, response].slice(-REMEMBERED);
    return { response_ms: response, hidden_ms: Math.round(hidden) };
  }

  /** @returns {number} the median of the last response times, in seconds; a guess before there are three */
  get secondsEach() {
    if (this.recent.length < 3) return FIRST_GUESS_SECONDS;
    return [...this.recent].sort((a, b) => a - b)[Math.floor(this.recent.length / 2)] / 1000;
  }

  #visibilityChanged() {
    if (!this.running) return;
    const now = performance.now();
    if (document.hidden) {
      this.hiddenSince ??= now;
    } else if (this.hiddenSince !== null) {
      this.hiddenTotal += now - this.hiddenSince;
      this.hiddenSince = null;
    }
  }
}

/**
 * The next animation frame's time. Frames do not come while the page is hidden, which is what timing wants.
 * @returns {Promise<number>}
 */
export function nextFrame() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
