/** Loading the two pictures of a pair: both decoded before either is shown, each failure told apart. */

/** @typedef {import("./api.js").Assignment} Assignment */

/**
 * One pair ready to be painted. Each picture exists twice, once for each side of the stage, so that the
 * swap in place only changes what is visible; the browser keeps one decoded copy for both elements.
 * @typedef {{left: [HTMLImageElement, HTMLImageElement], right: [HTMLImageElement, HTMLImageElement]}} PairImages
 */

/** A picture that the server does not have or that no browser can decode: report it, show another pair. */
export class PictureMissing extends Error {}

const PASSING_TRIES = 6;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Load and decode both pictures of an assignment. Waits through a lost network, for as long as it takes;
 * rejects with PictureMissing for a picture that will not come.
 * @param {Assignment} assignment
 * @param {(waiting: boolean) => void} [onWaiting] told when loading waits for the network, and when it goes on
 * @returns {Promise<PairImages>}
 */
export async function loadPair(assignment, onWaiting = () => {}) {
  const [left, right] = await Promise.all(
    [assignment.left.src, assignment.right.src].map((src) => loadPicture(src, onWaiting)));
  return { left, right };
}

/**
 * @param {string} src
 * @param {(waiting: boolean) => void} onWaiting
 * @returns {Promise<[HTMLImageElement, HTMLImageElement]>}
 */
async function loadPicture(src, onWaiting) {
  let failures = 0;
  for (let attempt = 0; ; attempt += 1) {
    const first = pictureElement(src);
    try {
      await first.decode();
      const second = pictureElement(src);
      await second.decode();
      onWaiting(false);
      return [first, second];
    } catch {
      // decode() does not say why; asking for the bytes does.
      const verdict = await whyItFailed(src);
      if (verdict === "missing") throw new PictureMissing(src);
      if (verdict !== "network") failures += 1;
      if (failures >= PASSING_TRIES || (verdict === "undecodable" && failures >= 2)) throw new PictureMissing(src);
      onWaiting(true);
      await pause(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt));
    }
  }
}

/**
 * @param {string} src
 * @returns {HTMLImageElement}
 */
function pictureElement(src) {
  const image = new Image();
  image.decoding = "sync"; // painted in the same frame as its surroundings, never a frame later
  image.draggable = false;
  image.className = "picture";
  image.src = src;
  return image;
}

/**
 * @param {string} src
 * @returns {Promise<"missing"|"undecodable"|"server"|"network">}
 */
async function whyItFailed(src) {
  try {
    const response = await fetch(src, { cache: "reload" });
    if (response.ok) return "undecodable";
    return response.status >= 500 || response.status === 429 ? "server" : "missing";
  } catch {
    return "network";
  }
}

/**
 * Wait, but no longer than until the browser says that the network is back.
 * @param {number} ms
 * @returns {Promise<void>}
 */
function pause(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    function done() {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      resolve();
    }
  });
}
