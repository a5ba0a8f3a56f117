/** What can be said of a pair: the buttons in their order, the keys that press them, and what is sent. */

/** @typedef {"left"|"right"|"tie"|"skip"} Choice */
/** @typedef {"left"|"right"|"tie"|"skip"|"left_clearly"|"right_clearly"} OptionName */
/**
 * @typedef {object} Option
 * @property {OptionName} name also the action of its keys, and the button's `data-choice`
 * @property {Choice} choice
 * @property {1|2|null} strength 1 slightly, 2 clearly; null where the study does not ask, and for tie and skip
 * @property {string} [words] of the catalogue, where they are not those of the choice
 * @property {string} key shown on the button
 * @property {string} ariaKeys
 */

/**
 * The options of a study, from left to right. With a strength scale the arrows say "slightly" and the
 * digits count the buttons; Shift and an arrow move the pictures in every study and never answer.
 * @param {{allow_tie: boolean, allow_skip: boolean, strength?: boolean, design?: "preference"|"fidelity"|"ranking"}} study
 * @returns {Option[]}
 */
export function optionsOf({ allow_tie, allow_skip, strength = false, design = "preference" }) {
  /** @type {(Option|false)[]} */
  const options = [
    strength && { name: "left_clearly", choice: "left", strength: 2, key: "1", ariaKeys: "1" },
    strength
      ? { name: "left", choice: "left", strength: 1, key: "2", ariaKeys: "ArrowLeft 2" }
      : { name: "left", choice: "left", strength: null, key: "1", ariaKeys: "ArrowLeft 1" },
    allow_tie && {
      name: "tie", choice: "tie", strength: null, key: "0", ariaKeys: "ArrowDown 0",
      ...(design === "fidelity" && { words: "task.choice.not_sure" }),
    },
    strength
      ? { name: "right", choice: "right", strength: 1, key: "3", ariaKeys: "ArrowRight 3" }
      : { name: "right", choice: "right", strength: null, key: "2", ariaKeys: "ArrowRight 2" },
    strength && { name: "right_clearly", choice: "right", strength: 2, key: "4", ariaKeys: "4" },
    allow_skip && { name: "skip", choice: "skip", strength: null, key: "9", ariaKeys: "9" },
  ];
  return options.filter((option) => option !== false);
}

/**
 * What is sent for the options that a person chose.
 * @param {Record<string, Option>} chosen by question
 * @returns {{answers: Record<string, Choice>, strengths?: Record<string, number>}}
 */
export function answersOf(chosen) {
  const entries = Object.entries(chosen);
  const graded = entries.flatMap(([question, { strength }]) => (strength === null ? [] : [[question, strength]]));
  return {
    answers: Object.fromEntries(entries.map(([question, { choice }]) => [question, choice])),
    ...(graded.length > 0 && { strengths: Object.fromEntries(graded) }),
  };
}
