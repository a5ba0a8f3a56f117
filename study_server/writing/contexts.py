"""Binds a job to what it needs of the process that runs it: pairs seen lately, a source of chance, running shares."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from study_server.assignment.records import AssignmentContext, PairCache
from study_server.assignment.shares import ComparisonShares
from study_server.clock import now_ms
from study_server.db import Reader, Tx
from study_server.studies.study import Study


class AssignmentContexts:
    """One a process that writes."""

    def __init__(self, reader: Reader) -> None:
        self._pairs = PairCache()
        self._rng = random.Random()
        self._board = ComparisonShares(reader)

    def context(self, study: Study) -> AssignmentContext:
        """The context of one job, at the time it runs."""
        return AssignmentContext(study, self._pairs, self._rng, now_ms(), self._board.shares(study))

    def bind(self, function: Callable[..., Any], study: Study | None, values: Mapping[str, Any]) -> Callable[[Tx], Any]:
        """The job as a function of its transaction."""
        if study is None:
            return lambda tx: function(tx, **values)
        return lambda tx: function(tx, self.context(study), **values)
