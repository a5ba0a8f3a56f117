"""The table of counts that every estimator works on: votes per (left arm, right arm, outcome), also per cluster.

The likelihood of every model here needs no more than these counts, so the cost of a fit does not depend on the
number of votes. Legend of shapes: K arms, C cells (distinct left, right, position, covariates), 3 outcomes in the
order (left wins, right wins, tie), G clusters (annotators or prompts).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import polars as pl
from scipy import sparse

from analysis.stats.cluster_counts import ClusterCounts, Ids, Matrix, by_cluster
from analysis.stats.on_demand import OnDemand
from analysis.stats.results import Array
from analysis.stats.together import Together
from analysis.votes.coded import Coded, IntArray, codes, refuse_empty
from analysis.votes.screened import screened_frame
from analysis.votes.table import VotesTable
from qsched.records import InputError

OUTCOMES = ("left", "right", "tie")
KEYS = ("left_arm", "right_arm", "choice")
#: Column of ids: name of its clusters.
CLUSTER_COLUMNS = {"annotator": "annotator", "prompt_id": "prompt"}
#: So many arms or fewer have a table of all pairs; pairs of more are sorted.
_TABULATED_ARMS = 1000


@dataclass(frozen=True)
class VoteCounts:
    """Aggregated votes. `left`, `right`: arm codes (C,); `position` (C,): 1 if being on the left may matter,
    0 if the order means nothing; `covariates` (C, q); `outcomes` (C, 3); `clusters` by name. `together`: in place of
    the cluster of both annotator and prompt, if the votes were counted elsewhere."""

    arms: tuple[str, ...]
    left: IntArray
    right: IntArray
    position: Array
    covariates: Array
    outcomes: Array
    covariate_names: tuple[str, ...] = ()
    clusters: Mapping[str, ClusterCounts] = field(default_factory=dict)
    together: Together | None = None

    @property
    def n_arms(self) -> int:
        """K."""
        return len(self.arms)

    @property
    def n_cells(self) -> int:
        """C."""
        return len(self.left)

    @property
    def n_votes(self) -> float:
        """Votes in the table (fractional if rows were weighted)."""
        return float(self.outcomes.sum())

    def votes_of_arms(self) -> Array:
        """Votes in which each arm takes part, shape (K,)."""
        n_C = self.outcomes.sum(axis=1)
        k = self.n_arms
        return np.asarray(np.bincount(self.left, n_C, k) + np.bincount(self.right, n_C, k), dtype=np.float64)

    def wins_of_arms(self) -> Array:
        """Votes that each arm won, shape (K,)."""
        k = self.n_arms
        left, right = np.bincount(self.left, self.outcomes[:, 0], k), np.bincount(self.right, self.outcomes[:, 1], k)
        return np.asarray(left + right, dtype=np.float64)

    def with_outcomes(self, outcomes: Array) -> VoteCounts:
        """The same cells with other counts and without clusters."""
        return replace(self, outcomes=outcomes, clusters={}, together=None)

    def without_ties(self) -> VoteCounts:
        """The votes that are not ties, also within clusters."""
        keep = np.tile(np.array([1.0, 1.0, 0.0]), self.n_cells)
        outcomes = (self.outcomes.ravel() * keep).reshape(-1, 3)
        clusters = OnDemand(partial(_scaled, self.clusters, keep))
        together = None if self.together is None else self.together.without_ties()
        return replace(self, outcomes=outcomes, clusters=clusters, together=together)

    def restrict(self, arms: Sequence[str]) -> VoteCounts:
        """The votes between the named arms only."""
        if self.together is not None:
            raise InputError(
                "Of counted votes some arms alone cannot be analysed. Leave the others out when you count."
            )
        unknown = [arm for arm in arms if arm not in self.arms]
        if unknown:
            raise InputError(f"Arm {unknown[0]!r} has no votes; the arms are {', '.join(self.arms)}.")
        chosen = tuple(arm for arm in self.arms if arm in set(arms))
        code = np.full(self.n_arms, -1)
        code[[self.arms.index(arm) for arm in chosen]] = np.arange(len(chosen))
        cells = np.flatnonzero((code[self.left] >= 0) & (code[self.right] >= 0))
        columns = (cells[:, None] * 3 + np.arange(3)).ravel()
        clusters = {}
        for name, part in self.clusters.items():
            kept = part.counts[:, columns]
            rows = np.flatnonzero(np.asarray(kept.sum(axis=1)).ravel() > 0)
            labels = tuple(part.labels[i] for i in rows) if part.labels else ()
            clusters[name] = ClusterCounts(name, labels, kept[rows])
        return replace(
            self,
            arms=chosen,
            left=code[self.left[cells]],
            right=code[self.right[cells]],
            position=self.position[cells],
            covariates=self.covariates[cells],
            outcomes=self.outcomes[cells],
            clusters=clusters,
        )


def _scaled(clusters: Mapping[str, ClusterCounts], factor: Array) -> dict[str, ClusterCounts]:
    return {name: replace(part, counts=_scale_columns(part.counts, factor)) for name, part in clusters.items()}


def _scale_columns(counts: Matrix, factor: Array) -> Matrix:
    if sparse.issparse(counts):
        return sparse.csr_array(counts.multiply(factor[None, :]))
    return np.asarray(counts * factor[None, :])


def count_votes(votes: VotesTable | pl.DataFrame, *, covariates: Sequence[str] = ()) -> VoteCounts:
    """Count votes with columns left_arm, right_arm and choice; by annotator and by prompt if the votes have those ids.

    `covariates`: numeric columns added to the left arm's log-odds (say, left minus right file size).
    Raises InputError for votes of which `exclude` would leave some out and which it has not seen (gold, skips, too fast
    ones, those of annotators who failed their checks), and for no votes at all.
    """
    return count_frame(screened_frame(votes), covariates=covariates)


def count_frame(frame: pl.DataFrame, *, covariates: Sequence[str] = ()) -> VoteCounts:
    """As `count_votes`, of rows that are known to count."""
    lacking = [name for name in ("left_arm", "right_arm", "choice", *covariates) if name not in frame.columns]
    if lacking:
        raise InputError(f"The votes have no column {lacking[0]!r}; they have {', '.join(frame.columns)}.")
    if frame.height == 0:
        raise InputError("There are no votes to count: none were given, or all were excluded.")
    ids = {name: frame[name] for name in CLUSTER_COLUMNS if name in frame.columns}
    for series in ids.values():
        refuse_empty(series)
    values = {name: frame[name].cast(pl.Float64).to_numpy() for name in covariates}
    return _count({name: codes(frame[name]) for name in KEYS}, ids, values)


def count_coded(coded: Mapping[str, Coded], *, covariates: Mapping[str, Array] | None = None) -> VoteCounts:
    """Count votes given as coded columns: left_arm, right_arm, choice; annotator and prompt_id if there are any."""
    return _count(coded, {name: coded[name] for name in CLUSTER_COLUMNS if name in coded}, covariates or {})


def _count(keys: Mapping[str, Coded], ids: Mapping[str, Ids], covariates: Mapping[str, Array]) -> VoteCounts:
    (left_labels, left), (right_labels, right) = keys["left_arm"], keys["right_arm"]
    arms = tuple(sorted({*left_labels, *right_labels}))
    place = {arm: index for index, arm in enumerate(arms)}
    left = _renumbered([place[a] for a in left_labels], left)
    right = _renumbered([place[a] for a in right_labels], right)
    outcome = _outcome_codes(keys["choice"])
    named = {CLUSTER_COLUMNS[column]: given for column, given in ids.items()}
    return _tabulate(arms, left, right, outcome, named, tuple(covariates), list(covariates.values()))


def count_arrays(
    left: Sequence[str],
    right: Sequence[str],
    choice: Sequence[str],
    *,
    annotator: Sequence[str] | None = None,
    prompt: Sequence[str] | None = None,
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> VoteCounts:
    """Count votes given as equally long sequences: arm names, and choices left, right or tie."""
    columns: dict[str, Sequence[str]] = {"left_arm": left, "right_arm": right, "choice": choice}
    if annotator is not None:
        columns["annotator"] = annotator
    if prompt is not None:
        columns["prompt_id"] = prompt
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"The sequences differ in length: {lengths}. Give one value per vote in each.")
    texts = {name: pl.Series(name, values, dtype=pl.String) for name, values in columns.items()}
    frame = pl.DataFrame({**texts, **{name: list(values) for name, values in (covariates or {}).items()}})
    return count_frame(frame, covariates=tuple(covariates or ()))


def count_codes(
    left: IntArray,
    right: IntArray,
    outcome: IntArray,
    *,
    arms: Sequence[str],
    annotator: IntArray | None = None,
    prompt: IntArray | None = None,
) -> VoteCounts:
    """Count votes given as integer codes, the fastest way in: arms 0..K-1, outcome 0 left, 1 right, 2 tie.

    Annotators and prompts are codes from 0; a code without votes does not count as a cluster.
    """
    for name, code, limit in (("left", left, len(arms)), ("right", right, len(arms)), ("outcome", outcome, 3)):
        if len(code) == 0 or code.min() < 0 or code.max() >= limit:
            raise InputError(f"Codes of {name} must be whole numbers from 0 to {limit - 1}, at least one of them.")
    if tuple(arms) != tuple(sorted(set(arms))):
        raise InputError("Arms must be distinct and sorted by name, so that results do not depend on their order.")
    ids = {}
    for name, given in (("annotator", annotator), ("prompt", prompt)):
        if given is not None:
            ids[name] = (tuple(str(index) for index in range(int(given.max()) + 1)), given.astype(np.int64))
    return _tabulate(tuple(arms), left.astype(np.int64), right.astype(np.int64), outcome.astype(np.int64), ids, (), [])


def count_table(rows: Sequence[Sequence[object]]) -> VoteCounts:
    """Counts from a published table: rows (arm_a, arm_b, wins_a, wins_b[, ties[, home]]).

    home: 1 = a is first (left, at home), -1 = b is, 0 or absent = the order means nothing.
    """
    cells: dict[tuple[str, str, float], list[float]] = {}
    for number, row in enumerate(rows, start=1):
        if not 4 <= len(row) <= 6:
            raise InputError(f"Row {number} has {len(row)} values; (a, b, wins_a, wins_b[, ties[, home]]) is wanted.")
        a, b = str(row[0]), str(row[1])
        wins_a, wins_b, ties, home = (float(str(value)) for value in (*row[2:], *(0, 0)[len(row) - 4 :]))
        if a == b:
            raise InputError(f"Row {number} compares {a!r} with itself.")
        if not all(math.isfinite(v) and v >= 0 for v in (wins_a, wins_b, ties)) or home not in (-1, 0, 1):
            raise InputError(f"Row {number} ({row!r}): counts must be 0 or more, home one of -1, 0, 1.")
        if home == -1:
            a, b, wins_a, wins_b = b, a, wins_b, wins_a
        cell = cells.setdefault((a, b, abs(home)), [0.0, 0.0, 0.0])
        for index, value in enumerate((wins_a, wins_b, ties)):
            cell[index] += value
    if not cells:
        raise InputError("The table has no rows.")
    arms = tuple(sorted({arm for a, b, _ in cells for arm in (a, b)}))
    place = {arm: index for index, arm in enumerate(arms)}
    return VoteCounts(
        arms=arms,
        left=np.array([place[a] for a, _, _ in cells], dtype=np.int64),
        right=np.array([place[b] for _, b, _ in cells], dtype=np.int64),
        position=np.array([position for _, _, position in cells], dtype=np.float64),
        covariates=np.zeros((len(cells), 0)),
        outcomes=np.array(list(cells.values()), dtype=np.float64),
    )


def _outcome_codes(choice: Coded) -> IntArray:
    labels, code = choice
    unknown = [label for label in labels if label not in OUTCOMES]
    if unknown:
        hint = "Exclude skips before counting." if unknown[0] == "skip" else f"It must be one of {', '.join(OUTCOMES)}."
        raise InputError(f"A vote has choice {unknown[0]!r}. {hint}")
    return _renumbered([OUTCOMES.index(label) for label in labels], code)


def _renumbered(numbers: list[int], code: IntArray) -> IntArray:
    """The number of each row's code; the codes themselves if nothing changes."""
    return code if numbers == list(range(len(numbers))) else np.array(numbers, dtype=np.int64).take(code)


def _tabulate(
    arms: tuple[str, ...],
    left: IntArray,
    right: IntArray,
    outcome: IntArray,
    ids: Mapping[str, Ids],
    covariate_names: tuple[str, ...],
    covariates: Sequence[Array],
) -> VoteCounts:
    k = len(arms)
    pair = left * k
    pair += right
    slots: Callable[[], IntArray]
    if not covariates and k <= _TABULATED_ARMS:
        key = pair
        key *= 3
        key += outcome
        table = np.bincount(key, minlength=3 * k * k).reshape(-1, 3)
        pairs = np.flatnonzero(table[:, 0] + table[:, 1] + table[:, 2])
        x_Cq, outcomes_C3 = np.zeros((len(pairs), 0)), table[pairs].astype(np.float64)
        slots = partial(_slots_of_keys, key, pairs, k)
    else:
        if covariates:
            for name, values in zip(covariate_names, covariates, strict=True):
                if not np.isfinite(values).all():
                    raise InputError(f"Covariate {name!r} has empty or infinite values; every vote needs a finite one.")
            keys, cell = np.unique(np.column_stack([pair, *covariates]), axis=0, return_inverse=True)
            pairs, x_Cq = keys[:, 0].astype(np.int64), keys[:, 1:]
        else:
            pairs, cell = np.unique(pair, return_inverse=True)
            x_Cq = np.zeros((len(pairs), 0))
        slot = cell.ravel() * 3 + outcome
        outcomes_C3 = np.bincount(slot, minlength=3 * len(pairs)).reshape(-1, 3).astype(np.float64)
        slots = partial(np.asarray, slot)
    itself = pairs[pairs // k == pairs % k]
    if len(itself):
        raise InputError(f"A vote compares {arms[itself[0] % k]!r} with itself. Leave such votes out.")
    return VoteCounts(
        arms=arms,
        left=pairs // k,
        right=pairs % k,
        position=np.ones(len(pairs)),
        covariates=x_Cq,
        outcomes=outcomes_C3,
        covariate_names=covariate_names,
        # A fit without intervals needs none of them, and they take longer than all the rest.
        clusters=OnDemand(partial(by_cluster, ids, slots, 3 * len(pairs))) if ids else {},
    )


def _slots_of_keys(key: IntArray, pairs: IntArray, k: int) -> IntArray:
    """Of each vote, its place in `VoteCounts.outcomes.ravel()`; its key is that in the table of all pairs."""
    place = np.zeros((k * k, 3), dtype=np.int64)
    place[pairs] = np.arange(3 * len(pairs)).reshape(-1, 3)
    return place.ravel().take(key)
