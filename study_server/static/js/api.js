/** The server's JSON interface: one function, two kinds of error. */

/**
 * @typedef {{token: string, kind_public: "practice"|"task", prompt: string|null, instruction?: string|null,
 *   left: Picture, right: Picture, others?: Picture[], lease_seconds: number, reference?: Picture|null,
 *   boosting?: {factor: number, rate_hz: number, zoom: number|null, largest: number|null}|null}} Assignment
 * @typedef {{src: string, width: number, height: number}} Picture
 * @typedef {{done: number, total: number, block_done: number, block_length: number,
 *   limit_seconds_left: number|null, practice_left?: number}} Progress
 * @typedef {"task"|"break"|"finished"|"waiting"|"paused"|"closed"} State
 * @typedef {{id: string, text: string, language: string}} Question
 * @typedef {{title: string, slug: string, questions: Question[], allow_tie: boolean,
 *   allow_skip: boolean, strength: boolean, block_length: number, show_prompt: boolean, practice_feedback: boolean,
 *   seconds_per_vote: number, show_at?: "fit"|"one_to_one", design?: "preference"|"fidelity"|"ranking",
 *   faster_flicker?: boolean}} Study
 * @typedef {{study: Study, progress: Progress, queue: Assignment[], state: State,
 *   session_key: string, undo: {vote_id: string}|null, retry_after?: number}} SessionState
 * @typedef {{accepted: boolean, vote_id: string, feedback?: {correct: boolean, text: string}|null,
 *   progress: Progress, next: Assignment|null, more: Assignment[], state: State, undo?: {vote_id: string}|null,
 *   retry_after?: number}} VoteAnswer
 */

/** The server could not be reached at all, or the answer was cut short. */
export class NetworkError extends Error {}

/** The server answered with an error: `status`, its machine-readable `code`, and when to come back. */
export class HttpError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {number|null} retryAfter seconds
   */
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later without a change. */
  get passing() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

const TIMEOUT_MS = 20_000;

/** @returns {string} */
export function base() {
  return document.documentElement.dataset.base ?? "";
}

/**
 * POST a JSON body to the study; resolves with the JSON answer.
 * @param {string} path under the study, such as "api/votes"
 * @param {object} body
 * @param {{keepalive?: boolean}} [options] keepalive lets the request outlive the page
 * @returns {Promise<any>} rejects with NetworkError or HttpError
 */
export async function post(path, body, { keepalive = false } = {}) {
  const csrf = /** @type {HTMLMetaElement|null} */ (document.querySelector('meta[name="csrf-token"]'));
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
  let response;
  try {
    response = await fetch(`${base()}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf?.content ?? "" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      keepalive,
      signal: abort.signal,
    });
    if (response.ok) return await response.json();
  } catch (error) {
    throw new NetworkError(String(error));
  } finally {
    clearTimeout(timer);
  }
  const retry = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  /** @type {{code?: string, message?: string}} */
  let problem = {};
  try {
    problem = (await response.json()).error ?? {};
  } catch {
    // A proxy's error page is not JSON; the status alone decides what happens next.
  }
  throw new HttpError(response.status, problem.code ?? `http_${response.status}`,
    problem.message ?? response.statusText, Number.isFinite(retry) ? retry : null);
}

/**
 * A fresh key that makes a repeated request harmless. `crypto.randomUUID` needs https; this does not.
 * @returns {string}
 */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
