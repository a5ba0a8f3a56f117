/** What each key means on the pair page. */

/**
 * @typedef {"left"|"right"|"tie"|"digit"|"back"|"done"|"undo"|"swap"|"flicker"|"zoom_in"|"zoom_out"|"reset"|"help"
 *   |"pan_left"|"pan_right"|"pan_up"|"pan_down"} Action
 */

const STORED = "single-keys";

/** @type {Record<string, Action>} */
const PLAIN = {
  ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie",
  0: "digit", 1: "digit", 2: "digit", 3: "digit", 4: "digit", 9: "digit", // what a digit says is the study's matter
  a: "digit", b: "digit", c: "digit", d: "digit", A: "digit", B: "digit", C: "digit", D: "digit", // and a picture's letter
  Backspace: "back", Enter: "done", z: "undo", Z: "undo", " ": "swap", "+": "zoom_in", "=": "zoom_in", "-": "zoom_out", "−": "zoom_out", _: "zoom_out",
  r: "reset", R: "reset", f: "flicker", F: "flicker", "?": "help",
};

/** @type {Record<string, Action>} */
const SHIFTED = { ArrowLeft: "pan_left", ArrowRight: "pan_right", ArrowUp: "pan_up", ArrowDown: "pan_down" };

/**
 * The action of a key event, or null when the key belongs to the browser or to the focused element.
 * @param {KeyboardEvent} event
 * @returns {Action|null}
 */
export function actionOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return null;
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest("input, select, textarea, dialog, [contenteditable]")) return null;
  // On a focused control Space and Enter press it, and in the prompt the arrows scroll, as people expect.
  if ((event.key === " " || event.key === "Enter") && target?.closest("button, summary, a")) return null;
  if (event.key.startsWith("Arrow") && target?.closest("#prompt-text")) return null;
  const shifted = event.shiftKey ? SHIFTED[event.key] : undefined;
  if (event.shiftKey && event.key.startsWith("Arrow")) return shifted ?? null;
  return PLAIN[event.key] ?? null;
}

/** @returns {boolean} whether single keys act (WCAG 2.1.4: they can be switched off) */
export function singleKeysOn() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true; // storage is blocked: the switch then lasts as long as the page
  }
}

/** @param {boolean} on */
export function rememberSingleKeys(on) {
  try {
    localStorage.setItem(STORED, on ? "on" : "off");
  } catch {
    // Not remembered; the checkbox itself still holds for this page.
  }
}
