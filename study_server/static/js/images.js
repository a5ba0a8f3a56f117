/**
 * Loading the two pictures of a pair: both decoded before either is shown, failures distinguished, progress counted.
 *
 * The bytes are fetched, not left to `<img src>`, which says neither how far it is nor why it failed.
 */

/** @typedef {import("./api.js").Assignment} Assignment */

/**
 * One pair ready to be painted. Each picture exists twice, once for each side of the stage, so that the
 * swap in place only changes what is visible; the browser keeps one decoded copy for both elements. The second element
 * lies over the other picture; in a triplet it is the reference on both sides.
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
  const { left: first, right: second, reference } = assignment;
  const sources = [first.src, second.src, ...(reference ? [reference.src] : [])];
  const shares = sources.map(() => /** @type {number|null} */ (null));
  const [left, right, under] = await Promise.all(sources.map((src, which) => loadPicture(src, ({ waiting, share }) => {
    shares[which] = share;
    const known = shares.filter((one) => one !== null);
    const sum = known.reduce((total, one) => total + one, 0);
    onLoading({ waiting, share: known.length < shares.length ? null : sum / shares.length });
  })));
  // What lies under the left picture is element 1 of the right one, and the other way round.
  return under ? { left: [left[0], under[1]], right: [right[0], under[0]] } : { left, right };
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
