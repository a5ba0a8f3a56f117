/**
 * A session on the pair page: which pair is shown, what happens to an answer, what comes after it.
 *
 *     session -> show pair -> answer -> outbox -> next pair (already loaded) -> ... -> break | finished
 *
 * The next pair is shown at once while the answer is on its way; the outbox keeps the answer until the server
 * has stored it. Where the answer decides what comes next (practice, the end of a block, an empty queue) the
 * page waits for it.
 */

import { byId } from "./announce.js";
import { base, newKey, post } from "./api.js";
import { Choices } from "./choices.js";
import { viewport } from "./device.js";
import { Drafts } from "./drafts.js";
import { RETRY_SECONDS, Failures } from "./failures.js";
import { listenToFeedback, showFeedback } from "./feedback.js";
import { Heartbeat } from "./heartbeat.js";
import { Outbox } from "./outbox.js";
import { Pace } from "./pace.js";
import { hidePanel, showBreak, showClosed, showFlickerNotice, showPaused, showPending, showWaiting } from "./panel.js";
import { Presenter } from "./presenter.js";
import { Queue } from "./queue.js";
import { Ranking } from "./ranking.js";
import { clearHint, showHint, showProgress, showSaving } from "./status.js";
import { tabToken } from "./tabs.js";
import { t } from "./text.js";
import { Undo } from "./undo.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./api.js").SessionState} SessionState */
/** @typedef {import("./api.js").VoteAnswer} VoteAnswer */
/** @typedef {import("./choices.js").InputKind} InputKind */
/** @typedef {import("./viewer.js").Viewer} Viewer */

export class TaskSession {
  /**
   * @param {Viewer} viewer
   * @param {import("./flicker.js").Flicker} flicker
   */
  constructor(viewer, flicker) {
    this.viewer = viewer;
    this.flicker = flicker;
    /** @type {ConstructorParameters<typeof Ranking>[2]} */
    const listeners = {
      onComplete: (said, input) => this.#submit(said, input),
      onAnswer: (said) => this.presenter.pair && this.drafts?.keep(this.presenter.pair.token, said),
      mayAnswer: () => this.mayAnswer(),
      onCurrent: (place) => viewer.compareWith(place),
    };
    const ranks = viewer.lines.length > 0; // the page has a button above each picture
    this.choices = ranks
      ? new Ranking(byId("choices"), viewer.stage, listeners) : new Choices(byId("choices"), listeners);
    this.presenter = new Presenter(viewer, this.choices, flicker);
    this.queue = new Queue((loading) => this.presenter.noteLoading(loading), { ranked: ranks });
    this.state = /** @type {SessionState|null} */ (null);
    this.outbox = /** @type {Outbox|null} */ (null);
    this.pace = /** @type {Pace|null} */ (null);
    this.drafts = /** @type {Drafts|null} */ (null);
    this.heartbeat = /** @type {Heartbeat|null} */ (null);
    this.failures = new Failures(this);
    this.lastAnswer = new Undo({
      onTakenBack: (answer) => this.#takenBack(answer),
      onRefused: (error) => this.failures.refused(error),
    });
    this.waitsFor = /** @type {string|null} */ (null); // idempotency key whose answer decides what comes next
    this.ended = false;
    this.timer = 0;
    listenToFeedback();
  }

  /** @returns {boolean} whether an answer may be given now; says why not where the person can mend it */
  mayAnswer() {
    if (!this.presenter.painted || this.ended) return false;
    if (this.presenter.pair?.reference) {
      // Nobody can tell what differs from a reference that was never on the screen.
      if (this.viewer.swaps > 0 || this.flicker.ran) return true;
      showHint(t("fidelity.look_first"));
      return false;
    }
    if (!this.viewer.swapped) return true;
    showHint(t("task.unswap_first"));
    return false;
  }

  /**
   * Ask the server where the person is, and go on from there. Also what a break's end and a reload do.
   * @param {{takeOver?: boolean}} [options]
   */
  async enter({ takeOver = false } = {}) {
    clearTimeout(this.timer);
    /** @type {SessionState} */
    let session;
    try {
      session = await post("api/session", { tab_token: tabToken(base()), take_over: takeOver });
    } catch (error) {
      this.failures.enterFailed(error, { takeOver });
      return;
    }
    const first = this.state === null;
    this.state = session;
    if (first) this.#begin(session);
    this.lastAnswer.offer(session.undo?.vote_id);
    this.queue.replace(session.queue.filter((pair) => !this.outbox?.holds(pair.token)));
    this.go(session);
  }

  /**
   * Enter again after a while; an entry that was planned before is forgotten.
   * @param {number} seconds
   * @param {{takeOver?: boolean}} [options]
   */
  enterIn(seconds, options = {}) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.enter(options), seconds * 1000);
  }

  /** Take the last answer back. */
  async undo() {
    clearHint();
    if (this.outbox && this.outbox.size > 0) return showHint(t("task.undo_wait"));
    if (this.ended) return showHint(t("task.undo_nothing"));
    return this.lastAnswer.take();
  }

  /** Show the first pair of the queue, and load the one after it meanwhile. */
  async show() {
    const pair = this.queue.current;
    if (!pair) return this.#queueIsEmpty();
    if (pair.boosting && this.flicker.undecided) return this.#askAboutFlicker(pair.boosting.rate_hz);
    const pictures = this.queue.pictures(pair);
    const outcome = await this.presenter.present(pair, pictures, {
      withPrompt: this.state?.study.show_prompt ?? true, said: this.drafts?.of(pair.token) ?? {},
      start: pair.boosting ? "enlarged" : this.state?.study.show_at ?? "fit",
    });
    if (outcome === "missing") return this.failures.reportMissing(pair);
    if (outcome === "overtaken") return undefined;
    const { done, total } = this.state?.progress ?? { done: 0, total: 0 };
    this.#progress();
    this.presenter.announce(done + (this.outbox?.size ?? 0) + 1, total);
    this.queue.preloadNext();
  }

  /**
   * Go on with what the server says comes next.
   * @param {{state: import("./api.js").State, retry_after?: number}} answer
   */
  go({ state, retry_after }) {
    clearTimeout(this.timer);
    this.#progress();
    if (state === "task") {
      void this.show();
      return;
    }
    this.presenter.hide();
    if (this.outbox && this.outbox.size > 0) showPending(this.outbox); // `#accepted` goes on from here
    else if (state === "finished") this.#finish();
    else if (state === "break") this.#breakNow();
    else this.stand(state, retry_after);
  }

  /**
   * There is no pair to show: say why, and ask again by itself where one may come.
   * @param {"waiting"|"paused"|"closed"} why
   * @param {number|null} [retryAfter] seconds
   */
  stand(why, retryAfter) {
    if (why === "closed") return showClosed(toThanks);
    if (why === "paused") showPaused();
    else showWaiting();
    this.enterIn(retryAfter ?? RETRY_SECONDS);
  }

  /** Stop for good: the study goes on elsewhere. */
  stop() {
    this.ended = true;
    this.outbox?.stop();
    this.heartbeat?.stop();
    clearTimeout(this.timer);
    this.presenter.hide();
  }

  /** @param {SessionState} session */
  #begin(session) {
    this.choices.build(session.study);
    const name = `${session.study.slug}:${session.session_key}`;
    this.drafts = new Drafts(name);
    this.flicker.remember(name);
    this.pace = new Pace(name, session.study.seconds_per_vote);
    const outbox = new Outbox({
      name,
      send: (answer) => post("api/votes", { ...answer, tab_token: tabToken(base()) }, { keepalive: true }),
      onAccepted: (answer, response) => this.#accepted(answer.idempotency_key, response),
      onRefused: (answer, error) => this.failures.voteRefused(answer.idempotency_key, error),
      onState: (state, size) => {
        showSaving(state, size, outbox.durable);
        this.#waitVisibly(outbox);
      },
    });
    this.outbox = outbox;
    byId("save-now").addEventListener("click", () => outbox.sendNow());
    window.addEventListener("beforeunload", (event) => {
      if (outbox.size > 0 && !outbox.durable) event.preventDefault();
    });
    outbox.sendNow();
    this.heartbeat = new Heartbeat({
      tokens: () => this.queue.tokens,
      onLost: (lost) => this.failures.leasesLost(lost),
      onRefused: (error) => this.failures.refused(error),
    });
  }

  /**
   * @param {{answers: Record<string, string>, rankings?: Record<string, string>}} said the answers, with their strengths where the study asks for them
   * @param {InputKind} input
   */
  #submit(said, input) {
    const pair = this.presenter.pair;
    if (!pair || !this.outbox || !this.state) return;
    clearHint();
    const key = newKey();
    const practice = pair.kind_public === "practice";
    this.drafts?.keep(pair.token, this.choices.said);
    const seen = this.presenter.close({ keepVisible: practice });
    if (!practice) this.pace?.add(seen.response_ms);
    this.lastAnswer.offer(null);
    this.queue.remove(pair.token);
    if (practice || this.#endsBlock() || !this.queue.current) this.waitsFor = key;
    this.outbox.add({
      assignment: pair.token, ...said, ...seen, idempotency_key: key, input, viewport: viewport(),
    });
    byId("stage").focus({ preventScroll: true });
    if (this.waitsFor === null) void this.show();
    else this.#waitVisibly(this.outbox);
  }

  /** @returns {boolean} whether the answer just given is the last of its block */
  #endsBlock() {
    if (!this.state || !this.outbox) return false;
    const { block_done, block_length, done, total } = this.state.progress;
    const waiting = this.outbox.size + 1;
    return (block_length > 0 && block_done + waiting >= block_length) || done + waiting >= total;
  }

  /**
   * The server has stored an answer.
   * @param {string} key
   * @param {VoteAnswer} response
   */
  #accepted(key, response) {
    if (!this.state || this.ended) return;
    this.state.progress = response.progress;
    this.state.retry_after = response.retry_after;
    if (this.outbox?.size === 0) this.lastAnswer.offer(response.undo?.vote_id);
    for (const pair of [response.next, ...response.more]) {
      if (pair && !this.outbox?.holds(pair.token)) this.queue.append(pair);
    }
    if (this.presenter.painted) {
      this.queue.preloadNext();
      this.#progress();
    }
    if (this.waitsFor === key) {
      this.waitsFor = null;
      hidePanel(); // it may have said that this answer was still on its way
      if (response.feedback) showFeedback(response.feedback, this.choices.words(), () => this.go(response));
      else this.go(response);
    } else if (!this.presenter.pair && this.outbox?.size === 0) {
      void this.enter(); // the page stood at "almost done"; now the server can say what comes
    }
  }

  /**
   * The last answer is taken back: its pair is shown again.
   * @param {{assignment: Assignment, progress: import("./api.js").Progress}} answer
   */
  async #takenBack(answer) {
    if (this.state) this.state.progress = answer.progress;
    this.queue.putFirst(answer.assignment);
    hidePanel();
    await this.show();
    showHint(t(this.choices.awaitsDone ? "task.undone_several" : "task.undone"));
  }

  /**
   * Before the first picture that flickers: what comes, and the person's choice.
   * @param {number} rate
   */
  #askAboutFlicker(rate) {
    this.presenter.hide();
    showFlickerNotice(rate, this.state?.study.faster_flicker ?? false, (choice) => {
      this.flicker.decide(choice);
      hidePanel();
      byId("stage").focus({ preventScroll: true });
      void this.show();
    });
  }

  #finish() {
    this.drafts?.clear();
    toThanks();
  }

  #breakNow() {
    if (this.state) {
      showBreak(this.state.progress, {
        onContinue: () => void this.enter(),
        onUndo: this.lastAnswer.offered ? () => void this.undo() : null,
      });
    }
  }

  /**
   * Say on the stage that the next pair waits for an answer that cannot be sent; an empty stage would say nothing.
   * @param {Outbox} outbox
   */
  #waitVisibly(outbox) {
    if (this.waitsFor !== null && outbox.failing && !this.ended) showPending(outbox);
  }

  #queueIsEmpty() {
    this.presenter.hide();
    if (this.outbox && this.outbox.size > 0) showPending(this.outbox);
    else void this.enter();
  }

  #progress() {
    if (!this.state || !this.pace) return;
    const practice = this.queue.current?.kind_public === "practice";
    showProgress(this.state.progress, this.outbox?.size ?? 0, practice, this.pace);
  }
}

function toThanks() {
  location.assign(`${base()}/thanks`);
}
