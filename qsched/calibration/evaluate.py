"""Candidates and prompts to JAQ values: render what is not yet known, score it, write it down.

The journal is a cache and may know values that this run has not asked for: of a killed run's later part, or of a search
over another range. They must not steer the search or win it, so everything reported here is about what was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
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
    """The most that a search may spend; None means no limit. Minutes make a result depend on the machine."""

    nfe: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("nfe", self.nfe), ("minutes", self.minutes)):
            if value is not None and not value > 0:
                raise CalibrationError(f"a budget of {value} {name}; give a number above 0")

    @property
    def words(self) -> str:
        """`200 NFE and 5 minutes`."""
        parts = [] if self.nfe is None else [f"{self.nfe:,} NFE"]
        return " and ".join(parts + ([] if self.minutes is None else [f"{self.minutes:g} minutes"])) or "no budget"


class BudgetSpent(Exception):
    """The budget does not allow the next batch; the search ends with what it has. Never seen by a user."""


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is."""

    done: int  # pictures of this search that are known, those of earlier runs included
    planned: int  # an upper bound: candidates may be eliminated
    nfe: int
    seconds: float
    best: Point
    best_gain: float  # over (1, 1), on the prompts that both have
    seconds_left: float | None  # at most: candidates may be eliminated, a budget may end it


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
        on_progress: Callable[[SearchProgress], None] | None = None,
    ) -> None:
        self._renderer, self._objective, self._family = renderer, objective, family
        self._prompts, self._seeds, self._journal = list(prompts), list(seeds), journal
        self._budget, self._planned, self._batch_rows = budget, planned, batch_rows
        self._on_progress = on_progress
        self._started, self._nfe_before = time.monotonic(), renderer.nfe
        self._resumed_nfe, self._resumed_seconds = journal.spent_nfe, journal.spent_seconds
        self._asked: dict[tuple[Point, str], float] = {}  # JAQ of what this run wanted to know, in that order
        self._sums: dict[Point, list[float]] = {}  # sum and count of the gains over (1, 1), for the progress line
        self._rendered = 0
        self._first_step_known = False

    @property
    def n_prompts(self) -> int:
        return len(self._prompts)

    @property
    def nfe(self) -> int:
        """Model evaluations so far, earlier runs of the same search included."""
        return self._resumed_nfe + self._renderer.nfe - self._nfe_before

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier runs included (up to their last written batch)."""
        return self._resumed_seconds + time.monotonic() - self._started

    @property
    def most_nfe(self) -> int:
        """What the whole search can take at most."""
        return self.n_prompts + self._planned * (self._renderer.steps - 1)

    @property
    def reused(self) -> int:
        """Pictures of this search that another search of the journal had measured."""
        return sum(self._journal.values[key].search != self._journal.search for key in self._asked)

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray:
        """JAQ [candidates, prompts]; `prompts` are indices (default: all). Raises BudgetSpent."""
        chosen = range(self.n_prompts) if prompts is None else prompts
        # Prompt by prompt inside a candidate: a batch mixes few candidates, and their prefixes are shared. Batches are
        # cut from what is new to this run, not from what the journal lacks: a resumed run has those of the killed one.
        wanted = dict.fromkeys((p, i) for p in points for i in chosen)
        new = [(p, i) for p, i in wanted if (p, self._prompts[i].prompt_id) not in self._asked]
        for start in range(0, len(new), self._batch_rows):
            self._know(new[start : start + self._batch_rows])
        ids = [self._prompts[i].prompt_id for i in chosen]
        return np.array([[self._asked[p, i] for i in ids] for p in points])

    def measured_on_all(self) -> dict[Point, np.ndarray]:
        """Candidates of this run that every prompt has been measured for, with their values [prompts]."""
        ids = [prompt.prompt_id for prompt in self._prompts]
        known = self._asked
        points = dict.fromkeys(point for point, _ in known)
        return {p: np.array([known[p, i] for i in ids]) for p in points if all((p, i) in known for i in ids)}

    def paired_gains(self) -> dict[Point, np.ndarray]:
        """JAQ minus that of (1, 1) for each candidate of this run, on the prompts that it was measured for."""
        stock = self._family.identity
        gains: dict[Point, list[float]] = {}
        for (point, prompt_id), jaq in self._asked.items():
            if (stock, prompt_id) in self._asked:
                gains.setdefault(point, []).append(jaq - self._asked[stock, prompt_id])
        return {point: np.array(values) for point, values in gains.items()}

    def _know(self, batch: list[tuple[Point, int]]) -> None:
        """Measure what the journal lacks of a batch, as far as the budget goes; BudgetSpent if it ends first."""
        keys = [(point, self._prompts[i].prompt_id) for point, i in batch]
        missing = [work for work, key in zip(batch, keys, strict=True) if key not in self._journal.values]
        try:
            while missing:
                affordable = self._affordable(len(missing))
                if not affordable:
                    raise BudgetSpent
                self._measure(missing[:affordable])
                missing = missing[affordable:]
        finally:
            self._ask(key for key in keys if key in self._journal.values)
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _ask(self, keys: Iterable[tuple[Point, str]]) -> None:
        for point, prompt_id in keys:
            self._asked[point, prompt_id] = jaq = self._journal.values[point, prompt_id].jaq
            stock = self._asked.get((self._family.identity, prompt_id))
            if stock is not None:
                total = self._sums.setdefault(point, [0.0, 0.0])
                total[0] += jaq - stock
                total[1] += 1

    def _affordable(self, wanted: int) -> int:
        """Pictures of a batch that the budget pays for: S - 1 NFE each, and the first step of all prompts once."""
        if self._budget.minutes is not None and self.seconds > 60 * self._budget.minutes:
            return 0
        if self._budget.nfe is None:
            return wanted
        left = self._budget.nfe - self.nfe - (0 if self._first_step_known else self.n_prompts)
        later_steps = self._renderer.steps - 1
        if left < 0:
            return 0
        return min(wanted, left // later_steps) if later_steps else wanted

    def _measure(self, work: list[tuple[Point, int]]) -> None:
        rows = [Row(self._prompts[i], self._seeds[i], self._family.coefficients(point)) for point, i in work]
        if not self._first_step_known:
            self._renderer.evaluate_first_step(self._prompts, self._seeds)
            self._first_step_known = True
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
        self._rendered += len(measured)

    def _progress(self) -> SearchProgress:
        enough = min(3, self.n_prompts)
        means = {point: total / count for point, (total, count) in self._sums.items() if count >= enough}
        best = max(means, key=lambda point: means[point], default=self._family.identity)
        done = len(self._asked)
        left = self._seconds_left(max(0, self._planned - done))
        return SearchProgress(done, max(self._planned, done), self.nfe, self.seconds, best, means.get(best, 0.0), left)

    def _seconds_left(self, pictures: int) -> float | None:
        """An upper bound at this run's pace; None before the first picture."""
        if not self._rendered:
            return None
        pace = (time.monotonic() - self._started) / self._rendered
        if self._budget.nfe is not None and self._renderer.steps > 1:
            pictures = min(pictures, max(0, self._budget.nfe - self.nfe) // (self._renderer.steps - 1))
        left = pictures * pace
        return left if self._budget.minutes is None else max(0.0, min(left, 60 * self._budget.minutes - self.seconds))
