/**
 * Several pictures put in order at once, in the place of `Choices`.
 *
 * The picture that is pressed next comes next, the best one first; "same place" before it puts it beside the one before.
 * The last picture ends the ranking. A picture that is pressed again is taken out of the order, with all that follow.
 */

import { announce, byId } from "./announce.js";
import { t } from "./text.js";

/** @typedef {import("./choices.js").InputKind} InputKind */
/** @typedef {import("./choices.js").Said} Said */

const LETTERS = "abcd";

export class Ranking {
  /**
   * @param {HTMLElement} form
   * @param {HTMLElement} stage holds a `.place` button above each picture
   * @param {object} listeners
   * @param {(said: {answers: Record<string, string>, rankings?: Record<string, string>}, input: InputKind) => void} listeners.onComplete
   * @param {(said: Said) => void} listeners.onAnswer one more picture has a place; so far
   * @param {() => boolean} listeners.mayAnswer asked before each answer
   * @param {(place: number) => void} listeners.onCurrent the picture that a swap shows
   */
  constructor(form, stage, { onComplete, onAnswer, mayAnswer, onCurrent }) {
    this.form = form;
    this.onComplete = onComplete;
    this.onAnswer = onAnswer;
    this.mayAnswer = mayAnswer;
    this.onCurrent = onCurrent;
    this.question = "";
    this.allowTie = false;
    this.allowSkip = false;
    /** @type {number[][]} groups of places, the best first */
    this.order = [];
    this.beside = false; // whether the next picture takes the place of the one before
    this.places = /** @type {HTMLButtonElement[]} */ ([...stage.querySelectorAll(".place")]);
    this.count = this.places.length; // of the pictures of this set
    form.addEventListener("submit", (event) => event.preventDefault());
    this.places.forEach((button, place) => {
      this.#listen(button, (input) => this.#pick(place, input));
      button.addEventListener("focus", () => onCurrent(place));
    });
    this.#listen(byId("ranking-tie"), (input) => this.answerNext("tie", input));
    this.#listen(byId("ranking-back"), () => this.back());
    this.#listen(byId("ranking-skip"), (input) => this.answerNext("skip", input));
  }

  /**
   * Called once, when the study is known.
   * @param {import("./api.js").Study} study
   */
  build(study) {
    this.question = study.questions[0].id;
    this.allowTie = study.allow_tie;
    this.allowSkip = study.allow_skip;
    byId("ranking-question").textContent = study.questions[0].text;
    byId("ranking-question").lang = study.questions[0].language;
    byId("ranking-tie").hidden = !study.allow_tie;
    byId("ranking-skip").hidden = !study.allow_skip;
    this.reset();
  }

  /**
   * Before `reset`: the smallest sets of a study have fewer pictures than its page has places.
   * @param {number} count
   */
  setCount(count) {
    this.count = count;
  }

  /**
   * Forget the order of the set before; show the one that this set has already.
   * @param {Said} [said]
   */
  reset(said = {}) {
    const text = said[this.question] ?? "";
    const known = /^[a-d]([>=][a-d])*$/.test(text);
    this.order = known ? text.split(">").map((group) => group.split("=").map((letter) => LETTERS.indexOf(letter))) : [];
    // A complete one came back by "undo": its last picture is open again, so that nothing is sent by itself.
    if (this.#placed.length === this.count) this.#takeLast();
    this.beside = false;
    this.#show();
  }

  /** @returns {Said} the order so far */
  get said() {
    return this.order.length > 0 ? { [this.question]: this.#text } : {};
  }

  /** @returns {boolean} */
  get awaitsDone() {
    return false;
  }

  /** @returns {string} the order in words */
  words() {
    return this.order.length > 0 ? this.#shown : t("task.choice.skip");
  }

  /** Letters are the same wherever the pictures are. */
  setStacked() {}

  /**
   * What a screen reader calls a picture.
   * @param {number} place
   * @returns {string}
   */
  pictureName(place) {
    return t("ranking.picture", { letter: letterOf(place) });
  }

  /** @param {boolean} enabled */
  setEnabled(enabled) {
    this.form.classList.toggle("inert", !enabled);
    for (const button of [...this.places, ...this.form.querySelectorAll("button")]) {
      button.setAttribute("aria-disabled", String(!enabled));
    }
  }

  /**
   * What a key says in this study.
   * @param {string} key
   * @returns {string|undefined}
   */
  nameOfKey(key) {
    if (key === "0") return "tie";
    if (key === "9") return "skip";
    const place = LETTERS.includes(key.toLowerCase()) ? LETTERS.indexOf(key.toLowerCase()) : Number(key) - 1;
    return place >= 0 && place < this.count ? LETTERS[place] : undefined;
  }

  /**
   * @param {string} name of a picture, or tie or skip
   * @param {InputKind} input
   */
  answerNext(name, input) {
    if (!this.mayAnswer()) return;
    if (name === "skip" && this.allowSkip) {
      this.order = [];
      this.#show();
      this.onComplete({ answers: { [this.question]: "skip" } }, input);
    } else if (name === "tie" && this.allowTie && this.order.length > 0) {
      this.beside = !this.beside;
      this.#show();
    } else if (LETTERS.includes(name) && name.length === 1) {
      this.#pick(LETTERS.indexOf(name), input);
    }
  }

  /** Take the last picture out of the order. */
  back() {
    if (!this.mayAnswer()) return;
    if (this.beside) this.beside = false;
    else this.#takeLast();
    this.#show();
    this.onAnswer(this.said);
  }

  /** A ranking is complete by itself. */
  finish() {}

  /**
   * @param {number} place
   * @param {InputKind} input
   */
  #pick(place, input) {
    if (place >= this.count || !this.mayAnswer()) return;
    this.onCurrent(place);
    if (this.#placed.includes(place)) {
      while (this.#placed.includes(place)) this.#takeLast();
    } else if (this.beside) this.order[this.order.length - 1].push(place);
    else this.order.push([place]);
    this.beside = false;
    this.#show();
    announce(t("ranking.order", { order: this.#shown }));
    this.onAnswer(this.said);
    if (this.#placed.length === this.count) {
      this.onComplete({ answers: {}, rankings: { [this.question]: this.#text } }, input);
    }
  }

  #takeLast() {
    this.order[this.order.length - 1]?.pop();
    this.order = this.order.filter((group) => group.length > 0);
  }

  /** @returns {number[]} */
  get #placed() {
    return this.order.flat();
  }

  /** @returns {string} as it is sent */
  get #text() {
    return this.order.map((group) => group.map((place) => LETTERS[place]).join("=")).join(">");
  }

  /** @returns {string} as it is read */
  get #shown() {
    return this.order.map((group) => group.map(letterOf).join(" = ")).join(" > ");
  }

  #show() {
    this.places.forEach((button, place) => {
      const at = this.order.findIndex((group) => group.includes(place));
      const letter = letterOf(place);
      button.setAttribute("aria-pressed", String(at >= 0));
      button.textContent = at < 0 ? letter : t("ranking.placed_short", { letter, n: at + 1 });
      button.setAttribute("aria-label", at < 0 ? this.pictureName(place) : t("ranking.placed", { letter, n: at + 1 }));
    });
    byId("ranking-order").textContent = this.#shown + (this.beside ? " =" : "");
    byId("ranking-tie").setAttribute("aria-pressed", String(this.beside));
    byId("ranking-tie").toggleAttribute("disabled", this.order.length === 0);
    byId("ranking-back").toggleAttribute("disabled", this.order.length === 0);
  }

  /**
   * @param {HTMLElement} button
   * @param {(input: InputKind) => void} onPress
   */
  #listen(button, onPress) {
    /** @type {InputKind} */
    let input = "key";
    button.addEventListener("pointerdown", (event) => {
      input = event.pointerType === "mouse" ? "mouse" : "touch";
    });
    // A mouse press leaves the focus where it is, so that Space goes on showing one picture in all places.
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", (event) => {
      if (event.detail > 1) return; // the second click of a double click would answer the set that has just appeared
      onPress(event.detail === 0 ? "key" : input);
    });
  }
}

/**
 * @param {number} place
 * @returns {string}
 */
function letterOf(place) {
  return LETTERS[place].toUpperCase();
}
