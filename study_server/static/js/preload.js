/** The first pairs' pictures, loaded while the instructions are read: on a slow line that saves the first long wait. */

import { HttpError, NetworkError, base, post } from "./api.js";
import { tabToken } from "./tabs.js";

/** @typedef {import("./api.js").SessionState} SessionState */

/**
 * Ask for the first pairs as the pair page will, and put their pictures into the browser's cache. A failure changes
 * nothing: the pair page asks again.
 */
export async function preloadFirstPairs() {
  try {
    /** @type {SessionState} */
    const session = await post("api/session", { tab_token: tabToken(base()), take_over: false });
    for (const { left, right, others = [] } of session.queue) {
      await Promise.all([left, right, ...others].map(async ({ src }) => (await fetch(src)).arrayBuffer()));
    }
  } catch (error) {
    // A refusal (another tab has the study) and a lost network are the pair page's matter; fetch rejects with TypeError.
    // Whoever starts before the pictures are here leaves the page: Firefox then rejects what was being read.
    const isGone = error instanceof DOMException && error.name === "AbortError";
    if (isGone || error instanceof HttpError || error instanceof NetworkError || error instanceof TypeError) return;
    throw error;
  }
}
