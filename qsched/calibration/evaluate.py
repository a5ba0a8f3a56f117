"""Candidates and prompts to JAQ values: render what is not yet known, score it, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qsched.calibration.errors import CalibrationError
from qsched.calibration.families import Family, Point
from qsched.calibration.journal import Journal, Measured
from qsched.calibration.trajectory import Row, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scoring import Jaq


@dataclass(frozen=True)
class Budget:
    """The most that a search may spend; None is no limit. Minutes make a result depend on the machine."""

    nfe: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("nfe", self.nfe), ("minutes", self.minutes)):
            if value is not None and not value > 0:
                raise CalibrationError(f"a budget of {value} {name}; give a number above 0")


class BudgetSpent(Exception):
    """The budget does not allow the next batch; the search ends with what it has. Never seen by a user."""


@dataclass(frozen=True)
class Progress:
    """How far a search is."""

    done: int  # pictures measured, those of earlier runs included
    planned: int  # an upper bound: candidates may be eliminated
    nfe: int
    seconds: float
    best: Point
    best_gain: float  # over (1, 1), on the prompts that both have
    seconds_left: float | None


class Evaluator:
    """The objective function of the search, with its memory. One evaluator a set of prompts."""

    def __init__(
        self,
        renderer: TrajectoryRenderer,
        objective: Jaq,
        family: Family,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        journal: Journal,
        *,
        budget: Budget = Budget(),
        planned: int = 0,
        batch_rows: int = 32,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._renderer, self._objective, self._family = renderer, objective, family
        self._prompts, self._seeds, self._journal = list(prompts), list(seeds), journal
        self._budget, self._planned, self._batch_rows = budget, planned, batch_rows
        self._on_progress = on_progress
        self._started, self._nfe_before = time.monotonic(), renderer.nfe
        self._resumed_nfe, self._resumed_seconds = journal.spent_nfe, journal.spent_seconds
        self._resumed_count = len(journal.values)
        self._sums: dict[Point, list[float]] = {}  # sum and count of the gains over (1, 1), for the progress line
        self._add_gains(list(journal.values.values()))

    @property
    def n_prompts(self) -> int:
        return len(self._prompts)

    @property
    def nfe(self) -> int:
        """Model evaluations so far, earlier runs of the same journal included."""
        return self._resumed_nfe + self._renderer.nfe - self._nfe_before

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier runs included (up to their last written batch)."""
        return self._resumed_seconds + time.monotonic() - self._started

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray:
        """JAQ [candidates, prompts]; `prompts` are indices (default: all). Raises BudgetSpent."""
        chosen = range(self.n_prompts) if prompts is None else prompts
        # Prompt by prompt inside a candidate: a batch mixes few candidates, and their prefixes are shared.
        missing = [
            (p, i) for p in points for i in chosen if (p, self._prompts[i].prompt_id) not in self._journal.values
        ]
        missing = list(dict.fromkeys(missing))
        for start in range(0, len(missing), self._batch_rows):
            batch = missing[start : start + self._batch_rows]
            affordable = self._affordable(len(batch))
            if affordable:
                self._measure(batch[:affordable])
            if affordable < len(batch):
                raise BudgetSpent
        ids = [self._prompts[i].prompt_id for i in chosen]
        return np.array([[self._journal.values[p, i].jaq for i in ids] for p in points])

    def measured_on_all(self) -> dict[Point, np.ndarray]:
        """Candidates that every prompt has been measured for, with their values [prompts]."""
        ids = [prompt.prompt_id for prompt in self._prompts]
        points = dict.fromkeys(point for point, _ in self._journal.values)
        known = self._journal.values
        return {p: np.array([known[p, i].jaq for i in ids]) for p in points if all((p, i) in known for i in ids)}

    def paired_gains(self) -> dict[Point, np.ndarray]:
        """JAQ minus that of (1, 1) for each candidate, on the prompts that it was measured for."""
        stock = self._family.identity
        known = self._journal.values
        gains: dict[Point, list[float]] = {}
        for (point, prompt_id), value in known.items():
            if (stock, prompt_id) in known:
                gains.setdefault(point, []).append(value.jaq - known[stock, prompt_id].jaq)
        return {point: np.array(values) for point, values in gains.items()}

    def _affordable(self, wanted: int) -> int:
        """Pictures of a batch that the budget pays for, at the full price of one NFE a step each."""
        if self._budget.minutes is not None and self.seconds > 60 * self._budget.minutes:
            return 0
        if self._budget.nfe is None:
            return wanted
        return min(wanted, max(0, self._budget.nfe - self.nfe) // self._renderer.steps)

    def _measure(self, work: list[tuple[Point, int]]) -> None:
        rows = [Row(self._prompts[i], self._seeds[i], self._family.coefficients(point)) for point, i in work]
        images = self._renderer.render(rows)
        scores = self._objective.score(
            images,
            [row.prompt.prompt for row in rows],
            names=[f"{row.prompt.prompt_id} at {point}" for row, (point, _) in zip(rows, work, strict=True)],
        )
        measured = [
            Measured(point, self._prompts[i].prompt_id, tc, iq, jaq)
            for (point, i), tc, iq, jaq in zip(work, scores.tc, scores.iq, scores.jaq, strict=True)
        ]
        self._journal.append(measured, nfe=self.nfe, seconds=self.seconds)
        self._add_gains(measured)
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _add_gains(self, measured: list[Measured]) -> None:
        for one in measured:
            stock = self._journal.values.get((self._family.identity, one.prompt_id))
            if stock is not None:
                total = self._sums.setdefault(one.point, [0.0, 0.0])
                total[0] += one.jaq - stock.jaq
                total[1] += 1

    def _progress(self) -> Progress:
        enough = min(3, self.n_prompts)
        means = {point: total / count for point, (total, count) in self._sums.items() if count >= enough}
        best = max(means, key=lambda point: means[point], default=self._family.identity)
        done = len(self._journal.values)
        rate = (done - self._resumed_count) / max(1e-9, time.monotonic() - self._started)
        left = max(0, self._planned - done) / rate if rate > 0 else None
        return Progress(done, max(self._planned, done), self.nfe, self.seconds, best, means.get(best, 0.0), left)
