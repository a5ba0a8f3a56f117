/** The pairs that this page holds, the current one first, the next one loaded and decoded ahead of time. */

import { loadPair } from "./images.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./images.js").PairImages} PairImages */

export class Queue {
  /**
   * @param {(loading: import("./images.js").Loading) => void} onLoading how far the pictures of the current pair are
   * @param {{ranked?: boolean}} [options] whether the pictures are put in order
   */
  constructor(onLoading, { ranked = false } = {}) {
    /** @type {Assignment[]} */
    this.pairs = [];
    /** @type {Map<string, Promise<PairImages>>} */
    this.loading = new Map();
    this.onLoading = onLoading;
    this.ranked = ranked;
  }

  /** @returns {Assignment|undefined} */
  get current() {
    return this.pairs[0];
  }

  /** @returns {string[]} tokens of every pair held, for the heartbeat */
  get tokens() {
    return this.pairs.map((pair) => pair.token);
  }

  /**
   * Replace everything by what the server says.
   * @param {Assignment[]} pairs
   */
  replace(pairs) {
    this.pairs = [...pairs];
    for (const token of this.loading.keys()) {
      if (!this.tokens.includes(token)) this.loading.delete(token);
    }
  }

  /**
   * Add one at the end; one that is held already is left alone.
   * @param {Assignment|null} pair
   */
  append(pair) {
    if (pair && !this.tokens.includes(pair.token)) this.pairs.push(pair);
  }

  /**
   * Put one first (an answer that was taken back).
   * @param {Assignment} pair
   */
  putFirst(pair) {
    this.remove(pair.token);
    this.pairs.unshift(pair);
  }

  /** @param {string} token */
  remove(token) {
    this.pairs = this.pairs.filter((pair) => pair.token !== token);
    this.loading.delete(token);
  }

  /**
   * The pictures of a pair; loading starts at the first call and is shared by later ones.
   * @param {Assignment} pair
   * @returns {Promise<PairImages>}
   */
  pictures(pair) {
    let promise = this.loading.get(pair.token);
    if (!promise) {
      promise = loadPair(pair, (loading) => {
        if (this.current?.token === pair.token) this.onLoading(loading);
      }, { ranked: this.ranked });
      promise.catch(() => {}); // the failure is dealt with when the pair becomes the current one
      this.loading.set(pair.token, promise);
    }
    return promise;
  }

  /** Load the pair after the current one, so that it can be painted at once. */
  preloadNext() {
    const next = this.pairs[1];
    if (next) this.pictures(next);
  }
}
