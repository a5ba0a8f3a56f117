/** Response time from paint to answer, without the time in which the page was hidden. */

/** 366 days, the server's limit too: an answer is never refused because a laptop slept or a clock is broken. */
const LONGEST_MS = 31_622_400_000;

export class Stopwatch {
  constructor() {
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
   * Stop and read both clocks, in whole milliseconds, each at most LONGEST_MS.
   * @returns {{response_ms: number, hidden_ms: number}}
   */
  stop() {
    const now = performance.now();
    const hidden = this.hiddenTotal + (this.hiddenSince === null ? 0 : now - this.hiddenSince);
    this.running = false;
    return { response_ms: whole(now - this.startedAt - hidden), hidden_ms: whole(hidden) };
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
 * @param {number} ms
 * @returns {number}
 */
function whole(ms) {
  return Math.min(LONGEST_MS, Math.max(0, Math.round(ms)));
}

/**
 * The next animation frame's time. Frames do not come while the page is hidden, which is what timing wants.
 * @returns {Promise<number>}
 */
export function nextFrame() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
