/**
 * Loading the two pictures of a pair: both decoded before either is shown, failures distinguished, progress counted.
 *
 * The bytes are fetched, not left to `<img src>`, which says neither how far it is nor why it failed.
 */

/** @typedef {import("./api.js").Assignment} Assignment */

/**
 * One pair ready to be painted. Each picture exists twice, once for each side of the stage, so that the
 * swap in place only changes what is visible; the browser keeps one decoded copy for both elements.
 * @typedef {{left: [HTMLImageElement, HTMLImageElement], right: [HTMLImageElement, HTMLImageElement]}} PairImages
 */

/**
 * How far a pair is: whether it waits for the network, and the share of its bytes that is here (null: not known).
 * @typedef {{waiting: boolean, share: number|null}} Loading
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
 * @param {(loading: Loading) => void} [onLoading]
 * @returns {Promise<PairImages>}
 */
export async function loadPair(assignment, onLoading = () => {}) {
  const sources = [assignment.left.src, assignment.right.src];
  const shares = sources.map(() => /** @type {number|null} */ (null));
  const [left, right] = await Promise.all(sources.map((src, which) => loadPicture(src, ({ waiting, share }) => {
    shares[which] = share;
    const [one, other] = shares;
    onLoading({ waiting, share: one === null || other === null ? null : (one + other) / 2 });
  })));
  return { left, right };
}

/**
 * @param {string} src
 * @param {(loading: Loading) => void} onLoading
 * @returns {Promise<[HTMLImageElement, HTMLImageElement]>}
 */
async function loadPicture(src, onLoading) {
  let failures = 0;
  for (let attempt = 0; ; attempt += 1) {
    const bytes = await download(src, attempt > 0, (share) => onLoading({ waiting: false, share }));
    const pictures = bytes instanceof Blob ? await decoded(bytes, src) : null;
    if (pictures) return pictures;
    const verdict = bytes instanceof Blob ? "undecodable" : bytes;
    if (verdict === "missing") throw new PictureMissing(src);
    if (verdict !== "network") failures += 1;
    if (failures >= PASSING_TRIES || (verdict === "undecodable" && failures >= 2)) throw new PictureMissing(src);
    onLoading({ waiting: true, share: null });
    await pause(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt));
  }
}

/**
 * The bytes of a picture, counted while they come.
 * @param {string} src
 * @param {boolean} anew past the browser's cache, which may hold what could not be decoded
 * @param {(share: number) => void} onShare
 * @returns {Promise<Blob|"missing"|"server"|"network">}
 */
async function download(src, anew, onShare) {
  try {
    const response = await fetch(src, { cache: anew ? "reload" : "default" });
    if (!response.ok) return response.status >= 500 || response.status === 429 ? "server" : "missing";
    const length = Number(response.headers.get("Content-Length"));
    const reader = response.body?.getReader();
    if (!reader || !(length > 0)) return await response.blob();
    const parts = [];
    let received = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      received += part.value.length;
      onShare(Math.min(1, received / length));
    }
    return new Blob(parts, { type: response.headers.get("Content-Type") ?? "" });
  } catch {
    return "network";
  }
}

/**
 * @param {Blob} bytes
 * @param {string} src where they came from
 * @returns {Promise<[HTMLImageElement, HTMLImageElement]|null>} null when no browser can decode them
 */
async function decoded(bytes, src) {
  const address = URL.createObjectURL(bytes);
  try {
    const pictures = /** @type {[HTMLImageElement, HTMLImageElement]} */ ([0, 1].map(() => pictureElement(address, src)));
    await Promise.all(pictures.map((picture) => picture.decode()));
    return pictures;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(address); // the elements keep what they have loaded
  }
}

/**
 * @param {string} address of the bytes in this page
 * @param {string} src where they came from
 * @returns {HTMLImageElement}
 */
function pictureElement(address, src) {
  const image = new Image();
  image.decoding = "sync"; // painted in the same frame as its surroundings, never a frame later
  image.draggable = false;
  image.className = "picture";
  image.dataset.src = src;
  image.src = address;
  return image;
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
