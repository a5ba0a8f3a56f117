/** The questions of a pair and the buttons that answer them. */

import { t } from "./text.js";

/** @typedef {"left"|"right"|"tie"|"skip"} Choice */
/** @typedef {"key"|"mouse"|"touch"} InputKind */

const KEY_OF = { left: "1", tie: "0", right: "2", skip: "9" };
const ARIA_KEYS = { left: "ArrowLeft 1", tie: "ArrowDown 0", right: "ArrowRight 2", skip: "9" };
const ARROW = { left: "M19 12H5m0 0 5-5m-5 5 5 5", right: "M5 12h14m0 0-5-5m5 5-5 5" };
const ARROW_STACKED = { left: "M12 19V5m0 0-5 5m5-5 5 5", right: "M12 5v14m0 0-5-5m5 5 5-5" };

export class Choices {
  /**
   * @param {HTMLElement} form
   * @param {(answers: Record<string, Choice>, input: InputKind) => void} onComplete every question is answered
   * @param {() => boolean} mayAnswer asked before each answer
   */
  constructor(form, onComplete, mayAnswer) {
    this.form = form;
    this.onComplete = onComplete;
    this.mayAnswer = mayAnswer;
    /** @type {{id: string, text: string}[]} */
    this.questions = [];
    /** @type {Record<string, Choice>} */
    this.answers = {};
    /** @type {Choice[]} */
    this.offered = [];
    this.stacked = false;
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /**
   * Build the rows; called once, when the study is known.
   * @param {{questions: {id: string, text: string}[], allow_tie: boolean, allow_skip: boolean}} study
   */
  build({ questions, allow_tie, allow_skip }) {
    this.questions = questions;
    this.offered = ["left", ...(allow_tie ? /** @type {const} */ (["tie"]) : []), "right",
      ...(allow_skip ? /** @type {const} */ (["skip"]) : [])];
    this.form.replaceChildren(...questions.map((question, index) => this.#row(question, index)));
    this.reset();
  }

  /** Forget the answers of the pair before. */
  reset() {
    this.answers = {};
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
   * @param {Choice} choice
   * @param {InputKind} input
   * @returns {boolean} whether the choice is offered
   */
  answerNext(choice, input) {
    const open = this.questions.find((question) => !(question.id in this.answers));
    if (!open || !this.offered.includes(choice)) return false;
    this.#answer(open.id, choice, input);
    return true;
  }

  /**
   * @param {string} question
   * @param {Choice} choice
   * @param {InputKind} input
   */
  #answer(question, choice, input) {
    if (!this.mayAnswer()) return;
    this.answers[question] = choice;
    this.#show();
    if (this.questions.every(({ id }) => id in this.answers)) this.onComplete({ ...this.answers }, input);
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
    for (const choice of this.offered) buttons.append(this.#button(question.id, choice));
    row.append(label, buttons);
    return row;
  }

  /**
   * @param {string} question
   * @param {Choice} choice
   * @returns {HTMLButtonElement}
   */
  #button(question, choice) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `choice choice-${choice}`;
    button.dataset.choice = choice;
    button.setAttribute("aria-keyshortcuts", ARIA_KEYS[choice]);
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
      this.#answer(question, choice, how);
    });
    return button;
  }

  #show() {
    const next = this.questions.find((question) => !(question.id in this.answers))?.id;
    for (const row of this.form.querySelectorAll(".question")) {
      const id = /** @type {HTMLElement} */ (row).dataset.question ?? "";
      row.classList.toggle("next", id === next);
      for (const button of row.querySelectorAll("button")) {
        const choice = /** @type {Choice} */ (button.dataset.choice);
        button.setAttribute("aria-pressed", String(this.answers[id] === choice));
        fill(button, choice, this.stacked);
      }
    }
  }
}

/**
 * @param {HTMLButtonElement} button
 * @param {Choice} choice
 * @param {boolean} stacked
 */
function fill(button, choice, stacked) {
  const side = choice === "left" ? (stacked ? "upper" : "left") : choice === "right" ? (stacked ? "lower" : "right") : choice;
  if (button.dataset.shown === side) return;
  button.dataset.shown = side;
  const text = document.createElement("span");
  text.textContent = t(`task.choice.${side}`);
  const key = document.createElement("kbd");
  key.textContent = KEY_OF[choice];
  key.setAttribute("aria-hidden", "true");
  const parts = /** @type {Node[]} */ ([text, key]);
  if (choice === "left") parts.unshift(arrow((stacked ? ARROW_STACKED : ARROW).left));
  if (choice === "right") parts.splice(1, 0, arrow((stacked ? ARROW_STACKED : ARROW).right));
  button.replaceChildren(...parts);
  if (choice === "skip") button.title = t("task.choice.skip_long");
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
