/** How long this person takes for a pair, and therefore how long the rest will take. */

const REMEMBERED = 15;
const ENOUGH = 3;

export class Pace {
  /**
   * @param {string} name of this person's session; the times outlive a reload of the tab
   * @param {number} firstGuess seconds per pair, by the study's own estimate
   */
  constructor(name, firstGuess) {
    this.key = `pace:${name}`;
    this.firstGuess = firstGuess;
    /** @type {number[]} */
    this.recent = this.#read();
  }

  /** @param {number} ms from paint to answer, of a pair that counts */
  add(ms) {
    this.recent = [...this.recent, ms].slice(-REMEMBERED);
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.recent));
    } catch {
      // Storage is blocked: after a reload the estimate begins anew.
    }
  }

  /** @returns {number} the median of the last times, in seconds; the study's guess before there are three */
  get secondsEach() {
    if (this.recent.length < ENOUGH) return this.firstGuess;
    return [...this.recent].sort((a, b) => a - b)[Math.floor(this.recent.length / 2)] / 1000;
  }

  /**
   * Seconds until this person is done: the pairs left at their own pace, or the session's limit where that ends earlier.
   * @param {number} pairs
   * @param {number|null} limit seconds that the session may still last
   * @returns {number}
   */
  secondsLeft(pairs, limit) {
    return Math.min(pairs * this.secondsEach, limit ?? Infinity);
  }

  /** @returns {number[]} */
  #read() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
      return Array.isArray(kept) ? kept.filter(Number.isFinite) : [];
    } catch {
      return []; // blocked or damaged: the estimate begins anew
    }
  }
}
