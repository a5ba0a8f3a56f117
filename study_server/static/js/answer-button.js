/** The button of one answer: words, arrow and key cap, by the place of its picture. */

import { t } from "./text.js";

/** @typedef {import("./options.js").Option} Option */
/** @typedef {import("./choices.js").InputKind} InputKind */

const ARROWS = {
  left: "M19 12H5m0 0 5-5m-5 5 5 5", right: "M5 12h14m0 0-5-5m5 5-5 5",
  upper: "M12 19V5m0 0-5 5m5-5 5 5", lower: "M12 5v14m0 0-5-5m5 5 5-5",
};
const DOUBLE_ARROWS = {
  left: "M12 7l-5 5 5 5M19 7l-5 5 5 5", right: "M12 7l5 5-5 5M5 7l5 5-5 5",
  upper: "M7 12l5-5 5 5M7 19l5-5 5 5", lower: "M7 12l5 5 5-5M7 5l5 5 5-5",
};
const STACKED = /** @type {const} */ ({ left: "upper", right: "lower" });

/**
 * @param {Option} option
 * @param {(input: InputKind) => void} onPress
 * @returns {HTMLButtonElement}
 */
export function answerButton(option, onPress) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `choice choice-${option.name.replace("_", "-")}`;
  button.dataset.choice = option.name;
  button.setAttribute("aria-keyshortcuts", option.ariaKeys);
  /** @type {InputKind} */
  let input = "key";
  button.addEventListener("pointerdown", (event) => {
    input = event.pointerType === "mouse" ? "mouse" : "touch";
  });
  // A mouse press must not take the focus: Space would then press the button instead of swapping the pictures.
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", (event) => {
    // The second click of a double click would answer the pair, or the question, that has just appeared.
    if (event.detail > 1) return;
    onPress(event.detail === 0 ? "key" : input);
  });
  return button;
}

/**
 * Words, arrow and key of a button.
 * @param {HTMLButtonElement} button
 * @param {Option} option
 * @param {boolean} stacked whether the pictures are one above the other
 */
export function fillButton(button, option, stacked) {
  const { choice, strength, key } = option;
  const side = choice === "left" || choice === "right" ? (stacked ? STACKED[choice] : choice) : null;
  const shown = side ?? choice;
  if (button.dataset.shown === shown) return;
  button.dataset.shown = shown;
  const words = document.createElement("span");
  words.className = "choice-words";
  const [first, second] = wordsOf(option, stacked);
  words.append(span(first), ...(second ? [" ", span(second)] : []));
  const cap = document.createElement("kbd");
  cap.textContent = key;
  cap.setAttribute("aria-hidden", "true");
  const parts = /** @type {Node[]} */ ([words, cap]);
  if (side) parts.splice(choice === "left" ? 0 : 1, 0, arrow((strength === 2 ? DOUBLE_ARROWS : ARROWS)[side]));
  button.replaceChildren(...parts);
  if (choice === "skip") button.title = t("task.choice.skip_long");
}

/**
 * What an answer is called: the side or the choice, and how much better where the study asks.
 * @param {Option} option
 * @param {boolean} stacked
 * @returns {string[]}
 */
export function wordsOf({ choice, strength, words: own }, stacked) {
  if (own) return [t(own)];
  const shown = stacked && (choice === "left" || choice === "right") ? STACKED[choice] : choice;
  const words = [t(`task.choice.${shown}`)];
  if (strength !== null) words.push(t(`task.choice.${strength === 2 ? "clearly" : "slightly"}`));
  return words;
}

/**
 * @param {string} text
 * @returns {HTMLSpanElement}
 */
function span(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element;
}

/**
 * @param {string} path
 * @returns {SVGElement}
 */
function arrow(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
