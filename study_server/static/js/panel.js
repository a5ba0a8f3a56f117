/** The panel that takes the stage's place: break, waiting, another tab, no connection, the end. */

import { byId } from "./announce.js";
import { clearHint } from "./status.js";
import { t, tn } from "./text.js";

/** @typedef {import("./api.js").Progress} Progress */
/**
 * @typedef {{heading: string, text: string, kind: string, extra?: string, button?: string, onButton?: () => void,
 *   second?: string, onSecond?: (() => void)|null}} PanelContent
 */

/** @type {(() => void)|null} */
let action = null;
/** @type {(() => void)|null} */
let secondAction = null;

/**
 * Show the panel and move the focus to its heading.
 * @param {PanelContent} content
 */
function showPanel({ heading, text, kind, extra = "", button, onButton, second, onSecond }) {
  clearHint(); // it was about the pair that stood here
  const title = byId("panel-heading");
  const same = panelShown() && title.textContent === heading;
  title.textContent = heading;
  byId("panel-text").textContent = text;
  byId("panel-extra").textContent = extra;
  byId("panel").dataset.kind = kind;
  const control = byId("panel-button");
  control.hidden = !button;
  control.textContent = button ?? "";
  const other = byId("panel-second");
  other.hidden = !second || !onSecond;
  other.textContent = second ?? "";
  action = onButton ?? null;
  secondAction = onSecond ?? null;
  byId("panel").hidden = false;
  document.body.classList.add("has-panel");
  document.body.classList.remove("loading");
  if (!same) title.focus();
}

export function hidePanel() {
  byId("panel").hidden = true;
  action = null;
  secondAction = null;
  document.body.classList.remove("has-panel");
}

/** @returns {boolean} */
export function panelShown() {
  return !byId("panel").hidden;
}

/** @returns {boolean} */
export function breakShown() {
  return panelShown() && byId("panel").dataset.kind === "break";
}

/** Wire the panel's buttons once. */
export function listenToPanel() {
  byId("panel-button").addEventListener("click", () => action?.());
  byId("panel-second").addEventListener("click", () => secondAction?.());
}

/**
 * @param {Progress} progress
 * @param {{onContinue: () => void, onUndo: (() => void)|null}} listeners onUndo is null without an answer to take back
 */
export function showBreak({ done, total }, { onContinue, onUndo }) {
  showPanel({
    heading: t("break.heading"), text: t("break.text"), extra: t("break.progress", { done, total }), kind: "break",
    button: t("break.continue"), onButton: onContinue, second: t("break.undo"), onSecond: onUndo,
  });
}

/**
 * What the next pictures do, before they do it. The still way is the first button for a flicker above 3 Hz.
 * @param {number} rate flashes per second
 * @param {boolean} faster whether that is more than the accessibility guidelines allow without consent
 * @param {(choice: "flicker"|"still") => void} onChoice
 */
export function showFlickerNotice(rate, faster, onChoice) {
  const flicker = { words: t(faster ? "flicker.agree_faster" : "flicker.on"), act: () => onChoice("flicker") };
  const still = { words: t("flicker.still"), act: () => onChoice("still") };
  const [first, second] = faster ? [still, flicker] : [flicker, still];
  showPanel({
    heading: t("flicker.heading"), text: t(faster ? "flicker.notice_faster" : "flicker.notice", { rate }), kind: "flicker",
    extra: t("flicker.any_time"), button: first.words, onButton: first.act, second: second.words, onSecond: second.act,
  });
}

/** No pair is free at the moment. */
export function showWaiting() {
  showPanel({ heading: t("waiting.heading"), text: t("waiting.text"), kind: "waiting" });
}

/**
 * There is nothing to judge before the answers kept here are stored: they are on their way, or cannot be sent just now.
 * @param {import("./outbox.js").Outbox} outbox
 */
export function showPending(outbox) {
  if (!outbox.failing) return showPanel({ heading: t("pending.heading"), text: t("pending.text"), kind: "pending" });
  showPanel({
    heading: t("connecting.heading"), text: tn("pending.offline", outbox.size), kind: "pending",
    button: t("save.now"), onButton: () => outbox.sendNow(),
  });
}

/** @param {() => void} onRetry */
export function showConnecting(onRetry) {
  showPanel({
    heading: t("connecting.heading"), text: t("connecting.text"), kind: "connecting",
    button: t("common.try_again"), onButton: onRetry,
  });
}

/** @param {() => void} onTakeOver */
export function showOtherTab(onTakeOver) {
  showPanel({
    heading: t("tab.heading"), text: t("tab.text"), kind: "other-tab",
    button: t("tab.take_over"), onButton: onTakeOver,
  });
}

/** This tab had the study, and another one has taken it over. */
export function showMoved() {
  showPanel({ heading: t("tab.moved.heading"), text: t("tab.moved.text"), kind: "other-tab" });
}

/** The owner has paused the study; the page asks again by itself. */
export function showPaused() {
  showPanel({ heading: t("message.paused.title"), text: t("paused.text"), kind: "paused" });
}

/** @param {() => void} onFinish leads to the last page, where the completion code is */
export function showClosed(onFinish) {
  showPanel({
    heading: t("message.closed.title"), text: t("closed.text"), kind: "closed",
    button: t("thanks.return_plain"), onButton: onFinish,
  });
}

/** @param {string} message the server's words, or empty */
export function showError(message) {
  showPanel({ heading: t("message.error.title"), text: message || t("message.error.text"), kind: "error" });
}
