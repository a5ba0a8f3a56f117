/**
 * Loading the pictures of a pair or set: all decoded before any is shown, failures distinguished, progress counted.
 *
 * The bytes are fetched, not left to `<img src>`, which says neither how far it is nor why it failed.
 */

/** @typedef {import("./api.js").Assignment} Assignment */

/**
 * A pair, or a set to be ranked, ready to be painted: a stack for each place, in the order of reading. A picture exists
 * once for each place of the stage, so that the swap in place only changes what is visible; the browser keeps one
 * decoded copy for all its elements. `others` can be shown in the place of `own`: in a pair the other picture, in a
 * triplet the reference, in a set every other picture by its place (its own place is empty).
 * @typedef {{own: HTMLImageElement, others: (HTMLImageElement|null)[]}} Stack
 * @typedef {Stack[]} PairImages
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
 * Load and decode every picture of an assignment. Waits through a lost network, for as long as it takes;
 * rejects with PictureMissing for a picture that will not come.
 * @param {Assignment} assignment
 * @param {(loading: Loading) => void} [onLoading]
 * @param {{ranked?: boolean}} [options] whether the pictures are put in order, however few they are
 * @returns {Promise<PairImages>}
 */
export async function loadPair(assignment, onLoading = () => {}, { ranked = false } = {}) {
  const { left: first, right: second, reference, others = [] } = assignment;
  const shown = [first, second, ...others];
  const sources = [...shown.map(({ src }) => src), ...(reference ? [reference.src] : [])];
  const shares = sources.map(() => /** @type {number|null} */ (null));
  const copies = ranked ? shown.length : 2;
  const pictures = await Promise.all(sources.map((src, which) => loadPicture(src, copies, ({ waiting, share }) => {
    shares[which] = share;
    const known = shares.filter((one) => one !== null);
    const sum = known.reduce((total, one) => total + one, 0);
    onLoading({ waiting, share: known.length < shares.length ? null : sum / shares.length });
  })));
  if (reference) return [0, 1].map((place) => ({ own: pictures[place][0], others: [pictures[2][place]] }));
  if (!ranked) return [0, 1].map((place) => ({ own: pictures[place][0], others: [pictures[1 - place][1]] }));
  // Element 0 of a picture is its own; the others are in the other places, in their order.
  return shown.map((_, place) => ({
    own: pictures[place][0],
    others: shown.map((__, other) => (other === place ? null : pictures[other][1 + (place < other ? place : place - 1)])),
  }));
}

/**
 * @param {string} src
 * @param {number} copies
 * @param {(loading: Loading) => void} onLoading
 * @returns {Promise<HTMLImageElement[]>}
 */
async function loadPicture(src, copies, onLoading) {
  let failures = 0;
  for (let attempt = 0; ; attempt += 1) {
    const bytes = await download(src, attempt > 0, (share) => onLoading({ waiting: false, share }));
    const pictures = bytes instanceof Blob ? await decoded(bytes, src, copies) : null;
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
 * @param {number} copies
 * @returns {Promise<HTMLImageElement[]|null>} null when no browser can decode them
 */
async function decoded(bytes, src, copies) {
  const address = URL.createObjectURL(bytes);
  try {
    const pictures = Array.from({ length: copies }, () => pictureElement(address, src));
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
