/**
 * The questions of a pair and their answers.
 *
 * The answers are on the pictures' midline, each question above its own. If all questions would take too much of the
 * window, they are shown one at a time, in a place of one size, so that the pictures never move. Answers that come
 * back (undo, a reload) are shown as they were; complete ones are sent again only when the person says so.
 */

import { answerButton, fillButton, wordsOf } from "./answer-button.js";
import { byId } from "./announce.js";
import { answersOf, optionsOf } from "./options.js";
import { t } from "./text.js";

/** @typedef {import("./options.js").Choice} Choice */
/** @typedef {import("./options.js").Option} Option */
/** @typedef {import("./options.js").OptionName} OptionName */
/** @typedef {"key"|"mouse"|"touch"} InputKind */
/** @typedef {Record<string, string>} Said by question: the name of an option, or the order of pictures so far */

// Height of a question with its answers, in rem; the share of the window that all of them may take together.
const ROW_REM = { wide: 5, narrow: 7 };
const NARROW_REM = 52;
const LARGEST_SHARE = 0.3;

export class Choices {
  /**
   * @param {HTMLElement} form
   * @param {object} listeners
   * @param {(said: {answers: Record<string, Choice>}, input: InputKind) => void} listeners.onComplete every question is answered
   * @param {(said: Said) => void} listeners.onAnswer one more is; so far
   * @param {() => boolean} listeners.mayAnswer asked before each answer
   */
  constructor(form, { onComplete, onAnswer, mayAnswer }) {
    this.form = form;
    this.onComplete = onComplete;
    this.onAnswer = onAnswer;
    this.mayAnswer = mayAnswer;
    /** @type {import("./api.js").Question[]} */
    this.questions = [];
    /** @type {Record<string, Option>} */
    this.chosen = {};
    /** @type {Option[]} */
    this.options = [];
    this.current = 0; // the question that the keys answer, and the one shown where they come one at a time
    this.cameBack = false;
    this.stacked = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    byId("question-back").addEventListener("click", () => this.#goTo(this.current - 1));
    byId("question-forward").addEventListener("click", () => this.#goTo(this.current + 1));
    byId("answers-done").addEventListener("click", (event) => this.finish(event.detail === 0 ? "key" : "mouse"));
    window.addEventListener("resize", () => this.#arrange());
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
    const rows = study.questions.map((question, index) => this.#row(question, index));
    byId("questions").replaceChildren(...rows);
    this.#arrange();
    this.reset();
  }

  /**
   * Forget the answers of the pair before; show those that this pair has already.
   * @param {Said} [said]
   */
  reset(said = {}) {
    this.chosen = {};
    for (const { id } of this.questions) {
      const option = this.options.find(({ name }) => name === said[id]);
      if (option) this.chosen[id] = option;
    }
    this.cameBack = this.#complete;
    this.current = Math.max(0, this.questions.findIndex(({ id }) => !(id in this.chosen)));
    this.#show();
  }

  /** @returns {Said} */
  get said() {
    return Object.fromEntries(Object.entries(this.chosen).map(([id, { name }]) => [id, name]));
  }

  /** @returns {string} the answers in words, in the order of the questions */
  words() {
    const chosen = this.questions.flatMap(({ id }) => this.chosen[id] ?? []);
    return chosen.map((option) => wordsOf(option, this.stacked).join(" ")).join(", ");
  }

  /** @returns {boolean} whether the answers wait for the person to say that they are done */
  get awaitsDone() {
    return this.cameBack && this.questions.length > 1;
  }

  /** A pair has two pictures, whatever its page. */
  setCount() {}

  /**
   * Name the sides by their places.
   * @param {boolean} stacked
   */
  setStacked(stacked) {
    if (stacked === this.stacked) return;
    this.stacked = stacked;
    this.#show();
  }

  /**
   * What a screen reader calls a picture.
   * @param {number} place
   * @returns {string}
   */
  pictureName(place) {
    const names = this.stacked ? ["upper", "lower"] : ["left", "right"];
    return t(`task.picture.${names[place]}`);
  }

  /** @param {boolean} enabled */
  setEnabled(enabled) {
    this.form.classList.toggle("inert", !enabled);
    for (const button of this.form.querySelectorAll("button")) button.setAttribute("aria-disabled", String(!enabled));
  }

  /**
   * Answer the current question.
   * @param {string} name of an option
   * @param {InputKind} input
   */
  answerNext(name, input) {
    const option = this.options.find((one) => one.name === name);
    if (option && this.questions[this.current]) this.#answer(this.current, option, input);
  }

  /**
   * Send answers that came back, changed or not.
   * @param {InputKind} input
   */
  finish(input) {
    if (this.awaitsDone && this.mayAnswer()) this.onComplete(answersOf(this.chosen), input);
  }

  /**
   * The option that a digit means in this study.
   * @param {string} key
   * @returns {OptionName|undefined}
   */
  nameOfKey(key) {
    return this.options.find((option) => option.key === key)?.name;
  }

  /** @returns {boolean} */
  get #complete() {
    return this.questions.length > 0 && this.questions.every(({ id }) => id in this.chosen);
  }

  /**
   * @param {number} index of the question
   * @param {Option} option
   * @param {InputKind} input
   */
  #answer(index, option, input) {
    if (!this.mayAnswer()) return;
    this.chosen[this.questions[index].id] = option;
    const open = this.questions.findIndex(({ id }) => !(id in this.chosen));
    this.current = open >= 0 ? open : Math.min(index + 1, this.questions.length - 1);
    this.#show();
    this.onAnswer(this.said);
    if (open < 0 && !this.awaitsDone) this.onComplete(answersOf(this.chosen), input);
  }

  /** @param {number} index */
  #goTo(index) {
    this.current = Math.min(this.questions.length - 1, Math.max(0, index));
    this.#show();
  }

  /**
   * @param {import("./api.js").Question} question
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
    label.lang = question.language;
    label.textContent = question.text;
    row.setAttribute("aria-labelledby", label.id);
    const buttons = document.createElement("div");
    buttons.className = "choice-buttons";
    buttons.dir = "ltr"; // left stays left in every language
    const sides = document.createElement("div");
    sides.className = "choice-sides";
    buttons.append(sides);
    for (const option of this.options) {
      const button = answerButton(option, (input) => this.#answer(index, option, input));
      (option.name === "skip" ? buttons : sides).append(button); // the middle belongs to the answers about the pictures
    }
    row.append(label, buttons);
    return row;
  }

  /** Answers are taken back one by one in rankings only. */
  back() {}

  /** Show all questions, or one at a time where all of them would take the room of the pictures. */
  #arrange() {
    const count = this.questions.length;
    const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const narrow = window.innerWidth <= NARROW_REM * rem;
    const height = count * (narrow ? ROW_REM.narrow : ROW_REM.wide) * rem;
    this.form.classList.toggle("one-at-a-time", count > 1 && height > window.innerHeight * LARGEST_SHARE);
  }

  #show() {
    this.form.querySelectorAll(".question").forEach((row, index) => {
      const { id } = this.questions[index];
      row.classList.toggle("current", index === this.current);
      for (const button of row.querySelectorAll("button")) {
        const option = this.options.find(({ name }) => name === button.dataset.choice);
        if (!option) continue;
        button.setAttribute("aria-pressed", String(this.chosen[id] === option));
        fillButton(button, option, this.stacked);
      }
    });
    const total = this.questions.length;
    byId("question-count").textContent = total > 1 ? t("task.question_count", { n: this.current + 1, total }) : "";
    byId("question-back").toggleAttribute("disabled", this.current === 0);
    byId("question-forward").toggleAttribute("disabled", this.current >= total - 1);
    byId("answers-done").hidden = !this.awaitsDone;
  }
}
