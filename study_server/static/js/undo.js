/** Taking the last answer back: which one may be, and the button that says so. */

import { byId } from "./announce.js";
import { HttpError, NetworkError, base, post } from "./api.js";
import { showHint } from "./status.js";
import { tabToken } from "./tabs.js";
import { t } from "./text.js";

/** @typedef {import("./api.js").Assignment} Assignment */
/** @typedef {import("./api.js").Progress} Progress */

export class Undo {
  /**
   * @param {object} options
   * @param {(answer: {assignment: Assignment, progress: Progress}) => Promise<void>} options.onTakenBack
   * @param {(error: unknown) => void} options.onRefused a definite no that concerns the whole session
   */
  constructor({ onTakenBack, onRefused }) {
    this.onTakenBack = onTakenBack;
    this.onRefused = onRefused;
    /** @type {string|null} */
    this.vote = null;
  }

  /** @returns {boolean} whether there is an answer to take back */
  get offered() {
    return this.vote !== null;
  }

  /** @param {string|null|undefined} voteId the vote that may be taken back now, if any */
  offer(voteId) {
    this.vote = voteId || null;
    byId("tool-undo").toggleAttribute("disabled", this.vote === null);
  }

  /** Ask the server for the last pair again; its next answer supersedes the old one. */
  async take() {
    const vote = this.vote;
    if (!vote) return showHint(t("task.undo_nothing"));
    this.offer(null);
    try {
      const answer = await post("api/undo", {
        vote_id: vote, tab_token: tabToken(base()),
      });
      await this.onTakenBack(answer);
    } catch (error) {
      if (error instanceof HttpError && error.code === "undo_closed") showHint(t("task.undo_closed"));
      else if (error instanceof NetworkError || (error instanceof HttpError && error.passing)) {
        this.offer(vote); // the lost request may have arrived; asking again is harmless
        showHint(t("task.undo_failed"));
      } else this.onRefused(error);
    }
  }
}
