"""Candidates and prompts to JAQ values: render what is not yet known, score it, write it down.

The journal is a cache and may know values that this run has not asked for: of a killed run's later part, or of a search
over another range. They must not steer the search or win it, so everything reported here is about what was asked for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qsched.calibration.errors import CalibrationError
from qsched.calibration.families import CoefficientFamily, Point
from qsched.calibration.journal import Journal, Measured
from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq
from qsched.scoring.jaq_score import spread_units


@dataclass(frozen=True)
class Budget:
    """The most that a search may spend; None means no limit. Minutes make a result depend on the machine."""

    nfe: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("nfe", self.nfe), ("minutes", self.minutes)):
            if value is not None and not 0 < value < math.inf:
                raise CalibrationError(f"a budget of {value} {name}; give a number above 0, or none for no limit")

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
    best: Coefficients
    best_gain: float  # over (1, 1), on the prompts that both have
    seconds_left: float | None  # at most: candidates may be eliminated, a budget may end it


class CandidateObjective(Protocol):
    """What a search needs of the evaluator."""

    @property
    def n_prompts(self) -> int: ...

    def values(self, candidates: Sequence[Coefficients], prompts: Sequence[int] | None = None) -> np.ndarray: ...

    def paired_gains(self) -> dict[Coefficients, np.ndarray]: ...

    def table(self) -> tuple[list[Coefficients], np.ndarray]: ...


@dataclass(frozen=True)
class BatchTerms:
    """TC and IQ of the pictures of a batch, in its order, and the model evaluations that they took."""

    tc: tuple[float, ...]
    iq: tuple[float, ...]
    nfe: int


class BatchMeasurer(Protocol):
    """Measures batches elsewhere (ray_search.py)."""

    def measure(self, batches: Sequence[Sequence[tuple[Coefficients, int]]]) -> Iterator[tuple[int, BatchTerms]]:
        """(number of the batch, its terms), each batch once, in any order."""
        ...


class LocalMeasurer:
    """Renders and scores a batch in this process; prompts are known by their numbers."""

    def __init__(
        self, renderer: TrajectoryRenderer, objective: Jaq, prompts: Sequence[Prompt], seeds: Sequence[int]
    ) -> None:
        self._renderer, self._objective = renderer, objective
        self._prompts, self._seeds = list(prompts), list(seeds)
        self.first_step_known = False

    def know_first_step(self) -> None:
        """Evaluate the first step of all prompts, in batches that depend on nothing else, unless it is known."""
        if not self.first_step_known:
            self._renderer.evaluate_first_step(self._prompts, self._seeds)
            self.first_step_known = True

    def measure_one(self, batch: Sequence[tuple[Coefficients, int]]) -> BatchTerms:
        """The terms of one batch."""
        before = self._renderer.nfe
        rows = [BatchRow(self._prompts[i], self._seeds[i], candidate) for candidate, i in batch]
        self.know_first_step()
        images = self._renderer.render(rows)
        scores = self._objective.score(
            images,
            [row.prompt.prompt for row in rows],
            names=[f"{row.prompt.prompt_id} at {row.coefficients.words}" for row in rows],
        )
        return BatchTerms(tuple(scores.tc), tuple(scores.iq), self._renderer.nfe - before)


class Evaluator:
    """The objective function of the search, with its memory. One evaluator per set of prompts.

    Candidates are known by their numbers step by step (`Coefficients.at_steps`), so the families share their values.
    `spent_before` NFE of another model, the full-precision run, count as the search's. A `shard` (i of n, from 1)
    measures every n-th batch. A `measurer` measures the batches elsewhere; then a budget means nothing.
    """

    def __init__(
        self,
        renderer: TrajectoryRenderer,
        objective: Jaq,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        journal: Journal,
        *,
        budget: Budget = Budget(),
        planned: int = 0,
        batch_rows: int = 32,
        spent_before: int = 0,
        shard: tuple[int, int] | None = None,
        measurer: BatchMeasurer | None = None,
        on_progress: Callable[[SearchProgress], None] | None = None,
    ) -> None:
        self._renderer, self._objective = renderer, objective
        self._stock = self._key(Coefficients.constant())
        self._prompts, self._seeds, self._journal = list(prompts), list(seeds), journal
        self._budget, self._planned, self._batch_rows = budget, planned, batch_rows
        self._on_progress, self._shard, self._batches = on_progress, shard, 0
        self._started, self._nfe_before = time.monotonic(), renderer.nfe
        self._resumed_nfe, self._resumed_seconds = journal.spent_nfe + spent_before, journal.spent_seconds
        self._asked: dict[tuple[Coefficients, str], float] = {}  # JAQ of what this run wanted to know, in that order
        self._sums: dict[
            Coefficients, list[float]
        ] = {}  # sum and count of the gains over (1, 1), for the progress line
        self._of_others: set[tuple[Coefficients, int]] = set()  # what other shards measure
        self._rendered = 0
        self._reserve = 0
        self._here = LocalMeasurer(renderer, objective, self._prompts, self._seeds)
        self._elsewhere, self._elsewhere_nfe = measurer, 0

    @property
    def n_prompts(self) -> int:
        return len(self._prompts)

    @property
    def objective(self) -> Jaq:
        """The objective in the units of this search."""
        return self._objective

    def standardise(self) -> None:
        """From now on TC and IQ are in units of their spread over the prompts at (1, 1), which must be known."""
        stock = [self._journal.values[self._stock, prompt.prompt_id] for prompt in self._prompts]
        units = spread_units([one.tc for one in stock], [one.iq for one in stock])
        self._objective = self._objective.in_units(units)
        keys = list(self._asked)
        self._asked, self._sums = {}, {}
        self._ask(keys)

    @property
    def nfe(self) -> int:
        """Model evaluations so far, earlier runs of the same search included."""
        return self._resumed_nfe + self._renderer.nfe - self._nfe_before + self._elsewhere_nfe

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier runs included (up to their last written batch)."""
        return self._resumed_seconds + time.monotonic() - self._started

    @property
    def reused(self) -> int:
        """Pictures of this search that another search of the journal had measured."""
        return sum(self._journal.values[key].search != self._journal.search for key in self._asked)

    def reserve(self, pictures: int) -> None:
        """Keep so many pictures' NFE of the budget back, from now on: for the leader when the rest is spent."""
        self._reserve = pictures * (self._renderer.steps - 1)

    def pay(self, nfe: int) -> None:
        """BudgetSpent unless the budget has room for so many NFE, which the caller is about to spend."""
        if self._budget.nfe is not None and self.nfe + nfe + self._reserve > self._budget.nfe:
            raise BudgetSpent
        if self._budget.minutes is not None and self.seconds > 60 * self._budget.minutes:
            raise BudgetSpent

    def values(self, candidates: Sequence[Coefficients], prompts: Sequence[int] | None = None) -> np.ndarray:
        """JAQ [candidates, prompts]; `prompts` are indices (default: all). Raises BudgetSpent.

        A shard knows only every so-and-so-many-th batch, and NaN for the rest.
        """
        chosen = range(self.n_prompts) if prompts is None else prompts
        keys = [self._key(candidate) for candidate in candidates]
        # Prompt by prompt inside a candidate: a batch mixes few candidates, and their prefixes are shared. Batches are
        # cut from what is new to this run, not from what the journal lacks: a resumed run has those of the killed one.
        wanted = dict.fromkeys((key, i) for key in keys for i in chosen)
        new = [(key, i) for key, i in wanted if (key, self._prompts[i].prompt_id) not in self._asked]
        new = [work for work in new if work not in self._of_others]
        batches = [new[start : start + self._batch_rows] for start in range(0, len(new), self._batch_rows)]
        if self._elsewhere is not None:
            self._know_from(self._elsewhere, batches)
        else:
            for batch in batches:
                if self._is_mine():
                    self._know(batch)
                else:
                    self._of_others.update(batch)
        ids, missing = [self._prompts[i].prompt_id for i in chosen], float("nan")
        return np.array([[self._asked.get((key, i), missing) for i in ids] for key in keys])

    def _is_mine(self) -> bool:
        """True for the next batch if there are no shards, or if it is this shard's."""
        self._batches += 1
        return self._shard is None or (self._batches - 1) % self._shard[1] == self._shard[0] - 1

    def measured_on_all(self) -> dict[Coefficients, np.ndarray]:
        """Candidates of this run that every prompt has been measured for, with their values [prompts]."""
        ids = [prompt.prompt_id for prompt in self._prompts]
        known = self._asked
        candidates = dict.fromkeys(candidate for candidate, _ in known)
        return {c: np.array([known[c, i] for i in ids]) for c in candidates if all((c, i) in known for i in ids)}

    def paired_gains(self) -> dict[Coefficients, np.ndarray]:
        """JAQ minus that of (1, 1) for each candidate of this run, on the prompts that it was measured for."""
        gains: dict[Coefficients, list[float]] = {}
        for (candidate, prompt_id), jaq in self._asked.items():
            if (self._stock, prompt_id) in self._asked:
                gains.setdefault(candidate, []).append(jaq - self._asked[self._stock, prompt_id])
        return {candidate: np.array(values) for candidate, values in gains.items()}

    def table(self) -> tuple[list[Coefficients], np.ndarray]:
        """The candidates of this run, and their JAQ [candidates, prompts]; NaN where not measured."""
        candidates = list(dict.fromkeys(candidate for candidate, _ in self._asked))
        missing = float("nan")
        values = [[self._asked.get((c, prompt.prompt_id), missing) for prompt in self._prompts] for c in candidates]
        return candidates, np.array(values)

    def _key(self, candidate: Coefficients) -> Coefficients:
        """The same numbers step by step."""
        return candidate.at_steps(self._renderer.steps)

    def _know(self, batch: list[tuple[Coefficients, int]]) -> None:
        """Measure what the journal lacks of a batch, as far as the budget goes; BudgetSpent if it ends first."""
        keys = [(candidate, self._prompts[i].prompt_id) for candidate, i in batch]
        missing = [work for work, key in zip(batch, keys, strict=True) if key not in self._journal.values]
        try:
            while missing:
                affordable = self._affordable(missing)
                if not affordable:
                    raise BudgetSpent
                self._measure(missing[:affordable])
                missing = missing[affordable:]
        finally:
            self._ask(key for key in keys if key in self._journal.values)
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _know_from(self, elsewhere: BatchMeasurer, batches: list[list[tuple[Coefficients, int]]]) -> None:
        """Have others measure what the journal lacks. What this run knows comes in the order of the batches."""
        named = [[(candidate, self._prompts[i].prompt_id) for candidate, i in batch] for batch in batches]
        lacking = [
            [work for work, key in zip(batch, keys, strict=True) if key not in self._journal.values]
            for batch, keys in zip(batches, named, strict=True)
        ]
        numbers = [number for number, missing in enumerate(lacking) if missing]
        left = deque(range(len(batches)))

        def ask_in_order() -> None:
            while left and all(key in self._journal.values for key in named[left[0]]):
                self._ask(named[left.popleft()])
            if self._on_progress is not None:
                self._on_progress(self._progress())

        for place, terms in elsewhere.measure([lacking[number] for number in numbers]):
            self._elsewhere_nfe += terms.nfe
            self._keep(lacking[numbers[place]], terms)
            ask_in_order()
        ask_in_order()

    def _ask(self, keys: Iterable[tuple[Coefficients, str]]) -> None:
        for candidate, prompt_id in keys:
            measured = self._journal.values[candidate, prompt_id]
            self._asked[candidate, prompt_id] = jaq = self._objective.combined(measured.tc, measured.iq)
            stock = self._asked.get((self._stock, prompt_id))
            if stock is not None:
                total = self._sums.setdefault(candidate, [0.0, 0.0])
                total[0] += jaq - stock
                total[1] += 1

    def _affordable(self, work: list[tuple[Coefficients, int]]) -> int:
        """Pictures of a batch that the budget pays for: S - 1 NFE each, and the first step of all prompts once.

        All of them if what they share with pictures that were made before leaves little enough to evaluate.
        """
        wanted = len(work)
        if self._budget.minutes is not None and self.seconds > 60 * self._budget.minutes:
            return 0
        if self._budget.nfe is None:
            return wanted
        left = self._budget.nfe - self._reserve - self.nfe - (0 if self._here.first_step_known else self.n_prompts)
        later_steps = self._renderer.steps - 1
        if left < 0:
            return 0
        rows = [BatchRow(self._prompts[i], self._seeds[i], candidate) for candidate, i in work]
        if left >= wanted * later_steps or left >= self._renderer.later_nfe(rows):
            return wanted
        return left // later_steps

    def know_first_step(self) -> None:
        """Evaluate the first step of all prompts, in batches that depend on nothing else, unless it is known."""
        self._here.know_first_step()

    def _measure(self, work: list[tuple[Coefficients, int]]) -> None:
        self._keep(work, self._here.measure_one(work))

    def _keep(self, work: list[tuple[Coefficients, int]], terms: BatchTerms) -> None:
        measured = [
            Measured(candidate, self._prompts[i].prompt_id, tc, iq)
            for (candidate, i), tc, iq in zip(work, terms.tc, terms.iq, strict=True)
        ]
        self._journal.append(measured, nfe=self.nfe, seconds=self.seconds)
        self._rendered += len(measured)

    def _progress(self) -> SearchProgress:
        enough = min(3, self.n_prompts)
        means = {candidate: total / count for candidate, (total, count) in self._sums.items() if count >= enough}
        best = max(means, key=lambda candidate: means[candidate], default=self._stock)
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


class FamilyObjective:
    """An evaluator as the search of one family sees it: points instead of coefficients."""

    def __init__(self, evaluator: CandidateObjective, family: CoefficientFamily) -> None:
        self._evaluator, self._family = evaluator, family
        self._keys: dict[Coefficients, Point] = {}

    @property
    def n_prompts(self) -> int:
        return self._evaluator.n_prompts

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray:
        """JAQ [points, prompts]."""
        found = [self._family.coefficients(point) for point in points]
        self._keys.update({c.at_steps(self._family.steps): point for c, point in zip(found, points, strict=True)})
        return self._evaluator.values(found, prompts)

    def paired_gains(self) -> dict[Point, np.ndarray]:
        """Gains over (1, 1) of the points that were asked for here."""
        gains = self._evaluator.paired_gains()
        return {self._keys[key]: values for key, values in gains.items() if key in self._keys}

    def table(self) -> tuple[list[Point], np.ndarray]:
        """The points that were asked for here, and their JAQ [points, prompts]; NaN where not measured."""
        candidates, values = self._evaluator.table()
        places = [i for i, candidate in enumerate(candidates) if candidate in self._keys]
        return [self._keys[candidates[i]] for i in places], values[places]
