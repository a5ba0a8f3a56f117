/** Keeps the leases of the pairs alive while a person is there, and lets them go when nobody is. */

import { HttpError, NetworkError, base, post } from "./api.js";
import { tabToken } from "./tabs.js";

const IDLE_MS = 10 * 60_000;
const SHORTEST_MS = 5_000;

export class Heartbeat {
  /**
   * @param {object} options
   * @param {() => string[]} options.tokens the pairs held now
   * @param {(lost: string[]) => void} options.onLost leases that ran out while away
   * @param {(error: HttpError) => void} options.onRefused another tab, an ended session
   */
  constructor({ tokens, onLost, onRefused }) {
    this.tokens = tokens;
    this.onLost = onLost;
    this.onRefused = onRefused;
    this.leaseSeconds = 120;
    this.lastSign = performance.now();
    this.lastBeat = performance.now();
    this.stopped = false;
    this.timer = window.setInterval(() => this.#tick(), SHORTEST_MS);
    for (const type of ["pointerdown", "pointermove", "keydown", "wheel"]) {
      document.addEventListener(type, () => this.#signOfLife(), { passive: true, capture: true });
    }
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#signOfLife();
    });
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
  }

  #signOfLife() {
    const away = performance.now() - this.lastSign > IDLE_MS;
    this.lastSign = performance.now();
    if (away || this.#overdue()) void this.#beat();
  }

  #overdue() {
    // Three beats fit into a lease, so that one lost request does not lose the pair.
    return performance.now() - this.lastBeat > Math.max(SHORTEST_MS, (this.leaseSeconds * 1000) / 3);
  }

  #tick() {
    const idle = performance.now() - this.lastSign > IDLE_MS;
    if (!document.hidden && !idle && this.#overdue()) void this.#beat();
  }

  async #beat() {
    const assignments = this.tokens();
    if (this.stopped || assignments.length === 0) return;
    this.lastBeat = performance.now();
    try {
      const answer = await post("api/heartbeat", { assignments, tab_token: tabToken(base()) });
      this.leaseSeconds = answer.lease_seconds;
      if (answer.lost?.length) this.onLost(answer.lost);
    } catch (error) {
      if (error instanceof HttpError && !error.passing) this.onRefused(error);
      else if (!(error instanceof NetworkError || error instanceof HttpError)) throw error;
      // A beat that did not arrive is repeated by the next tick.
    }
  }
}
