/** The questions of a pair and the buttons that answer them. */

import { answersOf, optionsOf } from "./options.js";
import { t } from "./text.js";

/** @typedef {import("./options.js").Choice} Choice */
/** @typedef {import("./options.js").Option} Option */
/** @typedef {import("./options.js").OptionName} OptionName */
/** @typedef {"key"|"mouse"|"touch"} InputKind */

const ARROWS = {
  left: "M19 12H5m0 0 5-5m-5 5 5 5", right: "M5 12h14m0 0-5-5m5 5-5 5",
  upper: "M12 19V5m0 0-5 5m5-5 5 5", lower: "M12 5v14m0 0-5-5m5 5 5-5",
};
const DOUBLE_ARROWS = {
  left: "M12 7l-5 5 5 5M19 7l-5 5 5 5", right: "M12 7l5 5-5 5M5 7l5 5-5 5",
  upper: "M7 12l5-5 5 5M7 19l5-5 5 5", lower: "M7 12l5 5 5-5M7 5l5 5 5-5",
};
const STACKED = /** @type {const} */ ({ left: "upper", right: "lower" });

export class Choices {
  /**
   * @param {HTMLElement} form
   * @param {(said: {answers: Record<string, Choice>}, input: InputKind) => void} onComplete every question is answered
   * @param {() => boolean} mayAnswer asked before each answer
   */
  constructor(form, onComplete, mayAnswer) {
    this.form = form;
    this.onComplete = onComplete;
    this.mayAnswer = mayAnswer;
    /** @type {{id: string, text: string}[]} */
    this.questions = [];
    /** @type {Record<string, Option>} */
    this.chosen = {};
    /** @type {Option[]} */
    this.options = [];
    this.stacked = false;
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /**
   * Build the rows; called once, when the study is known.
   * @param {import("./api.js").Study} study
   */
  build(study) {
    this.questions = study.questions;
    this.options = optionsOf(study);
    this.form.classList.toggle("graded", study.strength);
    this.form.classList.toggle("several", study.questions.length > 1);
    this.form.replaceChildren(...study.questions.map((question, index) => this.#row(question, index)));
    this.reset();
  }

  /** Forget the answers of the pair before. */
  reset() {
    this.chosen = {};
    this.#show();
  }

  /**
   * Name the sides by where they lie.
   * @param {boolean} stacked
   */
  setStacked(stacked) {
    if (stacked === this.stacked) return;
    this.stacked = stacked;
    this.#show();
  }

  /** @param {boolean} enabled */
  setEnabled(enabled) {
    this.form.classList.toggle("inert", !enabled);
    for (const button of this.form.querySelectorAll("button")) button.setAttribute("aria-disabled", String(!enabled));
  }

  /**
   * Answer the first open question.
   * @param {OptionName} name
   * @param {InputKind} input
   */
  answerNext(name, input) {
    const open = this.questions.find((question) => !(question.id in this.chosen));
    const option = this.options.find((one) => one.name === name);
    if (open && option) this.#answer(open.id, option, input);
  }

  /**
   * The option that a digit stands for in this study.
   * @param {string} key
   * @returns {OptionName|undefined}
   */
  nameOfKey(key) {
    return this.options.find((option) => option.key === key)?.name;
  }

  /**
   * @param {string} question
   * @param {Option} option
   * @param {InputKind} input
   */
  #answer(question, option, input) {
    if (!this.mayAnswer()) return;
    this.chosen[question] = option;
    this.#show();
    if (this.questions.every(({ id }) => id in this.chosen)) this.onComplete(answersOf(this.chosen), input);
  }

  /**
   * @param {{id: string, text: string}} question
   * @param {number} index
   * @returns {HTMLElement}
   */
  #row(question, index) {
    const row = document.createElement("div");
    row.className = "question";
    row.dataset.question = question.id;
    row.setAttribute("role", "group");
    const label = document.createElement("p");
    label.id = `question-${index}`;
    label.className = "question-text";
    label.dir = "auto";
    label.textContent = question.text;
    row.setAttribute("aria-labelledby", label.id);
    const buttons = document.createElement("div");
    buttons.className = "choice-buttons";
    buttons.dir = "ltr"; // left stays left in every language
    for (const option of this.options) buttons.append(this.#button(question.id, option));
    row.append(label, buttons);
    return row;
  }

  /**
   * @param {string} question
   * @param {Option} option
   * @returns {HTMLButtonElement}
   */
  #button(question, option) {
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
      const how = event.detail === 0 ? "key" : input;
      // The second click of a double click would answer the pair that has just appeared.
      if (event.detail > 1) return;
      this.#answer(question, option, how);
    });
    return button;
  }

  #show() {
    const next = this.questions.find((question) => !(question.id in this.chosen))?.id;
    for (const row of this.form.querySelectorAll(".question")) {
      const id = /** @type {HTMLElement} */ (row).dataset.question ?? "";
      row.classList.toggle("next", id === next);
      for (const button of row.querySelectorAll("button")) {
        const option = this.options.find(({ name }) => name === button.dataset.choice);
        if (!option) continue;
        button.setAttribute("aria-pressed", String(this.chosen[id] === option));
        fill(button, option, this.stacked);
      }
    }
  }
}

/**
 * Words, arrow and key of a button, by where its picture lies.
 * @param {HTMLButtonElement} button
 * @param {Option} option
 * @param {boolean} stacked
 */
function fill(button, { choice, strength, key }, stacked) {
  const side = choice === "left" || choice === "right" ? (stacked ? STACKED[choice] : choice) : null;
  const shown = side ?? choice;
  if (button.dataset.shown === shown) return;
  button.dataset.shown = shown;
  const words = document.createElement("span");
  words.className = "choice-words";
  words.append(span(t(`task.choice.${shown}`)));
  if (strength !== null) words.append(" ", span(t(`task.choice.${strength === 2 ? "clearly" : "slightly"}`)));
  const cap = document.createElement("kbd");
  cap.textContent = key;
  cap.setAttribute("aria-hidden", "true");
  const parts = /** @type {Node[]} */ ([words, cap]);
  if (side) parts.splice(choice === "left" ? 0 : 1, 0, arrow((strength === 2 ? DOUBLE_ARROWS : ARROWS)[side]));
  button.replaceChildren(...parts);
  if (choice === "skip") button.title = t("task.choice.skip_long");
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
