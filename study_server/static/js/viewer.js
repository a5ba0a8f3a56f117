/**
 * The stage: two panes that always show the same place at the same scale, and the swap in place.
 *
 * Everything is positioned in whole device pixels (CSS lengths are device pixels divided by
 * devicePixelRatio), so that a picture pixel never straddles two screen pixels at a whole-number scale.
 */

import {
  centreKeeping, chooseLayout, clampCentre, nearestStep, neighbourStep, offsetInCell, scaleSteps,
} from "./view.js";

/** @typedef {import("./images.js").PairImages} PairImages */
/** @typedef {import("./view.js").Size} Size */
/** @typedef {"left"|"right"} Side */
/** @typedef {{x: number, y: number}} Point */
/** @typedef {"fit"|"one_to_one"|"enlarged"} Start as large as fits; 1:1; as large as fits and never reduced */

const GAP_CSS = 16;
const SIDES = /** @type {const} */ (["left", "right"]);

export class Viewer {
  /**
   * @param {HTMLElement} stage holds two `.pane` elements
   * @param {() => void} onChange told after every change of scale, layout or swap
   */
  constructor(stage, onChange) {
    this.stage = stage;
    this.panes = {
      left: /** @type {HTMLElement} */ (stage.querySelector("#pane-left")),
      right: /** @type {HTMLElement} */ (stage.querySelector("#pane-right")),
    };
    this.onChange = onChange;
    this.images = /** @type {PairImages|null} */ (null);
    this.sizes = { left: { width: 1, height: 1 }, right: { width: 1, height: 1 } };
    this.layout = chooseLayout(this.sizes.left, { width: 2, height: 1 }, 0);
    this.start = /** @type {Start} */ ("fit");
    this.most = Infinity;
    this.steps = [1];
    this.scale = 1;
    this.centre = { x: 0.5, y: 0.5 };
    this.swapped = false;
    this.swaps = 0;
    this.everZoomed = false;
    new ResizeObserver(() => this.#relayout()).observe(stage);
    // A change of the page zoom or a move to another screen changes the ratio without resizing the stage.
    window.addEventListener("resize", () => this.#relayout());
  }

  /** @returns {boolean} */
  get zoomed() {
    return this.scale > this.steps[0] + 1e-6;
  }

  /**
   * @param {Start} start the scale at which each pair begins
   * @param {number|null} [most] at which an enlarged one begins at most
   */
  startAt(start, most) {
    this.start = start;
    this.most = most ?? Infinity;
  }

  /**
   * Put a pair on the stage, unseen until `reveal`.
   * @param {PairImages} images
   * @param {[string, string]} labels what a screen reader calls the left and the right picture
   */
  mount(images, labels) {
    this.veil();
    this.images = images;
    this.swapped = false;
    this.swaps = 0;
    this.everZoomed = false;
    this.centre = { x: 0.5, y: 0.5 };
    for (const side of SIDES) {
      const image = images[side][0];
      this.sizes[side] = { width: image.naturalWidth, height: image.naturalHeight };
    }
    // Element 0 of a picture lives in its own pane; element 1 lies in the other one, for the swap.
    this.panes.left.replaceChildren(images.left[0], images.right[1]);
    this.panes.right.replaceChildren(images.right[0], images.left[1]);
    images.left[0].alt = labels[0];
    images.right[0].alt = labels[1];
    for (const side of SIDES) {
      images[side][1].alt = "";
      images[side][0].classList.remove("away");
      images[side][1].classList.add("away");
    }
    this.#relayout({ reset: true });
  }

  /** Show both pictures; one class on their common parent, so neither can come before the other. */
  reveal() {
    this.stage.classList.remove("veiled");
  }

  /** Hide both pictures. */
  veil() {
    this.stage.classList.add("veiled");
  }

  /**
   * Let the pictures change places, or back.
   * @param {boolean} swapped
   */
  setSwapped(swapped) {
    if (!this.images || swapped === this.swapped) return;
    this.swapped = swapped;
    if (swapped) this.swaps += 1;
    this.#exchange(swapped);
    this.onChange();
  }

  /**
   * The automatic flicker's change: not counted, not announced, and nothing while a person holds the other pictures.
   * @param {boolean} away
   */
  flick(away) {
    if (this.images && !this.swapped) this.#exchange(away);
  }

  /** @param {boolean} away whether what lies under the pictures is shown instead of them */
  #exchange(away) {
    for (const side of SIDES) {
      this.images?.[side][0].classList.toggle("away", away);
      this.images?.[side][1].classList.toggle("away", !away);
    }
  }

  /**
   * One step in or out, keeping the point under `at` in place.
   * @param {1|-1} direction
   * @param {{side: Side, point: Point}} [at] position in a pane, device pixels; the middle when absent
   */
  zoomStep(direction, at) {
    this.zoomTo(neighbourStep(this.steps, this.scale, direction), at);
  }

  /**
   * @param {number} scale
   * @param {{side: Side, point: Point}} [at]
   */
  zoomTo(scale, at) {
    if (!this.images) return;
    const low = this.steps[0];
    const high = this.steps[this.steps.length - 1];
    const next = Math.min(high, Math.max(low, scale));
    const side = at?.side ?? "left";
    const cell = this.layout.cell;
    const point = at?.point ?? { x: cell.width / 2, y: cell.height / 2 };
    const before = this.#box(side, this.scale);
    const after = this.#box(side, next);
    if (at) {
      this.centre = {
        x: centreKeeping(point.x, before.x, before.width, after.width, cell.width),
        y: centreKeeping(point.y, before.y, before.height, after.height, cell.height),
      };
    }
    this.scale = next;
    this.everZoomed ||= this.zoomed;
    this.#place();
  }

  /** Come to rest on the nearest step after a pinch. */
  settle() {
    this.zoomTo(nearestStep(this.steps, this.scale));
  }

  /**
   * Move both pictures.
   * @param {Point} delta device pixels the content moves by
   */
  panBy(delta) {
    if (!this.images) return;
    const box = this.#box("left", this.scale);
    this.centre = { x: this.centre.x - delta.x / box.width, y: this.centre.y - delta.y / box.height };
    this.#place();
  }

  /**
   * Bring a point of a pane to the middle.
   * @param {{side: Side, point: Point}} at
   */
  centreOn(at) {
    const { width, height } = this.layout.cell;
    this.panBy({ x: width / 2 - at.point.x, y: height / 2 - at.point.y });
  }

  /** The whole pictures again. */
  reset() {
    if (!this.images) return;
    this.scale = this.steps[0];
    this.centre = { x: 0.5, y: 0.5 };
    this.#place();
  }

  /**
   * The pane under a client position, and the position inside it in device pixels.
   * @param {number} clientX
   * @param {number} clientY
   * @returns {{side: Side, point: Point}}
   */
  locate(clientX, clientY) {
    const right = this.panes.right.getBoundingClientRect();
    const inRight = this.layout.layout === "stacked" ? clientY >= right.top : clientX >= right.left;
    const rect = inRight ? right : this.panes.left.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    return {
      side: inRight ? "right" : "left",
      point: { x: (clientX - rect.left) * ratio, y: (clientY - rect.top) * ratio },
    };
  }

  /** @param {{reset?: boolean}} [options] */
  #relayout({ reset = false } = {}) {
    if (!this.images) return;
    const ratio = window.devicePixelRatio;
    const rect = this.stage.getBoundingClientRect();
    if (rect.width === 0 || rect.height === 0) return;
    const stage = { width: rect.width * ratio, height: rect.height * ratio };
    const keep = !reset && this.zoomed;
    const scale = this.scale;
    this.layout = chooseLayout(this.sizes.left, stage, Math.round(GAP_CSS * ratio));
    // At 1:1 small pictures are not enlarged, and large ones begin zoomed in; "whole pictures" is the smallest step.
    // A boosted crop is never reduced: it begins at 1:1 and is moved about where the window is smaller.
    const fit = this.layout.scale;
    const least = { fit, one_to_one: Math.min(1, fit), enlarged: Math.max(1, Math.min(fit, this.most)) };
    this.steps = scaleSteps(least[this.start]);
    if (keep) this.scale = nearestStep(this.steps, scale);
    else this.scale = this.start === "one_to_one" ? 1 : this.steps[0];
    this.stage.dataset.layout = this.layout.layout;
    this.#place();
  }

  /**
   * The scaled picture of one side inside its cell, device pixels. The right picture is shown at the size of the
   * left one even when its own pixel size differs, so that the two always cover the same area.
   * @param {Side} side
   * @param {number} scale
   */
  #box(side, scale) {
    const { cell, layout } = this.layout;
    const width = this.sizes.left.width * scale;
    const height = this.sizes.left.height * scale;
    const towardsGap = side === "left" ? "end" : "start";
    return {
      width,
      height,
      x: offsetInCell(this.centre.x, width, cell.width, layout === "side" ? towardsGap : "middle"),
      y: offsetInCell(this.centre.y, height, cell.height, layout === "side" ? "middle" : towardsGap),
    };
  }

  #place() {
    if (!this.images) return;
    const ratio = window.devicePixelRatio;
    const rect = this.stage.getBoundingClientRect();
    const { cell, layout } = this.layout;
    const gap = Math.round(GAP_CSS * ratio);
    const whole = this.#box("left", this.scale);
    this.centre = {
      x: clampCentre(this.centre.x, whole.width, cell.width),
      y: clampCentre(this.centre.y, whole.height, cell.height),
    };
    for (const side of SIDES) {
      const second = side === "right";
      // The stage itself may begin at a fraction of a device pixel; the pane's origin makes up for it.
      const snapX = Math.ceil(rect.left * ratio) - rect.left * ratio;
      const snapY = Math.ceil(rect.top * ratio) - rect.top * ratio;
      const paneX = snapX + (second && layout === "side" ? cell.width + gap : 0);
      const paneY = snapY + (second && layout === "stacked" ? cell.height + gap : 0);
      setBox(this.panes[side], paneX / ratio, paneY / ratio, cell.width / ratio, cell.height / ratio);
      const box = this.#box(side, this.scale);
      for (const image of this.panes[side].children) {
        setBox(/** @type {HTMLElement} */ (image),
          box.x / ratio, box.y / ratio, box.width / ratio, box.height / ratio);
      }
    }
    // Below 1:1 there is nothing to keep pixel-exact; the browser's smooth reduction is the honest one.
    this.stage.classList.toggle("reduced", this.scale < 1);
    this.stage.classList.toggle("zoomed", this.zoomed || whole.width > cell.width || whole.height > cell.height);
    this.onChange();
  }
}

/**
 * @param {HTMLElement} element
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height all in CSS pixels
 */
function setBox(element, left, top, width, height) {
  element.style.left = `${left}px`;
  element.style.top = `${top}px`;
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
}
