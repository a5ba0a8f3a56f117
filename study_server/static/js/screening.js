/** The device check before the instructions: facts of the screen, and what the person sees on it. */

import { byId } from "./announce.js";
import { HttpError, NetworkError, base, post } from "./api.js";
import { deviceFacts, pageZoom, viewport } from "./device.js";
import { drawColourPlate, drawGreyStrip } from "./plates.js";
import { t } from "./text.js";

/** @typedef {{ok: boolean, problems: {code: string, message: string}[], retry: boolean, redirect: string|null}} Verdict */

const KNOWN = ["viewport", "zoom", "colour_plate", "grey_steps"];

/**
 * Run the check; calls `onPassed` when the server is content.
 * @param {HTMLElement} section
 * @param {() => void} onPassed
 */
export function runScreening(section, onPassed) {
  const form = byId("screening-form");
  let drawn = draw();
  showFacts(section);
  window.addEventListener("resize", () => showFacts(section));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void check();
  });
  // Where the study asks nothing of the person, the facts go by themselves and only a problem is worth a page.
  if (drawn.plate === null && drawn.dark === null) void check();
  else section.hidden = false;

  async function check() {
    const report = answersOf(drawn);
    if (!report) return showProblems([t("screening.answer_all")]);
    const verdict = await send(report);
    if (verdict?.ok) return onPassed();
    section.hidden = false;
    if (!verdict) return showProblems([t("screening.failed")]);
    if (!verdict.retry && verdict.redirect) return location.assign(verdict.redirect);
    showProblems(verdict.problems.map(({ code, message }) =>
      KNOWN.includes(code) ? t(`screening.problem.${code}`) : message || t("screening.problem.other")));
    drawn = draw(); // another number and another count, so that a second try is a try and not a guess less
  }
}

/** @returns {{plate: string|null, dark: number|null, light: number|null}} what the pictures show */
function draw() {
  const plate = /** @type {HTMLCanvasElement|null} */ (document.getElementById("colour-plate"));
  const drawn = { plate: /** @type {string|null} */ (null), dark: /** @type {number|null} */ (null),
    light: /** @type {number|null} */ (null) };
  if (plate) {
    const { shown, offered } = drawColourPlate(plate);
    drawn.plate = shown;
    byId("colour-choices").replaceChildren(...[...offered, ""].map(choice));
  }
  for (const kind of /** @type {const} */ (["dark", "light"])) {
    const strip = /** @type {HTMLCanvasElement|null} */ (document.getElementById(`grey-${kind}`));
    if (!strip) continue;
    drawn[kind] = drawGreyStrip(strip, kind);
    /** @type {HTMLSelectElement} */ (byId(`grey-${kind}-count`)).value = "";
  }
  return drawn;
}

/**
 * @param {string} number empty for "I see none"
 * @returns {HTMLLabelElement}
 */
function choice(number) {
  const label = document.createElement("label");
  const radio = document.createElement("input");
  radio.type = "radio";
  radio.name = "colour";
  radio.value = number;
  label.append(radio, number || t("screening.colour.none"));
  return label;
}

/**
 * @param {{plate: string|null, dark: number|null, light: number|null}} drawn
 * @returns {object|null} the report, or null while an answer is missing
 */
function answersOf(drawn) {
  let colour = null;
  let grey = null;
  if (drawn.plate !== null) {
    const checked = /** @type {HTMLInputElement|null} */ (document.querySelector('input[name="colour"]:checked'));
    if (!checked) return null;
    colour = { shown: drawn.plate, answered: checked.value };
  }
  if (drawn.dark !== null && drawn.light !== null) {
    const [dark, light] = ["dark", "light"].map((kind) =>
      /** @type {HTMLSelectElement} */ (byId(`grey-${kind}-count`)).value);
    if (dark === "" || light === "") return null;
    grey = { dark_shown: drawn.dark, dark_counted: Number(dark), light_shown: drawn.light, light_counted: Number(light) };
  }
  return { ...deviceFacts(), colour_plate: colour, grey_steps: grey };
}

/**
 * @param {object} report
 * @returns {Promise<Verdict|null>} null when the server could not be asked
 */
async function send(report) {
  try {
    return await post("screening", report);
  } catch (error) {
    // The check was done meanwhile, in another tab: the front door knows where the study goes on.
    if (error instanceof HttpError && error.status === 409) {
      return { ok: false, problems: [], retry: false, redirect: base() };
    }
    if (error instanceof NetworkError || error instanceof HttpError) return null;
    throw error;
  }
}

/** @param {HTMLElement} section carries the study's limits in data attributes */
function showFacts(section) {
  const { w, h, dpr } = viewport();
  const zoom = pageZoom();
  const limit = (/** @type {string|undefined} */ text) => (text === undefined ? null : Number(text));
  const minWidth = limit(section.dataset.minWidth);
  const minHeight = limit(section.dataset.minHeight);
  const maxZoom = limit(section.dataset.maxZoom);
  fact("window", measured(t("screening.window_value", { width: String(w), height: String(h) })),
    (minWidth !== null && w < minWidth) || (minHeight !== null && h < minHeight));
  fact("density", measured(t("screening.density_value", { ratio: dpr })), false);
  const percent = zoom === null ? 0 : Math.round(zoom * 100);
  fact("zoom", zoom === null ? t("screening.zoom_unknown") : measured(t("screening.zoom_value", { percent })),
    maxZoom !== null && zoom !== null && zoom > maxZoom);
}

/**
 * Width before height, and a sign after its number, in every language.
 * @param {string} text
 * @returns {HTMLElement}
 */
function measured(text) {
  const element = document.createElement("bdi");
  element.dir = "ltr";
  element.textContent = text;
  return element;
}

/**
 * @param {string} name
 * @param {string|Node} value
 * @param {boolean} low
 */
function fact(name, value, low) {
  const box = document.querySelector(`[data-fact="${name}"]`);
  if (!box) return;
  box.classList.toggle("low", low);
  const cell = box.querySelector("dd");
  const status = document.createElement("span");
  status.className = "fact-status";
  status.textContent = t(low ? "screening.status.low" : "screening.status.ok");
  cell?.replaceChildren(value, status);
}

/** @param {string[]} problems */
function showProblems(problems) {
  const box = byId("screening-problems");
  box.replaceChildren(...problems.map((text) => {
    const line = document.createElement("p");
    line.dir = "auto";
    line.textContent = text;
    return line;
  }));
  box.hidden = false;
}
