/**
 * The stage: panes that always show the same place at the same scale, and the swap in place.
 *
 * Everything is positioned in whole device pixels (CSS lengths are device pixels divided by
 * devicePixelRatio), so that a picture pixel never straddles two screen pixels at a whole-number scale.
 */

import {
  centreKeeping, chooseLayout, clampCentre, nearestStep, neighbourStep, offsetInCell, scaleSteps,
} from "./view.js";

/** @typedef {import("./images.js").PairImages} PairImages */
/** @typedef {import("./view.js").Size} Size */
/** @typedef {number} Place of a pane, in the order of reading */
/** @typedef {{x: number, y: number}} Point */
/** @typedef {"fit"|"one_to_one"|"enlarged"} Start as large as fits; 1:1; as large as fits and never reduced */

const GAP_CSS = 16;
const MIN_LINE_CSS = 96;

export class Viewer {
  /**
   * @param {HTMLElement} stage holds `.pane` elements, and a `.place` above each where pictures are ranked
   * @param {() => void} onChange called after every change of scale, layout or swap
   */
  constructor(stage, onChange) {
    this.stage = stage;
    this.panes = /** @type {HTMLElement[]} */ ([...stage.querySelectorAll(".pane")]);
    this.lines = /** @type {HTMLElement[]} */ ([...stage.querySelectorAll(".place")]);
    this.onChange = onChange;
    this.images = /** @type {PairImages|null} */ (null);
    this.size = { width: 1, height: 1 };
    this.layout = chooseLayout(this.size, { width: 2, height: 1 }, 0, this.panes.length);
    this.compared = 0; // of the other pictures, the one that a swap shows
    this.start = /** @type {Start} */ ("fit");
    this.most = Infinity;
    this.largest = Infinity;
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
   * @param {number|null} [largest] beyond which nothing is enlarged
   */
  startAt(start, most, largest) {
    this.start = start;
    this.most = most ?? Infinity;
    this.largest = largest ?? Infinity;
  }

  /**
   * Put a pair on the stage, unseen until `reveal`.
   * @param {PairImages} images
   * @param {string[]} labels what a screen reader calls each picture
   */
  mount(images, labels) {
    this.veil();
    this.images = images;
    this.swapped = false;
    this.swaps = 0;
    this.everZoomed = false;
    this.centre = { x: 0.5, y: 0.5 };
    this.compared = 0;
    this.size = { width: images[0].own.naturalWidth, height: images[0].own.naturalHeight };
    // The smallest sets of a study have fewer pictures than its page has places.
    for (const places of [this.panes, this.lines]) {
      places.forEach((element, place) => { element.hidden = place >= images.length; });
    }
    images.forEach(({ own, others }, place) => {
      const under = others.filter((other) => other !== null);
      this.panes[place].replaceChildren(own, ...under);
      own.alt = labels[place];
      own.classList.remove("away");
      for (const other of under) {
        other.alt = "";
        other.classList.add("away");
      }
    });
    this.#relayout({ reset: true });
  }

  /** Show the pictures; one class on their common parent, so none can come before another. */
  reveal() {
    this.stage.classList.remove("veiled");
  }

  /** Hide the pictures. */
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

  /**
   * In a set: which picture a swap shows in every place.
   * @param {Place} place
   */
  compareWith(place) {
    this.compared = place;
    if (this.swapped) this.#exchange(true);
  }

  /** @param {boolean} away whether the layer under the pictures is shown instead of them */
  #exchange(away) {
    for (const { own, others } of this.images ?? []) {
      const shown = away ? others[this.compared] : null; // none in the place of the compared picture itself
      own.classList.toggle("away", Boolean(shown));
      for (const other of others) other?.classList.toggle("away", other !== shown);
    }
  }

  /**
   * One step in or out, keeping the point under `at` in place.
   * @param {1|-1} direction
   * @param {{place: Place, point: Point}} [at] position in a pane, device pixels; the middle when absent
   */
  zoomStep(direction, at) {
    this.zoomTo(neighbourStep(this.steps, this.scale, direction), at);
  }

  /**
   * @param {number} scale
   * @param {{place: Place, point: Point}} [at]
   */
  zoomTo(scale, at) {
    if (!this.images) return;
    const low = this.steps[0];
    const high = this.steps[this.steps.length - 1];
    const next = Math.min(high, Math.max(low, scale));
    const place = at?.place ?? 0;
    const cell = this.layout.cell;
    const point = at?.point ?? { x: cell.width / 2, y: cell.height / 2 };
    const before = this.#box(place, this.scale);
    const after = this.#box(place, next);
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
    const box = this.#box(0, this.scale);
    this.centre = { x: this.centre.x - delta.x / box.width, y: this.centre.y - delta.y / box.height };
    this.#place();
  }

  /**
   * Bring a point of a pane to the middle.
   * @param {{place: Place, point: Point}} at
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
   * @returns {{place: Place, point: Point}}
   */
  locate(clientX, clientY) {
    // The last pane that begins neither below nor after the position; the first one where all do.
    const rects = this.panes.map((pane) => pane.getBoundingClientRect());
    const column = (/** @type {DOMRect} */ rect) => clientX >= rect.left || rect.left <= rects[0].left;
    const row = (/** @type {DOMRect} */ rect) => clientY >= rect.top || rect.top <= rects[0].top;
    let place = 0;
    rects.forEach((rect, index) => {
      if (column(rect) && row(rect)) place = index;
    });
    const ratio = window.devicePixelRatio;
    return {
      place,
      point: { x: (clientX - rects[place].left) * ratio, y: (clientY - rects[place].top) * ratio },
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
    this.layout = chooseLayout(this.size, stage, Math.round(GAP_CSS * ratio), this.images.length, this.#line);
    // At 1:1 small pictures are not enlarged, and large ones begin zoomed in; "whole pictures" is the smallest step.
    // A boosted crop is never reduced: it begins at 1:1 and is moved about where the window is smaller.
    const fit = this.layout.scale;
    const least = { fit, one_to_one: Math.min(1, fit), enlarged: Math.max(1, Math.min(fit, this.most)) };
    this.steps = scaleSteps(least[this.start]).filter((step, place) => place === 0 || step <= this.largest);
    if (keep) this.scale = nearestStep(this.steps, scale);
    else this.scale = this.start === "one_to_one" ? 1 : this.steps[0];
    this.stage.dataset.layout = this.layout.layout;
    this.#place();
  }

  /** @returns {number} height of the line above each picture, device pixels */
  get #line() {
    return this.lines.length === 0 ? 0 : Math.ceil(this.lines[0].offsetHeight * window.devicePixelRatio);
  }

  /**
   * The scaled picture of one place inside its cell, device pixels. Every picture is shown at the size of the first
   * one even when its own pixel size differs, so that all cover the same area.
   * @param {Place} place
   * @param {number} scale
   */
  #box(place, scale) {
    const { cell, columns, rows } = this.layout;
    const width = this.size.width * scale;
    const height = this.size.height * scale;
    // One of several rows begins at once under its line; without lines the rows are aligned towards each other, as the
    // columns do.
    const row = this.lines.length > 0 && rows > 1 ? "start" : towardsGap(Math.floor(place / columns), rows);
    return {
      width,
      height,
      x: offsetInCell(this.centre.x, width, cell.width, towardsGap(place % columns, columns)),
      y: offsetInCell(this.centre.y, height, cell.height, row),
    };
  }

  #place() {
    if (!this.images) return;
    const ratio = window.devicePixelRatio;
    const rect = this.stage.getBoundingClientRect();
    const { cell, columns } = this.layout;
    const gap = Math.round(GAP_CSS * ratio);
    const line = this.#line;
    const whole = this.#box(0, this.scale);
    this.centre = {
      x: clampCentre(this.centre.x, whole.width, cell.width),
      y: clampCentre(this.centre.y, whole.height, cell.height),
    };
    this.panes.forEach((pane, place) => {
      // The stage itself may begin at a fraction of a device pixel; the pane's origin makes up for it.
      const snapX = Math.ceil(rect.left * ratio) - rect.left * ratio;
      const snapY = Math.ceil(rect.top * ratio) - rect.top * ratio;
      const paneX = snapX + (place % columns) * (cell.width + gap);
      const paneY = snapY + Math.floor(place / columns) * (cell.height + line + gap) + line;
      setBox(pane, paneX / ratio, paneY / ratio, cell.width / ratio, cell.height / ratio);
      const box = this.#box(place, this.scale);
      for (const image of pane.children) {
        setBox(/** @type {HTMLElement} */ (image),
          box.x / ratio, box.y / ratio, box.width / ratio, box.height / ratio);
      }
      const above = this.lines[place];
      if (!above) return;
      // Above its picture: as wide as what can be seen of it, and wide enough for its words.
      const width = Math.min(cell.width, Math.max(Math.min(box.width, cell.width), MIN_LINE_CSS * ratio));
      const middle = box.width >= cell.width ? cell.width / 2 : box.x + box.width / 2;
      const left = Math.max(0, Math.min(cell.width - width, middle - width / 2));
      above.style.left = `${(paneX + left) / ratio}px`;
      above.style.top = `${(paneY - line + Math.max(0, box.y)) / ratio}px`;
      above.style.width = `${width / ratio}px`;
    });
    // Below 1:1 there is nothing to keep pixel-exact; the browser's smooth reduction is the honest one.
    this.stage.classList.toggle("reduced", this.scale < 1);
    this.stage.classList.toggle("zoomed", this.zoomed || whole.width > cell.width || whole.height > cell.height);
    this.onChange();
  }
}

/**
 * Alignment of a picture that is smaller than its cell: towards the gap if there are two, and in the middle otherwise.
 * @param {number} at which row or column
 * @param {number} of how many
 * @returns {"start"|"middle"|"end"}
 */
function towardsGap(at, of) {
  return of !== 2 ? "middle" : at === 0 ? "end" : "start";
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
