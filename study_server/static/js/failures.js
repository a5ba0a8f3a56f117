/** What the session does when the server says no, when it says nothing, and when a pair cannot be judged. */

import { HttpError, NetworkError, base, newKey, post } from "./api.js";
import { showConnecting, showError, showOtherTab } from "./panel.js";
import { showHint, showRefusal } from "./status.js";
import { tabToken } from "./tabs.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./session.js").TaskSession} TaskSession */

export const RETRY_SECONDS = 5;
// What the server says where the study goes on, or ended, on another page; its front door knows which.
const MOVED = ["session_expired", "screening", "screened_out", "ended"];

export class Failures {
  /** @param {TaskSession} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * The session could not be had: try again where that may help.
   * @param {unknown} error
   * @param {{takeOver?: boolean}} again
   */
  enterFailed(error, again) {
    if (error instanceof NetworkError || (error instanceof HttpError && error.passing)) {
      const seconds = (error instanceof HttpError && error.retryAfter) || RETRY_SECONDS;
      if (!this.session.presenter.painted) showConnecting(() => void this.session.enter(again));
      this.session.enterIn(seconds, again);
    } else this.refused(error);
  }

  /** @param {unknown} error a definite no: another tab, an ended session, a closed study */
  refused(error) {
    if (!(error instanceof HttpError)) throw error;
    this.session.presenter.hide();
    if (error.code === "other_tab") {
      this.session.heartbeat?.stop();
      showOtherTab(() => location.replace(`${base()}/task?take_over=1`));
    } else if (error.status === 401 || MOVED.includes(error.code)) location.assign(base());
    else if (error.code === "closed" || error.code === "paused") this.session.stand(error.code, error.retryAfter);
    else showError(error.message);
  }

  /**
   * The server will not take an answer.
   * @param {string} key
   * @param {HttpError} error
   * @returns {"drop"|"stop"} whether the outbox goes on without it or stops altogether
   */
  voteRefused(key, error) {
    if (error.code === "other_tab" || error.status === 401 || MOVED.includes(error.code)) {
      this.refused(error);
      return "stop";
    }
    if (error.code === "closed") {
      // The study closed while this answer was on its way: nothing is taken any more, and the page says so.
      this.session.waitsFor = null;
      this.refused(error);
      return "drop";
    }
    if (error.code === "lease_lost") showHint(t("task.answer_dropped"));
    else if (error.code !== "already_answered") showRefusal(t("save.refused", { message: error.message }));
    if (this.session.waitsFor === key) {
      this.session.waitsFor = null;
      this.session.enterIn(0);
    }
    return "drop";
  }

  /**
   * A picture that cannot be shown: the pair is reported and another takes its place.
   * @param {Assignment} pair
   */
  async reportMissing(pair) {
    const { session } = this;
    try {
      const answer = await post("api/report", {
        assignment: pair.token, problem: "image_missing", tab_token: tabToken(base()), idempotency_key: newKey(),
      });
      session.queue.remove(pair.token);
      for (const next of [answer.next, ...answer.more]) session.queue.append(next);
      if (session.state && answer.progress) session.state.progress = answer.progress;
      showHint(t("task.replaced"));
      session.go(answer);
    } catch (error) {
      if (error instanceof HttpError && error.code === "lease_lost") {
        session.queue.remove(pair.token);
        void session.show();
      } else this.enterFailed(error, {});
    }
  }

  /**
   * Pairs that were given to others while nobody was here.
   * @param {string[]} lost
   */
  leasesLost(lost) {
    const { session } = this;
    const current = session.queue.current;
    const wasShown = current !== undefined && lost.includes(current.token);
    for (const token of lost) session.queue.remove(token);
    if (!wasShown || session.waitsFor !== null) return;
    showHint(t("task.lease_lost"));
    void session.enter();
  }
}
