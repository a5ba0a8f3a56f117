"""The running shares of adaptive studies: the votes are looked at now and then, on a reader's thread.

A process keeps its own shares; what it draws from is what it stores, so that several processes need not agree.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from study_server.assignment import queries
from study_server.db import Reader, Tx
from study_server.studies.study import Study

log = logging.getLogger(__name__)
# Looking at the votes takes at most this share of one thread, however many votes there are.
DUTY = 0.05


@dataclass(slots=True)
class _State:
    shares: Mapping[int, float] = field(default_factory=dict)
    asked: int = 0
    not_before: float = 0.0
    due_at: float = 0.0
    running: bool = False


class ComparisonShares:
    """Shares of comparisons by study; never waits for the database."""

    def __init__(self, reader: Reader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[int, _State] = {}

    def shares(self, study: Study) -> Mapping[int, float]:
        """The latest shares of an adaptive study, empty before the first look; starts the next look when it is due."""
        adaptivity = study.design.adaptivity
        if adaptivity is None:
            return {}
        with self._lock:
            state = self._states.setdefault(study.id, _State())
            state.asked += 1
            now = self._clock()
            due = state.asked >= adaptivity.refresh_votes or now >= state.due_at
            start = due and not state.running and now >= state.not_before
            if start:
                state.running, state.asked = True, 0
            shares = state.shares
        if start:
            # Outside the lock: a future that is done already calls back at once.
            future = self._reader.submit(lambda tx: read_shares(tx, study))
            future.add_done_callback(lambda done: self._finish(state, study, started=now, done=done))
        return shares

    def _finish(self, state: _State, study: Study, *, started: float, done: Future[Mapping[int, float]]) -> None:
        adaptivity = study.design.adaptivity
        error = done.exception()
        with self._lock:
            now = self._clock()
            state.running = False
            state.due_at = started + (adaptivity.refresh_seconds if adaptivity else 0.0)
            state.not_before = now + (now - started) * (1 / DUTY - 1)
            if error is None:
                state.shares = done.result()
        if error is not None:
            # The last shares, or even ones, go on being drawn from: every stored probability stays true.
            log.warning("study %s: the shares of its comparisons were not renewed: %s", study.slug, error)


def read_shares(tx: Tx, study: Study) -> Mapping[int, float]:
    """Shares of the next batch by comparison id, from the votes in the database."""
    # Only adaptive studies pay for numpy.
    from study_server.assignment.ranking import Tally, fit_posterior, plan_batch

    adaptivity = study.design.adaptivity
    if adaptivity is None:
        return {}
    comparisons = tx.all(queries.COMPARISONS, study=study.id)
    arms = {arm: place for place, arm in enumerate(sorted({arm for row in comparisons for arm in row[1:]}))}
    pairs = {number: (arms[first], arms[second]) for number, first, second in comparisons}
    question = adaptivity.question or study.design.questions[0].id
    tallies = {
        pairs[number]: Tally(int(first), int(second), int(ties))
        for number, first, second, ties in tx.all(queries.TALLY, study=study.id, question=question)
    }
    posterior = fit_posterior(len(arms), tallies, design_effect=adaptivity.design_effect)
    shares = plan_batch(posterior, list(pairs.values()), votes=adaptivity.refresh_votes)
    return dict(zip(pairs, shares, strict=True))
