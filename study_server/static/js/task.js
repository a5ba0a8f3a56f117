/** The pair page: words, one tab only, controls, then the session of the session. */

import { byId } from "./announce.js";
import { base } from "./api.js";
import { TaskSession } from "./session.js";
import { Flicker } from "./flicker.js";
import { listenToGestures } from "./gestures.js";
import { actionOf, rememberSingleKeys, singleKeysOn } from "./keys.js";
import { markOverflow } from "./overflow.js";
import { breakShown, listenToPanel, panelShown, showMoved, showOtherTab } from "./panel.js";
import { clearHint, scaleText } from "./status.js";
import { claimTab } from "./tabs.js";
import { loadTexts, t } from "./text.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./keys.js").Action} Action */

const PAN_SHARE = 0.15; // of the pane, for each press of an arrow
const TAP_MS = 250;

const stage = byId("stage");
const help = /** @type {HTMLDialogElement} */ (byId("help"));
const viewer = new Viewer(stage, () => reflectView());
const flicker = new Flicker(viewer, () => reflectFlicker());
const session = new TaskSession(viewer, flicker);

await loadTexts();
listenToPanel();
listenToGestures(stage, viewer);
listenToKeys();
listenToToolbar();
listenToHelp();
listenToComparing();
markOverflow(byId("prompt-text"));
markOverflow(byId("feedback-words"));
await start(new URLSearchParams(location.search).has("take_over"));

/**
 * Claim the study for this tab and enter it; a second tab gets a clear page instead.
 * @param {boolean} takeOver
 */
async function start(takeOver) {
  if (takeOver) history.replaceState(null, "", `${base()}/task`);
  const claim = await claimTab(base(), moved, { takeOver });
  if (claim) await session.enter({ takeOver });
  else showOtherTab(() => void start(true));
}

function moved() {
  session.stop();
  showMoved();
}

/**
 * @param {Action} action
 * @param {string} key
 */
function act(action, key) {
  switch (action) {
    case "left": case "right": case "tie": case "digit": {
      const name = action === "digit" ? session.choices.nameOfKey(key) : action;
      if (name && session.mayAnswer()) session.choices.answerNext(name, "key");
      return;
    }
    case "back": return session.choices.back();
    case "done": return session.choices.finish("key");
    case "undo": return void session.undo();
    case "swap": return viewer.setSwapped(true);
    case "flicker": return flicker.toggle();
    case "zoom_in": return viewer.zoomStep(1);
    case "zoom_out": return viewer.zoomStep(-1);
    case "reset": return viewer.reset();
    case "help": return help.showModal();
    case "pan_left": return pan(1, 0);
    case "pan_right": return pan(-1, 0);
    case "pan_up": return pan(0, 1);
    case "pan_down": return pan(0, -1);
  }
}

/**
 * @param {number} x
 * @param {number} y
 */
function pan(x, y) {
  const { width, height } = viewer.layout.cell;
  viewer.panBy({ x: x * width * PAN_SHARE, y: y * height * PAN_SHARE });
}

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const action = actionOf(event);
    if (!action || !keysAct() || (panelShown() && !(action === "undo" && breakShown()))) return;
    event.preventDefault();
    // A held key repeats; only moving about may repeat with it.
    if (event.repeat && !action.startsWith("pan_") && !action.startsWith("zoom_")) return;
    act(action, event.key);
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && !swapLocked) viewer.setSwapped(false);
  });
  window.addEventListener("blur", () => viewer.setSwapped(false));
}

/** @returns {boolean} */
function keysAct() {
  return /** @type {HTMLInputElement} */ (byId("single-keys")).checked;
}

let swapLocked = false;

/** The Swap button: swaps while held; a short tap (or Enter) keeps it until the next one. */
function listenToSwap() {
  const button = byId("tool-swap");
  let pressedAt = 0;
  let wasSwapped = false;
  let byKey = false;
  const press = () => {
    pressedAt = performance.now();
    wasSwapped = viewer.swapped;
    viewer.setSwapped(true);
  };
  const release = () => {
    if (pressedAt === 0) return;
    const tap = performance.now() - pressedAt < TAP_MS;
    pressedAt = 0;
    swapLocked = tap && !wasSwapped;
    viewer.setSwapped(swapLocked);
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    press();
  });
  button.addEventListener("pointerup", release);
  button.addEventListener("pointercancel", release);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
  button.addEventListener("keydown", (event) => {
    if ((event.key !== " " && event.key !== "Enter") || event.repeat) return;
    byKey = true;
    press();
  });
  button.addEventListener("keyup", (event) => {
    if (event.key === " " || event.key === "Enter") release();
    event.stopPropagation();
  });
  // A screen reader's or speech input's click comes without a pointer or a key.
  button.addEventListener("click", (event) => {
    if (event.detail === 0 && !(/** @type {PointerEvent} */ (event).pointerType) && !byKey) {
      swapLocked = !viewer.swapped;
      viewer.setSwapped(swapLocked);
    }
    byKey = false;
  });
}

function listenToToolbar() {
  listenToSwap();
  document.getElementById("tool-flicker")?.addEventListener("click", () => flicker.toggle());
  byId("tool-zoom-in").addEventListener("click", () => viewer.zoomStep(1));
  byId("tool-zoom-out").addEventListener("click", () => viewer.zoomStep(-1));
  byId("tool-reset").addEventListener("click", () => viewer.reset());
  byId("tool-undo").addEventListener("click", () => void session.undo());
  byId("tool-help").addEventListener("click", () => help.showModal());
  // A mouse press leaves the focus where it is, so that Space goes on swapping the pictures.
  for (const id of ["toolbar", "prompt"]) {
    byId(id).addEventListener("mousedown", (event) => {
      if (event.target instanceof Element && event.target.closest("button, summary")) event.preventDefault();
    });
  }
}

function listenToHelp() {
  const keys = /** @type {HTMLInputElement} */ (byId("single-keys"));
  keys.checked = singleKeysOn();
  keys.addEventListener("change", () => rememberSingleKeys(keys.checked));
  byId("help-close").addEventListener("click", () => help.close());
  help.addEventListener("close", () => stage.focus({ preventScroll: true }));
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close(); // the backdrop
  });
}

/** In a set, a swap shows the picture that the pointer was over last, in every place. */
function listenToComparing() {
  if (viewer.lines.length === 0) return;
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && event.buttons === 0 && !viewer.swapped) {
      viewer.compareWith(viewer.locate(event.clientX, event.clientY).place);
    }
  });
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") viewer.compareWith(viewer.locate(event.clientX, event.clientY).place);
  });
}

/** Bring the flicker's button in line with it; only a fidelity study has one. */
function reflectFlicker() {
  const button = document.getElementById("tool-flicker");
  if (!button) return;
  button.hidden = !flicker.offered;
  button.setAttribute("aria-pressed", String(flicker.running));
}

/** Bring buttons and labels in line with the viewer. */
function reflectView() {
  const stacked = viewer.layout.layout === "stacked";
  session.choices.setStacked(stacked);
  viewer.images?.forEach(({ own }, place) => {
    own.alt = session.choices.pictureName(place);
  });
  byId("scale").textContent = scaleText(viewer.scale);
  byId("scale").setAttribute("aria-label", t("task.scale.label", { scale: scaleText(viewer.scale) }));
  byId("tool-swap").setAttribute("aria-pressed", String(viewer.swapped));
  byId("swapped-sign").hidden = !viewer.swapped;
  if (viewer.lines.length > 0) byId("swapped-sign").textContent = t("ranking.caption", { picture: session.choices.pictureName(viewer.compared) });
  if (!viewer.swapped) {
    swapLocked = false;
    clearHint(t("task.unswap_first"));
  }
  const atMost = viewer.scale >= viewer.steps[viewer.steps.length - 1];
  byId("tool-zoom-in").setAttribute("aria-disabled", String(atMost));
  byId("tool-zoom-out").setAttribute("aria-disabled", String(!viewer.zoomed));
  byId("tool-reset").setAttribute("aria-disabled", String(!viewer.zoomed));
}
