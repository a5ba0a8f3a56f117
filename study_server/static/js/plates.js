/**
 * The two pictures of the device check, drawn here so that no file name and no cache gives their answer away.
 *
 * The colour plate hides a number in dots that differ from their surroundings in hue (red against green) while the
 * lightness of every dot is random, in the manner of Ishihara (1917). The grey strips hold a few squares that
 * differ from the strip by some grey levels near black and near white.
 */

const NUMBERS = ["12", "26", "35", "47", "58", "62", "74", "83", "96"];
const FIGURE = [[214, 112, 72], [226, 138, 88], [200, 94, 62], [231, 156, 105]];
const GROUND = [[142, 160, 92], [122, 142, 82], [164, 176, 112], [134, 150, 100]];
const DOTS = 1500;
const LEVELS = { dark: { ground: 8, square: 18 }, light: { ground: 247, square: 237 } };

/**
 * @template T
 * @param {readonly T[]} items
 * @returns {T}
 */
function pick(items) {
  return items[Math.floor(Math.random() * items.length)];
}

/**
 * Draw a colour plate with a random two-digit number.
 * @param {HTMLCanvasElement} canvas square
 * @returns {{shown: string, offered: string[]}} the number, and the numbers to choose from in random order
 */
export function drawColourPlate(canvas) {
  const size = canvas.width;
  const shown = pick(NUMBERS);
  const inFigure = figureMask(size, shown);
  const context = context2d(canvas);
  context.fillStyle = "#efece2";
  context.fillRect(0, 0, size, size);
  /** @type {{x: number, y: number, r: number}[]} */
  const dots = [];
  for (let tries = 0; dots.length < DOTS && tries < 40_000; tries += 1) {
    // Large dots first, then ever smaller ones into the gaps.
    const r = size * (0.006 + 0.017 * Math.max(0, 1 - tries / 12_000) * Math.random());
    const angle = Math.random() * 2 * Math.PI;
    const distance = Math.sqrt(Math.random()) * (size / 2 - r);
    const x = size / 2 + distance * Math.cos(angle);
    const y = size / 2 + distance * Math.sin(angle);
    if (dots.some((dot) => Math.hypot(dot.x - x, dot.y - y) < dot.r + r + 1)) continue;
    dots.push({ x, y, r });
    const colour = pick(inFigure(x, y) ? FIGURE : GROUND);
    const light = 0.86 + 0.24 * Math.random(); // so that lightness tells nothing
    context.fillStyle = `rgb(${colour.map((part) => Math.min(255, Math.round(part * light))).join(" ")})`;
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fill();
  }
  const others = NUMBERS.filter((number) => number !== shown).sort(() => Math.random() - 0.5).slice(0, 4);
  return { shown, offered: [shown, ...others].sort() };
}

/**
 * Draw a strip with a random number of squares that are hard to see.
 * @param {HTMLCanvasElement} canvas
 * @param {"dark"|"light"} kind
 * @returns {number} how many squares there are, 2 to 6
 */
export function drawGreyStrip(canvas, kind) {
  const { ground, square } = LEVELS[kind];
  const count = 2 + Math.floor(Math.random() * 5);
  const context = context2d(canvas);
  context.fillStyle = `rgb(${ground} ${ground} ${ground})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = `rgb(${square} ${square} ${square})`;
  const places = 7;
  const step = canvas.width / places;
  const side = Math.min(step, canvas.height) * 0.55;
  const chosen = Array.from({ length: places }, (_, place) => place).sort(() => Math.random() - 0.5).slice(0, count);
  for (const place of chosen) {
    context.fillRect(step * place + (step - side) / 2, (canvas.height - side) / 2, side, side);
  }
  return count;
}

/**
 * @param {number} size
 * @param {string} text
 * @returns {(x: number, y: number) => boolean} whether a point is in the digits
 */
function figureMask(size, text) {
  const canvas = document.createElement("canvas");
  canvas.width = size;
  canvas.height = size;
  const context = context2d(canvas, true);
  context.font = `bold ${Math.round(size * 0.56)}px Arial, "Liberation Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, size / 2, size * 0.53);
  const { data } = context.getImageData(0, 0, size, size);
  return (x, y) => data[(Math.floor(y) * size + Math.floor(x)) * 4 + 3] > 128;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {boolean} [read]
 * @returns {CanvasRenderingContext2D}
 */
function context2d(canvas, read = false) {
  const context = canvas.getContext("2d", { willReadFrequently: read });
  if (!context) throw new Error("this browser draws no canvas");
  return context;
}
