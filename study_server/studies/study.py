"""A study as the server keeps it in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from study_server.studies.design import StudyDesign
from study_server.studies.session_length import TrialCounts, count_trials, failures_allowed_to_reject


class TripletGroup(NamedTuple):
    """Triplets of a fidelity study that get the same number of votes: the key of their row in `comparisons`, how many
    there are, and the votes of each."""

    id: int
    pairs: int
    votes: int


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the server keeps it in memory; its status is read from the database with each vote.

    `uid` is random and never names another study; `id` is the key of this database's tables. `groups` are there only
    where `fidelity: {votes: ...}` gives numbers of their own to plain and boosted triplets.
    """

    id: int
    uid: str
    slug: str
    title: str
    design: StudyDesign
    task_pairs: int
    practice_pairs: int
    gold_pairs: int
    trap_pairs: int = 0
    bias_pairs: int = 0
    groups: tuple[TripletGroup, ...] = ()

    @property
    def lease_ms(self) -> int:
        """Length of a lease."""
        return self.design.lease_seconds * 1000

    @property
    def failed_checks_end(self) -> int | None:
        """How many failed attention checks end a session; None if none does."""
        limit = self.design.end_after_failed_checks
        return failures_allowed_to_reject(self.design, self.count_trials()) if limit == "prolific" else limit

    def count_trials(self, *, seen: int = 0) -> TrialCounts:
        """The trials of a new session; `seen` task pairs are known to this person already."""
        return count_trials(
            self.design,
            task_pairs=self.task_pairs,
            practice_pairs=self.practice_pairs,
            gold_pairs=self.gold_pairs,
            trap_pairs=self.trap_pairs,
            bias_pairs=self.bias_pairs,
            seen=seen,
        )
