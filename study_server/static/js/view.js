/**
 * The geometry of the stage, as functions of numbers. Scales are DEVICE pixels per picture pixel.
 *
 * A whole-number scale maps every picture pixel to the same number of screen pixels, so nothing is
 * resampled: that is the rule at rest whenever the pictures fit at 1:1 or larger. Only pictures larger than the
 * window start at a fraction, and zooming takes them to 1:1 and above. Centres are fractions (0 to 1) of a picture.
 */

/** @typedef {{width: number, height: number}} Size */
/**
 * @typedef {{layout: "side"|"stacked"|"grid", columns: number, rows: number, cell: Size, scale: number}} Layout sizes in
 *   device pixels; a cell is the room of one picture, without the line above it
 */

const MAX_SCALE = 64;

/**
 * The largest scale at which the picture fits the cell; a whole number when that is at least 1.
 * @param {Size} picture in picture pixels
 * @param {Size} cell in device pixels
 * @returns {number}
 */
export function fitScale(picture, cell) {
  const scale = Math.min(cell.width / picture.width, cell.height / picture.height);
  return scale >= 1 ? Math.floor(scale) : scale;
}

/**
 * Side by side, stacked or in rows, whichever shows the pictures larger; when equal, the one that leaves more room to
 * zoom, and then the one with fewer rows.
 * @param {Size} picture
 * @param {Size} stage in device pixels
 * @param {number} gap between the pictures, in device pixels
 * @param {number} [count] of pictures
 * @param {number} [line] height of the line above each picture, in device pixels
 * @returns {Layout}
 */
export function chooseLayout(picture, stage, gap, count = 2, line = 0) {
  const room = (/** @type {Size} */ cell) => Math.min(cell.width / picture.width, cell.height / picture.height);
  /** @type {Layout|null} */
  let best = null;
  for (let columns = count; columns > 0; columns -= 1) {
    const rows = Math.ceil(count / columns);
    const cell = {
      width: Math.max(1, Math.floor((stage.width - gap * (columns - 1)) / columns)),
      height: Math.max(1, Math.floor((stage.height - gap * (rows - 1)) / rows) - line),
    };
    const scale = fitScale(picture, cell);
    if (best && (scale < best.scale || (scale === best.scale && room(cell) <= room(best.cell)))) continue;
    best = { layout: rows === 1 ? "side" : columns === 1 ? "stacked" : "grid", columns, rows, cell, scale };
  }
  return /** @type {Layout} */ (best);
}

/**
 * The scales that + and - step through: the fitting one, then whole numbers about half as large again each.
 * @param {number} fit
 * @returns {number[]} ascending
 */
export function scaleSteps(fit) {
  const steps = [fit];
  let scale = fit;
  while (scale < Math.min(MAX_SCALE, Math.max(8, fit * 12))) {
    scale = scale < 1 ? 1 : Math.max(scale + 1, Math.round(scale * 1.5));
    steps.push(scale);
  }
  return steps;
}

/**
 * The step nearest to a scale, compared as ratios.
 * @param {number[]} steps
 * @param {number} scale
 * @returns {number}
 */
export function nearestStep(steps, scale) {
  return steps.reduce((best, step) =>
    Math.abs(Math.log(step / scale)) < Math.abs(Math.log(best / scale)) ? step : best);
}

/**
 * The next step up or down from a scale that may be between steps.
 * @param {number[]} steps
 * @param {number} scale
 * @param {1|-1} direction
 * @returns {number}
 */
export function neighbourStep(steps, scale, direction) {
  const slack = 1e-6;
  if (direction > 0) return steps.find((step) => step > scale + slack) ?? steps[steps.length - 1];
  return [...steps].reverse().find((step) => step < scale - slack) ?? steps[0];
}

/**
 * Keep the view inside the picture along one axis: a picture that fits is centred, a larger one leaves no empty edge.
 * @param {number} centre
 * @param {number} length of the scaled picture, device pixels
 * @param {number} cell device pixels
 * @returns {number}
 */
export function clampCentre(centre, length, cell) {
  if (length <= cell) return 0.5;
  const margin = cell / 2 / length;
  return Math.min(1 - margin, Math.max(margin, centre));
}

/**
 * Where the scaled picture begins inside its cell, in whole device pixels.
 * @param {number} centre
 * @param {number} length
 * @param {number} cell
 * @param {"start"|"middle"|"end"} align place of a picture that is smaller than the cell
 * @returns {number}
 */
export function offsetInCell(centre, length, cell, align) {
  if (length <= cell) {
    const room = cell - length;
    return align === "start" ? 0 : Math.round(align === "end" ? room : room / 2);
  }
  return Math.round(cell / 2 - clampCentre(centre, length, cell) * length);
}

/**
 * The centre that keeps the picture point under `at` where it is when the scale changes.
 * @param {number} at position in the cell, device pixels
 * @param {number} offset of the picture before
 * @param {number} length before
 * @param {number} newLength
 * @param {number} cell
 * @returns {number}
 */
export function centreKeeping(at, offset, length, newLength, cell) {
  const point = Math.min(1, Math.max(0, (at - offset) / length));
  return (cell / 2 - (at - point * newLength)) / newLength;
}
