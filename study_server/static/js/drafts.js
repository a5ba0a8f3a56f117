/**
 * Answers to some questions of a pair, and the last answers that were given: kept on this device, so that a reload keeps
 * what was answered and undo brings back what was said.
 */

/** @typedef {import("./choices.js").Said} Said */
/** @typedef {{token: string, said: Said}} Draft */

export class Drafts {
  /** @param {string} name of this person's session */
  constructor(name) {
    this.key = `draft:${name}`;
    /** @type {Draft[]} the pair that is being answered and the one before it, newest first */
    this.kept = this.#read();
  }

  /**
   * @param {string} token of a pair
   * @returns {Said} what was answered about it
   */
  of(token) {
    return this.kept.find((draft) => draft.token === token)?.said ?? {};
  }

  /**
   * @param {string} token
   * @param {Said} said so far
   */
  keep(token, said) {
    this.kept = [{ token, said }, ...this.kept.filter((draft) => draft.token !== token)].slice(0, 2);
    try {
      localStorage.setItem(this.key, JSON.stringify(this.kept));
    } catch {
      // Storage is blocked: the answers last as long as the page.
    }
  }

  /** Forget everything: the session is over. */
  clear() {
    this.kept = [];
    try {
      localStorage.removeItem(this.key);
    } catch {
      // Nothing was kept.
    }
  }

  /** @returns {Draft[]} */
  #read() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return []; // blocked or damaged: the pair begins anew
    }
  }
}
