/** One tab at a time: the second tab of a browser finds out before it asks the server for anything. */

import { newKey } from "./api.js";

const ANSWER_MS = 250;

/**
 * What tells the server that this tab, and no other, has the study. Drawn here and kept before the server is asked: a
 * reload, or the way from the instructions to the pairs, is the same tab whatever answer was on its way.
 * @param {string} name one for each study
 * @returns {string}
 */
export function tabToken(name) {
  const key = `tab:${name}`;
  const token = sessionStorage.getItem(key) ?? newKey();
  sessionStorage.setItem(key, token);
  return token;
}

/**
 * @typedef {{release: () => void}} Claim
 */

/**
 * Claim the study for this tab. Resolves with null when another tab of this browser has it.
 * Web Locks where the page is served securely; a question over BroadcastChannel elsewhere (plain http in a lab).
 * @param {string} name one for each study
 * @param {() => void} onTaken called when another tab takes the study over
 * @param {{takeOver?: boolean}} [options]
 * @returns {Promise<Claim|null>}
 */
export async function claimTab(name, onTaken, { takeOver = false } = {}) {
  const channel = new BroadcastChannel(`study:${name}`);
  if (takeOver) channel.postMessage("taken");
  const release = navigator.locks ? await lock(name, takeOver) : await ask(channel, takeOver);
  if (!release) {
    channel.close();
    return null;
  }
  channel.addEventListener("message", (event) => {
    if (event.data === "anyone?") channel.postMessage("here");
    if (event.data === "taken") {
      release();
      channel.close();
      onTaken();
    }
  });
  return { release };
}

/**
 * @param {string} name
 * @param {boolean} takeOver
 * @returns {Promise<(() => void)|null>}
 */
function lock(name, takeOver) {
  return new Promise((resolve) => {
    const options = takeOver ? { steal: true } : { ifAvailable: true };
    navigator.locks.request(`study:${name}`, options, (held) => {
      if (!held) {
        resolve(null);
        return undefined;
      }
      return new Promise((done) => resolve(() => done(undefined)));
    }).catch((error) => {
      if (error.name !== "AbortError") throw error; // AbortError: stolen by a tab that took over
    });
  });
}

/**
 * @param {BroadcastChannel} channel
 * @param {boolean} takeOver
 * @returns {Promise<(() => void)|null>}
 */
async function ask(channel, takeOver) {
  if (takeOver) return () => {};
  let answered = false;
  const listen = (/** @type {MessageEvent} */ event) => {
    answered ||= event.data === "here";
  };
  channel.addEventListener("message", listen);
  channel.postMessage("anyone?");
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  channel.removeEventListener("message", listen);
  return answered ? null : () => {};
}
