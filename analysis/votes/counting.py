"""Count votes in many parquet files, a batch at a time: memory does not grow with their number (docs/counts.md).

What is kept is small: the counts of each annotator and each prompt. Votes of one annotator on one prompt may be in any
two files, so their codes go to disk in parts by annotator, and each part is read back alone.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from analysis.votes.account import NAME, CountsAccount, LeftOut
from analysis.votes.batches import (
    BatchScreen,
    annotators_with_few_votes,
    batches,
    failing_annotators,
    unchecked_rules,
)
from analysis.votes.coded import IntArray, codes
from analysis.votes.duplicates import refuse_copied_files, refuse_named_twice
from analysis.votes.exclude import ExclusionRules, count_doubtful, doubtful_note
from analysis.votes.table import VotesTable, has_values, unused_note
from analysis.votes.twice import SeenVotes
from qsched.files import write_atomic
from qsched.records import InputError
from qsched.records.stopping import looks_beside

OUTCOMES = ("left", "right", "tie")
LOOKED = (
    "The study has a stopping rule, and stopped asking about arms that were decided at its planned looks ({}). Counts "
    "do not have the looks: every interval and p-value is computed as if nobody had looked."
)
LOST = "Arm {!r} is not in this report: all its votes were excluded."
PARTS = 64
#: Cells of a cluster are added up when there are this many new ones, or as many as there are already.
_PENDING = 4_000_000
#: An arm is less than this, so that two arms and an outcome are one whole number.
_MOST_ARMS = 1 << 15


@dataclass
class _ClusterTally:
    """How many votes each (cluster, kind of vote) has: sorted keys cluster << 33 | kind, and their numbers."""

    keys: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    votes: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    pending: list[IntArray] = field(default_factory=list)
    waiting: int = 0

    def add(self, code: IntArray, kind: IntArray) -> None:
        self.pending.append((code << 33) | kind)
        self.waiting += len(code)
        if self.waiting > max(_PENDING, len(self.keys)):
            self.settle()

    def settle(self) -> None:
        """Add up what is pending."""
        if not self.pending:
            return
        found, n = np.unique(np.concatenate(self.pending), return_counts=True)
        self.pending, self.waiting = [], 0
        keys, place = np.unique(np.concatenate([self.keys, found]), return_inverse=True)
        self.votes = np.bincount(place, np.concatenate([self.votes, n]), len(keys)).astype(np.int64)
        self.keys = keys

    def frame(self, column: str, labels: list[str], arms: list[str]) -> pl.DataFrame:
        """As a table of the contract."""
        self.settle()
        kind = self.keys & ((1 << 33) - 1)
        return pl.DataFrame(
            [_texts(column, labels, self.keys >> 33), *_kind_columns("", kind, arms), pl.Series("votes", self.votes)]
        )


@dataclass(frozen=True)
class CountedVotes:
    """The tables by name, and what was read, kept and left out."""

    tables: dict[str, pl.DataFrame]
    account: CountsAccount

    def write(self, folder: Path) -> tuple[Path, ...]:
        """The folder that `winrates.py --from-counts` reads; tables of an earlier run go."""
        paths = []
        for name in ("by_annotator", "by_prompt", "together", "intersections"):
            path = folder / f"{name}.parquet"
            if name in self.tables:
                data = io.BytesIO()
                self.tables[name].write_parquet(data)
                write_atomic(path, data.getvalue(), parents=True)
                paths.append(path)
            else:
                path.unlink(missing_ok=True)
        write_atomic(folder / NAME, self.account.model_dump_json(indent=1).encode(), parents=True)
        return (*paths, folder / NAME)


def count_files(
    files: Sequence[str | Path], rules: ExclusionRules, *, study: str | None = None, question: str | None = None
) -> CountedVotes:
    """Count the votes that `rules` keep, of one study and question.

    Rules that judge an annotator by gold items, instructed checks or the number of votes are applied in a reading of
    the files before. Raises InputError for files that are not parquet or lack an id that others have, and for people's
    and simulated votes together, and for a vote that is there twice.
    """
    paths, chosen = [Path(file) for file in files], {"study": study, "question": question}
    refuse_named_twice(paths, [str(path) for path in paths])
    refuse_copied_files(paths)
    unchecked = unchecked_rules(paths, rules)
    reasons = {**dict.fromkeys(rules.annotators, "named annotator"), **failing_annotators(paths, rules, chosen)}
    if rules.min_votes:
        few = annotators_with_few_votes(paths, chosen, BatchScreen(rules, reasons))
        reasons |= dict.fromkeys(few, "too few votes")
    screen = BatchScreen(rules, reasons)
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="qsched-counts-") as folder:
        work = _Work(stack, Path(folder))
        for votes in batches(paths, chosen, must_exist=True):
            work.take(votes, screen)
        work.seen.refuse_twice(lambda: batches(paths, chosen))
        for name, known, what in (
            *((arm, screen.named_arms, "Arm") for arm in rules.arms),
            *((person, screen.persons, "Annotator") for person in rules.annotators),
        ):
            if name not in known:
                raise InputError(f"{what} {name!r} is to be excluded but has no vote. Check the name.")
        tables, account = work.finish(screen)
    only = {column: next(iter(values)) for column, values in screen.values.items() if len(values) == 1}
    lost = sorted(screen.maybe_lost - set(work.names["arm"]) - set(rules.arms))
    said = {
        "study": only.get("study"),
        "question": only.get("question"),
        "sources": tuple(str(path) for path in paths),
        "rules": rules,
        "notes": (*account.notes, *work.seen.unchecked_note(), *unchecked),
        "warnings": (
            *(LOOKED.format(looks) for path in paths if (looks := looks_beside(path)).is_file()),
            *(LOST.format(arm) for arm in lost),
        ),
    }
    return CountedVotes(tables, account.model_copy(update=said))


class _Work:
    """One pass over the votes: codes of names, counts, and the parts on disk."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.names: dict[str, dict[str, int]] = {"arm": {}, "annotator": {}, "prompt_id": {}}
        self.tallies = {"annotator": _ClusterTally(), "prompt_id": _ClusterTally()}
        self.has: set[str] | None = None
        self.n_kept = self.simulated = self.doubtful = 0
        self.seen = SeenVotes(stack, folder)
        self.files: list[Any] = [stack.enter_context((folder / str(part)).open("w+b")) for part in range(PARTS)]

    def take(self, votes: VotesTable, screen: BatchScreen) -> None:
        """Exclude and count one batch."""
        if not votes.sides_known:
            raise InputError(
                f"{votes.sources[0]} does not say which arm was on the left, and counts say it of every vote. Give the "
                "votes themselves to winrates.py."
            )
        self.seen.add(votes.frame)
        frame = screen.kept(votes)
        if frame.height == 0:
            return
        self.n_kept += frame.height
        self.doubtful += count_doubtful(frame)
        self.simulated += int(frame["simulated"].sum())
        has = {column for column in ("annotator", "prompt_id") if has_values(frame, column)}
        if self.has is not None and has != self.has:
            raise InputError(
                f"{votes.sources[0]} has other ids ({', '.join(sorted(has)) or 'none'}) than the files before it "
                f"({', '.join(sorted(self.has)) or 'none'}). Count files with the same ids."
            )
        self.has = has
        self._count(frame, votes.sources[0])

    def _count(self, frame: pl.DataFrame, source: str) -> None:
        left, right = self._codes(frame["left_arm"], "arm"), self._codes(frame["right_arm"], "arm")
        same = np.flatnonzero(left == right)
        if len(same):
            raise InputError(f"{source}: a vote compares {frame['left_arm'][int(same[0])]!r} with itself.")
        if len(self.names["arm"]) >= _MOST_ARMS:
            raise InputError(f"There are {len(self.names['arm']):,} arms; at most {_MOST_ARMS - 1:,} are counted.")
        labels, outcome = codes(frame["choice"])
        kind = (left * _MOST_ARMS + right) * 3 + np.array([OUTCOMES.index(label) for label in labels])[outcome]
        ids = {column: self._codes(frame[column], column) for column in sorted(self.has or ())}
        for column, code in ids.items():
            self.tallies[column].add(code, kind)
        if len(ids) == 2:
            rows = np.column_stack([ids["annotator"], ids["prompt_id"], kind])
            part = ids["annotator"] % PARTS
            order = np.argsort(part, kind="stable")
            ends = np.searchsorted(part[order], np.arange(PARTS + 1))
            for number in range(PARTS):
                self.files[number].write(rows[order[ends[number] : ends[number + 1]]].tobytes())

    def _codes(self, column: pl.Series, name: str) -> IntArray:
        """The codes of names over all batches."""
        labels, code = codes(column)
        known = self.names[name]
        return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)[code]

    def finish(self, screen: BatchScreen) -> tuple[dict[str, pl.DataFrame], CountsAccount]:
        """The tables of the contract."""
        if self.n_kept == 0:
            raise InputError(
                f"None of {screen.n_read:,} votes is left after the exclusions: there is nothing to count."
            )
        if not self.has:
            raise InputError("The votes have neither annotators nor prompts, so no interval but vote level is known.")
        if screen.rules.simulated == "auto" and 0 < screen.n_simulated < screen.n_read:
            raise InputError(
                f"{screen.n_simulated:,} of {screen.n_read:,} votes are by simulated annotators. Add "
                "--exclude-simulated, or count them apart."
            )
        arms = list(self.names["arm"])
        tables = {
            name: self.tallies[column].frame(column, list(self.names[column]), arms)
            for column, name in (("annotator", "by_annotator"), ("prompt_id", "by_prompt"))
            if column in self.has
        }
        if len(self.has) == 2:
            tables |= _together(self._parts(), np.unique(self.tallies["annotator"].keys & ((1 << 33) - 1)), arms)
        return tables, CountsAccount(
            sources=(),
            n_read=screen.n_read,
            n_kept=self.n_kept,
            left_out=tuple(LeftOut(reason=why, rule=rule, n_votes=n) for (why, rule), n in screen.out.items()),
            annotators=tuple(sorted(screen.persons.items())),
            simulated="none" if self.simulated == 0 else "all" if self.simulated == self.n_kept else "mixed",
            n_simulated=self.simulated,
            notes=(*screen.notes, *doubtful_note(self.doubtful), *unused_note(screen.unused)),
        )

    def _parts(self) -> Iterator[NDArray[np.int64]]:
        for file in self.files:
            file.seek(0)
            yield np.frombuffer(file.read(), dtype=np.int64).reshape(-1, 3)


def _together(parts: Iterator[NDArray[np.int64]], kinds: IntArray, arms: list[str]) -> dict[str, pl.DataFrame]:
    """Sums of products over the intersections of annotator and prompt, and how many intersections there are."""
    m = len(kinds)
    left, right, tie = kinds // 3 // _MOST_ARMS, kinds // 3 % _MOST_ARMS, kinds % 3 == 2
    pairs, pair = np.unique(np.minimum(left, right) * _MOST_ARMS + np.maximum(left, right), return_inverse=True)
    member = sparse.csr_array((np.ones(m), (np.arange(m), pair.ravel())), shape=(m, len(pairs)))
    decided = sparse.csr_array((np.where(tie, 0.0, 1.0), (np.arange(m), pair.ravel())), shape=(m, len(pairs)))
    products = sparse.csr_array((m, m))
    numbers, whole = np.zeros((2, len(pairs))), np.zeros(2)
    for rows in parts:
        if not len(rows):
            continue
        both = (rows[:, 0] << 32) | rows[:, 1]
        _, group = np.unique(both, return_inverse=True)
        slot = np.searchsorted(kinds, rows[:, 2])
        n = sparse.csr_array(
            sparse.coo_array((np.ones(len(rows)), (group.ravel(), slot)), shape=(int(group.max()) + 1, m))
        )
        products = sparse.csr_array(products + n.T @ n)
        for place, fold in enumerate((member, decided)):
            found = sparse.csr_array(n @ fold)
            found.eliminate_zeros()
            numbers[place] += np.bincount(found.indices, minlength=len(pairs))
            whole[place] += np.count_nonzero(np.diff(found.indptr))
    entries = sparse.coo_array(products)
    table = pl.DataFrame(
        [
            *_kind_columns("", kinds[entries.row], arms),
            *_kind_columns("other_", kinds[entries.col], arms),
            pl.Series("products", entries.data.astype(np.int64)),
        ]
    )
    sides = (pairs // _MOST_ARMS, pairs % _MOST_ARMS)
    of_pairs = pl.DataFrame(
        [
            pl.Series("arm_a", [None, *(arms[i] for i in sides[0].tolist())], dtype=pl.String),
            pl.Series("arm_b", [None, *(arms[i] for i in sides[1].tolist())], dtype=pl.String),
            pl.Series("intersections", np.concatenate([whole[:1], numbers[0]]).astype(np.int64)),
            pl.Series("decided", np.concatenate([whole[1:], numbers[1]]).astype(np.int64)),
        ]
    )
    return {"together": table, "intersections": of_pairs}


def _texts(column: str, labels: Sequence[str], code: IntArray) -> pl.Series:
    return pl.Series(column, list(labels), dtype=pl.String).cast(pl.Categorical).gather(code)


def _kind_columns(prefix: str, kind: IntArray, arms: list[str]) -> list[pl.Series]:
    pair, outcome = np.divmod(kind, 3)
    return [
        _texts(f"{prefix}left_arm", arms, pair // _MOST_ARMS),
        _texts(f"{prefix}right_arm", arms, pair % _MOST_ARMS),
        _texts(f"{prefix}choice", OUTCOMES, outcome),
    ]
