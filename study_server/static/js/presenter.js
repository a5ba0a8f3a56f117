/** Showing one pair: description or attention check, pictures, the instant of paint, and what screen readers hear. */

import { announce, byId } from "./announce.js";
import { PictureMissing } from "./images.js";
import { hidePanel, panelShown } from "./panel.js";
import { t } from "./text.js";
import { Stopwatch, nextFrame } from "./timing.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./choices.js").Choices|import("./ranking.js").Ranking} Choices */
/** @typedef {import("./images.js").PairImages} PairImages */
/** @typedef {import("./viewer.js").Viewer} Viewer */

const SLOW_MS = 400;

export class Presenter {
  /**
   * @param {Viewer} viewer
   * @param {Choices} choices
   * @param {import("./flicker.js").Flicker} flicker
   */
  constructor(viewer, choices, flicker) {
    this.viewer = viewer;
    this.flicker = flicker;
    this.choices = choices;
    this.watch = new Stopwatch();
    this.pair = /** @type {Assignment|null} */ (null);
    this.painted = false;
    this.paintedAt = 0; // milliseconds since 1970 on this device's clock
    this.slow = false; // whether loading takes so long that it is worth a word
    this.turn = 0; // counts presentations, so that a slow one knows that it has been overtaken
  }

  /**
   * Show a pair: wait until both pictures are decoded, then paint both in one frame.
   * @param {Assignment} pair
   * @param {Promise<PairImages>} pictures
   * @param {{withPrompt: boolean, said: import("./choices.js").Said, start: import("./viewer.js").Start}} options
   *   `said`: what was answered about it before; `start`: the scale at which it begins
   * @returns {Promise<"painted"|"overtaken"|"missing">}
   */
  async present(pair, pictures, { withPrompt, said, start }) {
    this.hide();
    const turn = this.turn;
    this.pair = pair;
    showInstruction(pair.instruction);
    showPrompt(withPrompt && !pair.instruction ? pair.prompt : null);
    this.choices.setCount(2 + (pair.others?.length ?? 0));
    this.choices.reset(said);
    this.slow = false;
    const slow = setTimeout(() => {
      this.slow = true;
      this.noteLoading({ waiting: false, share: null });
    }, SLOW_MS);
    let images;
    try {
      images = await pictures;
    } catch (error) {
      if (!(error instanceof PictureMissing)) throw error;
      return turn === this.turn ? "missing" : "overtaken";
    } finally {
      clearTimeout(slow);
    }
    if (turn !== this.turn) return "overtaken";
    hidePanel();
    document.body.classList.remove("loading");
    byId("stage-note").hidden = true;
    bringIntoView(this.viewer.stage);
    this.viewer.startAt(start, pair.boosting?.zoom, pair.boosting?.largest);
    this.viewer.mount(images, images.map((_, place) => this.choices.pictureName(place)));
    await nextFrame();
    if (turn !== this.turn) return "overtaken";
    this.viewer.reveal();
    const painted = await nextFrame(); // the frame that revealed them has been handed over by now
    if (turn !== this.turn) return "overtaken";
    this.watch.start(painted);
    this.flicker.start(pair.boosting?.rate_hz ?? 0);
    this.paintedAt = performance.timeOrigin + painted;
    this.painted = true;
    this.choices.setEnabled(true);
    return "painted";
  }

  /**
   * Close the pair for answers and read the clocks.
   * @param {{keepVisible: boolean}} options practice leaves the pictures on the stage for the feedback
   * @returns {{response_ms: number, hidden_ms: number, painted_at: number, view: object}}
   */
  close({ keepVisible }) {
    this.painted = false;
    this.choices.setEnabled(false);
    if (!keepVisible) this.viewer.veil();
    const view = this.#view();
    this.flicker.stop();
    return { ...this.watch.stop(), painted_at: this.paintedAt, view };
  }

  /** @returns {object} how the pair lay on the screen; of a triplet the scale at which it was answered, and the flicker */
  #view() {
    const { layout, scale } = this.viewer.layout;
    const view = { layout, scale, zoomed: this.viewer.everZoomed, swaps: this.viewer.swaps };
    if (!this.pair?.reference) return view;
    const { boosting } = this.pair;
    if (!boosting) return { ...view, scale: this.viewer.scale };
    // Whole but for a pinch in progress.
    return { ...view, scale: Math.max(1, Math.round(this.viewer.scale)), rate_hz: this.flicker.ran ? boosting.rate_hz : 0 };
  }

  /** Take whatever is shown, or about to be shown, off the stage. */
  hide() {
    this.turn += 1;
    this.painted = false;
    this.pair = null;
    this.flicker.stop();
    this.choices.setEnabled(false);
    this.viewer.veil();
  }

  /**
   * Say how far the pictures are.
   * @param {import("./images.js").Loading} loading
   */
  noteLoading({ waiting, share }) {
    if (this.painted || panelShown() || !(waiting || this.slow)) return;
    const note = byId("stage-note");
    if (waiting) note.textContent = t("task.loading_offline");
    else if (share === null) note.textContent = t("task.loading");
    else note.textContent = t("task.loading_percent", { percent: Math.floor(share * 100) });
    note.hidden = false;
  }

  /**
   * Say that a pair is there; the same words for every pair, so that they reveal nothing about it. An attention check
   * is read out too.
   * @param {number} n
   * @param {number} total
   */
  announce(n, total) {
    const { kind_public: kind, instruction } = this.pair ?? {};
    const shown = kind === "practice" ? t("task.shown.practice") : t("task.shown", { n: Math.min(n, total), total });
    announce(instruction ? `${shown} ${t("task.instruction")}: ${instruction}` : shown);
  }
}

/**
 * On a page that is enlarged so far that it scrolls, a pair must not appear above or below the window; the description
 * comes along where both fit.
 * @param {HTMLElement} stage
 */
function bringIntoView(stage) {
  const { top, bottom } = stage.getBoundingClientRect();
  if (top >= -1 && top < window.innerHeight - 1) return;
  const prompt = byId("instruction").hidden ? byId("prompt") : byId("instruction");
  const both = !prompt.hidden && bottom - prompt.getBoundingClientRect().top <= window.innerHeight;
  (both ? prompt : stage).scrollIntoView({ block: "start", behavior: "instant" });
}

/** Prompts longer than this are set smaller, so that the room for them, and with it the pictures' scale, stays the same. */
const LONG_PROMPT = 140;

/**
 * An attention check has a place of its own: it cannot be folded away and does not look like a description.
 * @param {string|null|undefined} text
 */
function showInstruction(text) {
  byId("instruction").hidden = !text;
  byId("instruction-text").textContent = text ?? "";
}

/** @param {string|null} text */
function showPrompt(text) {
  byId("prompt").hidden = !text;
  const line = byId("prompt-text");
  line.textContent = text ?? "";
  line.classList.toggle("long", (text ?? "").length > LONG_PROMPT);
  line.scrollTop = 0;
}
