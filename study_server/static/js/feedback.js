/**
 * What practice says after an answer: right or not, what was answered, and why. The pictures stay on the stage, the words
 * cover the buttons. The buttons keep their room, unseen: if the band changed its height, the pictures would be laid
 * out anew under the person's eyes.
 */

import { announce, byId } from "./announce.js";
import { t } from "./text.js";

/** @type {(() => void)|null} */
let next = null;

/** Wire the button once. */
export function listenToFeedback() {
  byId("feedback-next").addEventListener("click", () => {
    byId("feedback").hidden = true;
    byId("choices").classList.remove("covered");
    byId("stage").focus({ preventScroll: true });
    next?.();
  });
}

/**
 * Show the words and move the focus to the button that goes on.
 * @param {{correct: boolean, text: string}} feedback
 * @param {string} answer in words
 * @param {() => void} onNext
 */
export function showFeedback({ correct, text }, answer, onNext) {
  next = onNext;
  const title = t(correct ? "feedback.right" : "feedback.wrong");
  const chose = t("feedback.chose", { answer });
  byId("feedback-title").textContent = title;
  byId("feedback-answer").textContent = chose;
  byId("feedback-text").textContent = text;
  byId("choices").classList.add("covered");
  byId("feedback").hidden = false;
  byId("feedback-next").focus();
  announce(`${title}. ${chose} ${text}`);
}
