/** The page's signs: progress, time left, what is saved and what is not, short hints. */

import { t, tn } from "./text.js";
import { byId } from "./announce.js";

/** @typedef {import("./api.js").Progress} Progress */
/** @typedef {import("./outbox.js").OutboxState} OutboxState */

const HINT_MS = 5_000;
const SAVED_MS = 1_500;
const SLOW_MS = 700;
let hintTimer = 0;
let saveTimer = 0;

/**
 * @param {Progress} progress as the server last said
 * @param {number} waiting answers given since, not acknowledged yet
 * @param {boolean} practice
 * @param {import("./pace.js").Pace} pace
 */
export function showProgress(progress, waiting, practice, pace) {
  const done = Math.min(progress.total, progress.done + waiting);
  const share = progress.total > 0 ? done / progress.total : 0;
  const bar = byId("progress-bar");
  bar.setAttribute("aria-valuemax", String(progress.total));
  bar.setAttribute("aria-valuenow", String(done));
  byId("progress-fill").style.width = `${share * 100}%`;
  byId("practice-tag").hidden = !practice;
  const left = progress.practice_left;
  byId("progress-text").textContent = practice && left
    ? tn("task.progress.practice", left) : t("task.progress", { done, total: progress.total });
  const seconds = pace.secondsLeft(progress.total - done, progress.limit_seconds_left);
  byId("time-left").textContent = practice ? "" : timeLeft(seconds);
}

/**
 * @param {number} seconds
 * @returns {string}
 */
function timeLeft(seconds) {
  if (seconds <= 0) return "";
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? t("task.time_left.soon") : tn("task.time_left", minutes);
}

/**
 * The truth about what is stored: quiet while things go well, plain when they do not.
 * @param {OutboxState} state
 * @param {number} size answers not acknowledged
 * @param {boolean} durable whether this device keeps them over a reload
 */
export function showSaving(state, size, durable) {
  clearTimeout(saveTimer);
  const status = byId("save-status");
  byId("save-now").hidden = state !== "retrying" && state !== "offline";
  status.classList.toggle("warning", state === "retrying" || state === "offline");
  if (state === "sending") {
    // An answer is usually stored before this could be read; only a slow one is worth a word.
    saveTimer = window.setTimeout(() => set(status, t("save.saving")), SLOW_MS);
  } else if (state === "idle") {
    if (status.textContent) {
      set(status, t("save.saved"));
      saveTimer = window.setTimeout(() => set(status, ""), SAVED_MS);
    }
  } else {
    const text = tn(state === "offline" ? "save.offline" : "save.retry", size);
    set(status, durable ? text : `${text} ${t("save.memory_only")}`);
  }
}

/** @param {string} text */
export function showRefusal(text) {
  set(byId("save-status"), text);
}

/**
 * A sentence that goes away by itself.
 * @param {string} text
 */
export function showHint(text) {
  clearTimeout(hintTimer);
  byId("hint").textContent = text;
  hintTimer = window.setTimeout(() => {
    byId("hint").textContent = "";
  }, HINT_MS);
}

/**
 * Take the hint away when its cause is gone.
 * @param {string} [text] only this hint; whichever is shown, when absent
 */
export function clearHint(text) {
  const hint = byId("hint");
  if (text !== undefined && hint.textContent !== text) return;
  clearTimeout(hintTimer);
  hint.textContent = "";
}

/**
 * The scale in words: 1:1, 4×, or a percentage for reduced pictures.
 * @param {number} scale device pixels per picture pixel
 * @returns {string}
 */
export function scaleText(scale) {
  if (Math.abs(scale - 1) < 1e-6) return t("task.scale.native");
  if (scale > 1) return t("task.scale.times", { n: Math.round(scale * 100) / 100 });
  return t("task.scale.percent", { n: Math.round(scale * 100) });
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text; // a repeated text would be read out again
}
