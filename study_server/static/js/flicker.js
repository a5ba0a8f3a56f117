/**
 * The automatic flicker of a boosted triplet: test pictures and reference change places by themselves.
 *
 * The person decides before the first flickering picture, and may switch it off and on at any time; who asked the
 * system for reduced motion gets still pictures and is not asked. A change never comes sooner than half a period after
 * the one before: time that was lost (a hidden page, a slow device) is not made up for.
 */

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {"flicker"|"still"} FlickerChoice */

export class Flicker {
  /**
   * @param {Viewer} viewer
   * @param {() => void} onChange called when it begins, ends, or becomes possible
   */
  constructor(viewer, onChange) {
    this.viewer = viewer;
    this.onChange = onChange;
    this.reduced = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.key = "";
    /** @type {FlickerChoice|null} */
    this.choice = null;
    this.rate = 0; // whole changes to the reference and back, per second; 0 without a boosted triplet
    this.ran = false; // whether this triplet has flickered
    this.running = false;
    this.frame = 0;
    this.reduced.addEventListener("change", () => this.#follow());
  }

  /** @param {string} name of this person's session: the choice is kept on this device */
  remember(name) {
    this.key = `flicker:${name}`;
    try {
      const kept = localStorage.getItem(this.key);
      this.choice = kept === "flicker" || kept === "still" ? kept : null;
    } catch {
      this.choice = null; // storage is blocked: the person is asked once per page
    }
  }

  /** @returns {boolean} whether the person has to decide before a boosted triplet is shown */
  get undecided() {
    return this.choice === null && !this.reduced.matches;
  }

  /** @returns {boolean} whether there is a switch to offer */
  get offered() {
    return this.rate > 0 && !this.reduced.matches;
  }

  /** @param {FlickerChoice} choice */
  decide(choice) {
    this.choice = choice;
    try {
      localStorage.setItem(this.key, choice);
    } catch {
      // Not kept; it holds for this page.
    }
    this.#follow();
  }

  /** On or off, as the person says. */
  toggle() {
    if (this.offered) this.decide(this.choice === "flicker" ? "still" : "flicker");
  }

  /**
   * A triplet is on the screen.
   * @param {number} rate 0 for one that does not flicker
   */
  start(rate) {
    this.rate = rate;
    this.ran = false;
    this.#follow();
  }

  /** The triplet is closed for answers; its pictures stand still. */
  stop() {
    this.rate = 0;
    this.#follow();
  }

  #follow() {
    const wanted = this.offered && this.choice === "flicker";
    if (wanted && !this.running) this.#run();
    else if (!wanted && this.running) {
      cancelAnimationFrame(this.frame);
      this.running = false;
      this.viewer.flick(false);
    }
    this.onChange();
  }

  #run() {
    this.running = true;
    this.ran = true;
    const half = 500 / this.rate;
    let changed = performance.now();
    let onReference = false;
    const step = (/** @type {number} */ now) => {
      if (!this.running) return;
      if (now - changed >= half) {
        changed = now;
        onReference = !onReference;
        this.viewer.flick(onReference);
      }
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }
}
