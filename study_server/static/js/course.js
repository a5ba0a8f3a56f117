/**
 * The course of a session: which pair is shown, what happens to an answer, what comes after it.
 *
 *     session -> show pair -> answer -> outbox -> next pair (already loaded) -> ... -> break | finished
 *
 * The next pair is shown at once while the answer is on its way; the outbox keeps the answer until the server
 * has stored it. Where the answer decides what comes next (practice, the end of a block, an empty queue) the
 * page waits for it.
 */

import { announce, byId } from "./announce.js";
import { HttpError, NetworkError, base, newKey, post } from "./api.js";
import { Choices } from "./choices.js";
import { viewport } from "./device.js";
import { Heartbeat } from "./heartbeat.js";
import { PictureMissing } from "./images.js";
import { Outbox } from "./outbox.js";
import { hidePanel, panelShown, showPanel } from "./panel.js";
import { Queue } from "./queue.js";
import { showHint, showProgress, showRefusal, showSaving } from "./signs.js";
import { t } from "./text.js";
import { Stopwatch, nextFrame } from "./timing.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./api.js").SessionState} SessionState */
/** @typedef {import("./api.js").VoteAnswer} VoteAnswer */
/** @typedef {import("./choices.js").InputKind} InputKind */
/** @typedef {import("./viewer.js").Viewer} Viewer */

const RETRY_SECONDS = 5;

export class Course {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.watch = new Stopwatch();
    this.queue = new Queue((waiting) => this.#noteLoading(waiting));
    this.choices = new Choices(byId("choices"), (answers, input) => this.#submit(answers, input), () => this.mayAnswer());
    this.session = /** @type {SessionState|null} */ (null);
    this.outbox = /** @type {Outbox|null} */ (null);
    this.shown = /** @type {Assignment|null} */ (null);
    this.painted = false;
    this.paintedAt = "";
    this.undoable = /** @type {string|null} */ (null);
    this.waitsFor = /** @type {string|null} */ (null); // idempotency key whose answer decides what comes next
    this.turn = 0; // counts calls of `show`, so that a slow one knows that it has been overtaken
    this.ended = false;
    this.timer = 0;
    byId("feedback-next").addEventListener("click", () => this.#closeFeedback());
  }

  /** @returns {boolean} whether an answer may be given now; says why not where the person can mend it */
  mayAnswer() {
    if (!this.painted || this.ended) return false;
    if (!this.viewer.swapped) return true;
    showHint(t("task.unswap_first"));
    return false;
  }

  /**
   * Ask the server where the person is, and go on from there. Also what a break's end and a reload do.
   * @param {{endBreak?: boolean, takeOver?: boolean}} [options]
   */
  async enter({ endBreak = false, takeOver = false } = {}) {
    clearTimeout(this.timer);
    /** @type {SessionState} */
    let session;
    try {
      session = await post("api/session", { tab_token: this.#tabToken(), end_break: endBreak, take_over: takeOver });
    } catch (error) {
      this.#enterFailed(error, { endBreak, takeOver });
      return;
    }
    sessionStorage.setItem(this.#tabKey(), session.tab_token);
    const first = this.session === null;
    this.session = session;
    if (first) this.#begin(session);
    this.undoable = session.undo?.vote_id ?? null;
    this.#showUndo();
    this.queue.replace(session.queue.filter((pair) => !this.outbox?.holds(pair.token)));
    this.#go(session);
  }

  /** Take the last answer back. */
  async undo() {
    if (this.outbox && this.outbox.size > 0) return showHint(t("task.undo_wait"));
    if (!this.undoable || this.ended) return showHint(t("task.undo_nothing"));
    const vote = this.undoable;
    this.undoable = null;
    this.#showUndo();
    try {
      const answer = await post("api/undo", { vote_id: vote, idempotency_key: newKey(), tab_token: this.#tabToken() });
      if (this.session) this.session.progress = answer.progress;
      this.queue.putFirst(answer.assignment);
      showHint(t("task.undone"));
      hidePanel();
      await this.show();
    } catch (error) {
      if (error instanceof HttpError && error.code === "undo_closed") showHint(t("task.undo_closed"));
      else if (error instanceof NetworkError || (error instanceof HttpError && error.passing)) {
        this.undoable = vote;
        this.#showUndo();
        showHint(t("task.undo_failed"));
      } else this.#refused(error);
    }
  }

  /** Show the first pair of the queue: load, decode, then paint both pictures in one frame. */
  async show() {
    const turn = (this.turn += 1);
    const pair = this.queue.current;
    this.#hidePair();
    if (!pair) return this.#queueIsEmpty();
    this.shown = pair;
    this.#showPrompt(pair);
    this.choices.reset();
    const slow = setTimeout(() => this.#noteLoading(false), 400);
    let images;
    try {
      images = await this.queue.pictures(pair);
    } catch (error) {
      if (!(error instanceof PictureMissing)) throw error;
      if (turn === this.turn) await this.#reportMissing(pair);
      return;
    } finally {
      clearTimeout(slow);
    }
    if (turn !== this.turn) return;
    hidePanel();
    document.body.classList.remove("loading");
    byId("stage-note").hidden = true;
    this.viewer.mount(images, [t("task.picture.left"), t("task.picture.right")]);
    await nextFrame();
    if (turn !== this.turn) return;
    this.viewer.reveal();
    const painted = await nextFrame(); // the frame that revealed them has been handed over by now
    if (turn !== this.turn) return;
    this.watch.start(painted);
    this.paintedAt = new Date().toISOString();
    this.painted = true;
    this.choices.setEnabled(true);
    this.#progress();
    this.#announcePair(pair);
    this.queue.preloadNext();
  }

  /** Stop for good: the study goes on elsewhere. */
  stop() {
    this.ended = true;
    this.outbox?.stop();
    this.heartbeat?.stop();
    clearTimeout(this.timer);
    this.#hidePair();
  }

  /** @param {SessionState} session */
  #begin(session) {
    this.choices.build(session.study);
    for (const name of /** @type {const} */ (["tie", "skip"])) {
      const row = /** @type {HTMLElement|null} */ (document.querySelector(`[data-key-row="${name}"]`));
      if (row) row.hidden = !session.study[`allow_${name}`];
    }
    const outbox = new Outbox({
      name: `${session.study.slug}:${session.session_key}`,
      send: (answer) => post("api/votes", { ...answer, tab_token: this.#tabToken() }, { keepalive: true }),
      onAccepted: (answer, response) => this.#accepted(answer.idempotency_key, response),
      onRefused: (answer, error) => this.#voteRefused(answer.idempotency_key, error),
      onState: (state, size) => showSaving(state, size, outbox.durable),
    });
    this.outbox = outbox;
    byId("save-now").addEventListener("click", () => outbox.sendNow());
    window.addEventListener("beforeunload", (event) => {
      if (outbox.size > 0 && !outbox.durable) event.preventDefault();
    });
    outbox.sendNow();
    this.heartbeat = new Heartbeat({
      tokens: () => this.queue.tokens,
      tabToken: () => this.#tabToken() ?? "",
      onLost: (lost) => this.#leasesLost(lost),
      onRefused: (error) => this.#refused(error),
    });
  }

  /**
   * @param {Record<string, string>} answers
   * @param {InputKind} input
   */
  #submit(answers, input) {
    const pair = this.shown;
    if (!pair || !this.outbox || !this.session) return;
    const key = newKey();
    const practice = pair.kind_public === "practice";
    this.painted = false;
    this.choices.setEnabled(false);
    this.undoable = null;
    this.#showUndo();
    const { layout, scale } = { layout: this.viewer.layout.layout, scale: this.viewer.layout.scale };
    const view = { layout, scale, zoomed: this.viewer.everZoomed, swaps: this.viewer.swaps };
    this.queue.remove(pair.token);
    if (practice || this.#endsBlock() || !this.queue.current) this.waitsFor = key;
    this.outbox.add({
      assignment: pair.token, answers, ...this.watch.stop(), idempotency_key: key, painted_at: this.paintedAt,
      input, viewport: viewport(), view,
    });
    if (!practice) this.viewer.veil();
    byId("stage").focus({ preventScroll: true });
    if (this.waitsFor === null) void this.show();
  }

  /** @returns {boolean} whether the answer just given is the last of its block */
  #endsBlock() {
    if (!this.session || !this.outbox) return false;
    const { block_done, block_length, done, total } = this.session.progress;
    const waiting = this.outbox.size + 1;
    return (block_length > 0 && block_done + waiting >= block_length) || done + waiting >= total;
  }

  /**
   * The server has stored an answer.
   * @param {string} key
   * @param {VoteAnswer} response
   */
  #accepted(key, response) {
    if (!this.session || this.ended) return;
    this.session.progress = response.progress;
    this.session.retry_after = response.retry_after;
    if (this.outbox?.size === 0) this.undoable = response.undo?.vote_id ?? null;
    this.#showUndo();
    if (response.next && !this.outbox?.holds(response.next.token)) this.queue.append(response.next);
    if (this.painted) {
      this.queue.preloadNext();
      this.#progress();
    }
    if (this.waitsFor === key) {
      this.waitsFor = null;
      if (response.feedback) this.#showFeedback(response);
      else this.#go(response);
    } else if (!this.shown && this.outbox?.size === 0) {
      void this.enter(); // the page stood at "almost done"; now the server can say what comes
    }
  }

  /**
   * @param {string} key
   * @param {HttpError} error
   * @returns {"drop"|"stop"}
   */
  #voteRefused(key, error) {
    if (error.code === "other_tab" || error.code === "session_expired" || error.status === 401) {
      this.#refused(error);
      return "stop";
    }
    const waited = this.waitsFor === key;
    if (error.code === "lease_lost") showHint(t("task.answer_dropped"));
    else if (error.code !== "already_answered") showRefusal(t("save.refused", { message: error.message }));
    if (waited) {
      this.waitsFor = null;
      this.timer = window.setTimeout(() => void this.enter(), 0);
    }
    return "drop";
  }

  /** @param {{state: import("./api.js").State, retry_after?: number}} answer */
  #go({ state, retry_after }) {
    clearTimeout(this.timer);
    this.#progress();
    if (state === "task") {
      void this.show();
      return;
    }
    if (this.outbox && this.outbox.size > 0) {
      this.#hidePair();
      showPanel({ heading: t("pending.heading"), text: t("pending.text") });
      return; // `#accepted` goes on from here
    }
    this.#hidePair();
    if (state === "finished") location.assign(`${base()}/thanks`);
    else if (state === "break") this.#showBreak();
    else if (state === "closed") showPanel({ heading: t("message.closed.title"), text: t("message.closed.text") });
    else {
      showPanel({ heading: t("waiting.heading"), text: t("waiting.text"), kind: "waiting" });
      this.timer = window.setTimeout(() => void this.enter(), (retry_after ?? RETRY_SECONDS) * 1000);
    }
  }

  #showBreak() {
    const { done, total } = this.session?.progress ?? { done: 0, total: 0 };
    showPanel({
      heading: t("break.heading"), text: t("break.text"), extra: t("break.progress", { done, total }), kind: "break",
      button: t("break.continue"), onButton: () => void this.enter({ endBreak: true }),
    });
  }

  #queueIsEmpty() {
    if (this.outbox && this.outbox.size > 0) showPanel({ heading: t("pending.heading"), text: t("pending.text") });
    else void this.enter();
  }

  /** @param {VoteAnswer} response */
  #showFeedback(response) {
    const { correct, text } = response.feedback ?? { correct: true, text: "" };
    this.afterFeedback = response;
    byId("feedback-title").textContent = t(correct ? "feedback.right" : "feedback.wrong");
    byId("feedback-text").textContent = text;
    byId("choices").hidden = true;
    byId("feedback").hidden = false;
    byId("feedback-next").focus();
    announce(`${byId("feedback-title").textContent}. ${text}`);
  }

  #closeFeedback() {
    byId("feedback").hidden = true;
    byId("choices").hidden = false;
    byId("stage").focus({ preventScroll: true });
    if (this.afterFeedback) this.#go(this.afterFeedback);
  }

  /** @param {Assignment} pair */
  async #reportMissing(pair) {
    try {
      const answer = await post("api/report", {
        assignment: pair.token, problem: "image_missing", tab_token: this.#tabToken(), idempotency_key: newKey(),
      });
      this.queue.remove(pair.token);
      this.queue.append(answer.next);
      if (this.session && answer.progress) this.session.progress = answer.progress;
      showHint(t("task.replaced"));
      this.#go(answer);
    } catch (error) {
      if (error instanceof HttpError && error.code === "lease_lost") {
        this.queue.remove(pair.token);
        void this.show();
      } else this.#enterFailed(error, {});
    }
  }

  /** @param {string[]} lost */
  #leasesLost(lost) {
    const current = this.queue.current;
    const wasShown = current !== undefined && lost.includes(current.token);
    for (const token of lost) this.queue.remove(token);
    if (!wasShown || this.waitsFor !== null) return;
    showHint(t("task.lease_lost"));
    void this.enter();
  }

  /**
   * @param {unknown} error
   * @param {{endBreak?: boolean, takeOver?: boolean}} again
   */
  #enterFailed(error, again) {
    if (error instanceof NetworkError || (error instanceof HttpError && error.passing)) {
      const seconds = (error instanceof HttpError && error.retryAfter) || RETRY_SECONDS;
      if (!this.painted) {
        showPanel({
          heading: t("connecting.heading"), text: t("connecting.text"),
          button: t("common.try_again"), onButton: () => void this.enter(again),
        });
      }
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => void this.enter(again), seconds * 1000);
    } else this.#refused(error);
  }

  /** @param {unknown} error a definite no: another tab, an ended session, a closed study */
  #refused(error) {
    if (!(error instanceof HttpError)) throw error;
    this.#hidePair();
    if (error.code === "other_tab") {
      this.heartbeat?.stop();
      showPanel({
        heading: t("tab.heading"), text: t("tab.text"), kind: "other-tab",
        button: t("tab.take_over"), onButton: () => location.replace(`${base()}/task?take_over=1`),
      });
    } else if (error.status === 401) location.assign(base());
    else if (error.code === "closed" || error.code === "paused") {
      showPanel({ heading: t(`message.${error.code}.title`), text: t(`message.${error.code}.text`) });
    } else showPanel({ heading: t("message.error.title"), text: error.message || t("message.error.text") });
  }

  #hidePair() {
    this.painted = false;
    this.shown = null;
    this.choices.setEnabled(false);
    this.viewer.veil();
  }

  /** @param {Assignment} pair */
  #showPrompt(pair) {
    const prompt = byId("prompt");
    prompt.hidden = !this.session?.study.show_prompt || !pair.prompt;
    byId("prompt-text").textContent = pair.prompt ?? "";
    byId("prompt-text").scrollTop = 0;
  }

  /** @param {Assignment} pair */
  #announcePair(pair) {
    const { done, total } = this.session?.progress ?? { done: 0, total: 0 };
    announce(pair.kind_public === "practice" ? t("task.shown.practice")
      : t("task.shown", { n: Math.min(total, done + (this.outbox?.size ?? 0) + 1), total }));
  }

  #progress() {
    if (this.session) {
      showProgress(this.session.progress, this.outbox?.size ?? 0, this.queue.current?.kind_public === "practice");
    }
  }

  /** @param {boolean} waiting for the network */
  #noteLoading(waiting) {
    if (this.painted || panelShown()) return;
    byId("stage-note").textContent = t(waiting ? "task.loading_offline" : "task.loading");
    byId("stage-note").hidden = false;
  }

  #showUndo() {
    byId("tool-undo").toggleAttribute("disabled", this.undoable === null);
  }

  #tabKey() {
    return `tab:${base()}`;
  }

  /** @returns {string|null} */
  #tabToken() {
    return sessionStorage.getItem(this.#tabKey());
  }
}
