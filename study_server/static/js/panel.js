/** The panel that takes the stage's place: break, waiting, another tab, the end. */

import { byId } from "./announce.js";

/**
 * @typedef {{heading: string, text: string, extra?: string, button?: string, onButton?: () => void, kind?: string}} PanelContent
 */

/** @type {(() => void)|null} */
let action = null;

/**
 * Show the panel and move the focus to its heading.
 * @param {PanelContent} content
 */
export function showPanel({ heading, text, extra = "", button, onButton, kind = "" }) {
  const title = byId("panel-heading");
  const same = !byId("panel").hidden && title.textContent === heading;
  title.textContent = heading;
  byId("panel-text").textContent = text;
  byId("panel-extra").textContent = extra;
  byId("panel").dataset.kind = kind;
  const control = byId("panel-button");
  control.hidden = !button;
  control.textContent = button ?? "";
  action = onButton ?? null;
  byId("panel").hidden = false;
  document.body.classList.add("has-panel");
  if (!same) title.focus();
}

export function hidePanel() {
  byId("panel").hidden = true;
  action = null;
  document.body.classList.remove("has-panel");
}

/** @returns {boolean} */
export function panelShown() {
  return !byId("panel").hidden;
}

/** Wire the panel's button once. */
export function listenToPanel() {
  byId("panel-button").addEventListener("click", () => action?.());
}
