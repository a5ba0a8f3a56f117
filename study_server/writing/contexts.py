"""Gives each job what it needs of its process: pairs shown lately, a source of chance, the running shares."""

from __future__ import annotations

import random

from study_server.assignment.records import AssignmentContext, PairCache
from study_server.assignment.shares import ComparisonShares
from study_server.clock import now_ms
from study_server.db import Reader
from study_server.studies.study import Study


class AssignmentContexts:
    """One per process."""

    def __init__(self, reader: Reader) -> None:
        self._pairs = PairCache()
        self._rng = random.Random()
        self._shares = ComparisonShares(reader)

    def make(self, study: Study) -> AssignmentContext:
        """The context of one job, at the time it runs."""
        return AssignmentContext(study, self._pairs, self._rng, now_ms(), self._shares.shares(study))
