/**
 * Answers that the server has not acknowledged yet: kept on this device, sent in order, each once.
 *
 * An answer is written to localStorage before it is sent and removed after the server has said that it is
 * stored. The same idempotency key goes with every attempt, so an attempt whose answer got lost is harmless.
 */

import { HttpError, NetworkError } from "./api.js";

/**
 * @typedef {{assignment: string, answers: Record<string, string>, strengths?: Record<string, number>, response_ms: number, hidden_ms: number,
 *   idempotency_key: string, painted_at: number, input: string, viewport: {w: number, h: number, dpr: number},
 *   view: object}} Answer
 * @typedef {"idle"|"sending"|"retrying"|"offline"} OutboxState
 */

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

export class Outbox {
  /**
   * @param {object} options
   * @param {string} options.name names the store; different for each person's session
   * @param {(answer: Answer) => Promise<any>} options.send
   * @param {(answer: Answer, response: any) => void} options.onAccepted
   * @param {(answer: Answer, error: HttpError) => "drop"|"stop"} options.onRefused a definite no from the server
   * @param {(state: OutboxState, size: number) => void} options.onState
   */
  constructor({ name, send, onAccepted, onRefused, onState }) {
    this.key = `outbox:${name}`;
    this.send = send;
    this.onAccepted = onAccepted;
    this.onRefused = onRefused;
    this.onState = onState;
    this.durable = true;
    this.stopped = false;
    this.busy = false;
    this.failures = 0;
    this.timer = 0;
    /** @type {Answer[]} */
    this.answers = this.#read();
    window.addEventListener("online", () => this.sendNow());
  }

  /** @returns {number} */
  get size() {
    return this.answers.length;
  }

  /** @returns {boolean} whether the last attempt failed: what waits here may wait for long */
  get failing() {
    return this.failures > 0;
  }

  /**
   * @param {string} token
   * @returns {boolean} whether an answer to this assignment waits here
   */
  holds(token) {
    return this.answers.some((answer) => answer.assignment === token);
  }

  /** @param {Answer} answer */
  add(answer) {
    this.answers.push(answer);
    this.#write();
    void this.#pump();
  }

  /** Try at once, whatever the waiting time. */
  sendNow() {
    clearTimeout(this.timer);
    this.timer = 0;
    void this.#pump();
  }

  /** Send nothing more from this page (another tab has taken over); what waits stays stored. */
  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  async #pump() {
    if (this.busy || this.stopped || this.timer) return;
    this.busy = true;
    try {
      while (this.answers.length > 0 && !this.stopped) {
        if (this.failures === 0) this.onState("sending", this.size);
        const answer = this.answers[0];
        let response;
        try {
          response = await this.send(answer);
        } catch (error) {
          if (error instanceof NetworkError || (error instanceof HttpError && error.passing)) {
            this.#retryLater(error);
            return;
          }
          if (!(error instanceof HttpError)) throw error;
          this.failures = 0;
          if (this.onRefused(answer, error) === "stop") return this.stop();
          this.#remove(answer);
          continue;
        }
        this.failures = 0;
        this.#remove(answer);
        if (this.size === 0) this.onState("idle", 0);
        this.onAccepted(answer, response);
      }
      if (this.size === 0) this.onState("idle", 0);
    } finally {
      this.busy = false;
    }
  }

  /** @param {NetworkError|HttpError} error */
  #retryLater(error) {
    const asked = error instanceof HttpError && error.retryAfter !== null ? error.retryAfter * 1000 : 0;
    const backoff = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures);
    this.failures += 1;
    // Up to a quarter more, so that a room full of waiting browsers does not come back in one instant.
    const wait = Math.max(asked, backoff) * (1 + Math.random() / 4);
    this.timer = window.setTimeout(() => this.sendNow(), wait);
    this.onState(navigator.onLine ? "retrying" : "offline", this.size);
  }

  /** @param {Answer} answer */
  #remove(answer) {
    this.answers = this.answers.filter((one) => one.idempotency_key !== answer.idempotency_key);
    this.#write();
  }

  /** @returns {Answer[]} */
  #read() {
    try {
      return JSON.parse(localStorage.getItem(this.key) ?? "[]");
    } catch {
      this.durable = false; // storage is blocked or damaged: memory has to do, and the page says so
      return [];
    }
  }

  #write() {
    try {
      if (this.size === 0) localStorage.removeItem(this.key);
      else localStorage.setItem(this.key, JSON.stringify(this.answers));
    } catch {
      this.durable = false;
    }
  }
}
