"""Votes of many parquet files, checked, a batch of rows at a time, and who failed the checks among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from analysis.votes.exclude import APART, ExclusionRules, arms_of, exclude
from analysis.votes.known import known_answers
from analysis.votes.read import read_votes
from analysis.votes.table import VotesTable
from qsched.records import InputError, MissingExtraError, RowError

if TYPE_CHECKING:
    from pyarrow import Table

ROWS_AT_ONCE = 1_000_000
ENDINGS = (".parquet", ".pq")


def batches(paths: Sequence[Path], chosen: dict[str, str | None], *, must_exist: bool = False) -> Iterator[VotesTable]:
    """The checked votes of the chosen study and question, a batch of rows at a time; those of several are an error.

    `must_exist`: so is a study or question that no vote has, which is known after the last batch.
    """
    seen: dict[str, set[str]] = {column: set() for column in chosen}
    known: dict[str, set[str]] = {column: set() for column in chosen}
    has: dict[str, bool] = {}
    for path in paths:
        for first, rows in _raw(path):
            try:
                votes = read_votes(rows, allow_mixed=True)
            except (InputError, RowError) as error:
                last = first + rows.height - 1
                raise InputError(
                    f"{path}, rows {first:,} to {last:,} (counted from the first of them): {error}"
                ) from error
            for column, value in chosen.items():
                here = column in votes.frame.columns
                if has.setdefault(column, here) is not here:
                    words = "has a column" if here else "has no column"
                    raise InputError(
                        f"{path} {words} {column!r}, unlike the files before it, so it is not known whether they are "
                        "of one. Write the column into all of them, or analyse them one by one."
                    )
                known[column] |= set(votes.values(column))
                votes = _chosen(votes, column, value, path)
                seen[column] |= set(votes.values(column))
                if len(seen[column]) > 1:
                    named = ", ".join(map(repr, sorted(seen[column])[:5]))
                    raise InputError(
                        f"{path}: the votes have several values of {column} ({named}). Add --{column} NAME."
                    )
            if votes.n_votes:
                yield replace(votes, sources=(str(path),))
    for column, value in chosen.items():
        if must_exist and value is not None and not seen[column]:
            listed = ", ".join(map(repr, sorted(known[column]))) or "none"
            raise InputError(f"No vote has {column} {value!r}. The votes have: {listed}.")


def _chosen(votes: VotesTable, column: str, value: str | None, path: Path) -> VotesTable:
    if value is None:
        return votes
    if column not in votes.frame.columns:
        raise InputError(f"{path} has no column {column!r}, so --{column} has nothing to choose from.")
    return votes.with_frame(votes.frame.filter(pl.col(column) == value))


def rows_of_parquet(files: Sequence[str]) -> int | None:
    """How many rows parquet files have together, by their own word; None if one of them is not such a file."""
    paths = [Path(file) for file in files]
    if not all(path.suffix in ENDINGS and path.is_file() for path in paths):
        return None
    try:
        return sum(int(pl.scan_parquet(path).select(pl.len()).collect().item()) for path in paths)
    except (pl.exceptions.PolarsError, OSError):
        return None


def _raw(path: Path) -> Iterator[tuple[int, pl.DataFrame]]:
    """(number of the first row, rows) of a parquet file."""
    try:
        from pyarrow import ArrowException, Table
        from pyarrow.parquet import ParquetFile, read_schema
    except ImportError as error:
        raise MissingExtraError("pyarrow", "analysis") from error
    if path.suffix not in ENDINGS:
        raise InputError(
            f"{path} does not end in {' or '.join(ENDINGS)}: only parquet files are counted. Give other files to "
            "qsched winrates, or convert them."
        )
    try:
        texts = [f.name for f in read_schema(path) if str(f.type) in ("string", "large_string")]
        with ParquetFile(path, read_dictionary=texts) as file:
            first, waiting = 1, []
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                # A batch ends with its row group, of which there may be many; names are looked up once for each yield.
                waiting.append(batch)
                if sum(part.num_rows for part in waiting) >= ROWS_AT_ONCE:
                    yield first, to_frame(Table.from_batches(waiting))
                    first, waiting = first + sum(part.num_rows for part in waiting), []
            if waiting:
                yield first, to_frame(Table.from_batches(waiting))
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def to_frame(table: Table) -> pl.DataFrame:
    """As a frame. A damaged file can have places outside its distinct values, which only `validate` reports."""
    table.validate(full=True)
    return pl.DataFrame(pl.from_arrow(table))


class BatchScreen:
    """The exclusion of one batch after the other, and the account of what was left out.

    `persons`: annotators who are left out, with the reason. What one batch does not show is decided elsewhere: who
    failed, who gave too few votes, and whether there are also votes of people.
    """

    def __init__(self, rules: ExclusionRules, persons: Mapping[str, str]) -> None:
        self.rules, self._reasons = rules, dict(persons)
        self._of_a_batch = replace(
            rules,
            min_gold_accuracy=None,
            max_instructed_failures=None,
            min_votes=0,
            annotators=(),
            arms=(),
            simulated="drop" if rules.simulated == "drop" else "keep",
        )
        self.n_read = 0
        self.out: dict[tuple[str, str], int] = {}
        self.persons: dict[str, str] = {}
        self.named_arms: set[str] = set()
        self.notes: dict[str, None] = {}
        self.n_simulated = 0
        self.unused: dict[str, None] = {}
        self.values: dict[str, set[str]] = {"study": set(), "question": set()}
        # Arms of which a batch has no vote left; of one of them another batch may have votes.
        self.maybe_lost: set[str] = set()

    def kept(self, votes: VotesTable) -> pl.DataFrame:
        """The rows of one batch that count."""
        self.n_read += votes.n_votes
        self.n_simulated += int(votes.frame["simulated"].sum())
        self.unused |= dict.fromkeys(votes.unused)
        for column, values in self.values.items():
            values |= set(votes.values(column))
        kept, report = exclude(votes, self._of_a_batch)
        frame, arms = kept.frame, self.rules.arms
        self.maybe_lost |= {
            lost.arm for lost in report.lost_arms if not all(reason in APART for reason, _ in lost.n_votes_by_reason)
        }
        self.notes |= dict.fromkeys(note for note in report.notes if note.startswith("Not checked"))
        for row in report.rows:
            self._left_out(row.reason, row.rule, row.n_votes)
        if arms:
            hit = pl.any_horizontal(pl.col(side).cast(pl.String).is_in(arms) for side in ("left_arm", "right_arm"))
            out = frame.filter(hit)
            self.maybe_lost |= arms_of(out)
            for side in ("left_arm", "right_arm"):
                self.named_arms |= set(out[side].unique().cast(pl.String))
            self._left_out("named arm", f"votes about arms excluded by name ({', '.join(arms)})", out.height)
            frame = frame.filter(~hit)
        if self._reasons and "annotator" in frame.columns:
            name = pl.col("annotator").cast(pl.String)
            hit = name.is_in(list(self._reasons))
            out = frame.filter(hit)
            self.maybe_lost |= arms_of(out)
            for person, n in out.group_by(name).len().iter_rows():
                self.persons[person] = self._reasons[person]
                self._left_out(self._reasons[person], f"annotators left out for {self._reasons[person]}", n)
            frame = frame.filter(~hit)
        return frame

    def _left_out(self, reason: str, rule: str, n: int) -> None:
        self.out[reason, rule] = self.out.get((reason, rule), 0) + n


def annotators_with_few_votes(
    paths: Sequence[Path], chosen: dict[str, str | None], screen: BatchScreen
) -> tuple[str, ...]:
    """Who has fewer than `min_votes` votes left after all other rules; InputError without annotators."""
    numbers: Counter[str] = Counter()
    for votes in batches(paths, chosen):
        if "annotator" not in votes.frame.columns:
            raise InputError(f"--min-votes needs a column 'annotator', which {votes.sources[0]} does not have.")
        names = pl.col("annotator").cast(pl.String)
        numbers.update(dict(screen.kept(votes).group_by(names).len().iter_rows()))
    return tuple(sorted(name for name, n in numbers.items() if n < screen.rules.min_votes))


def failing_annotators(paths: Sequence[Path], rules: ExclusionRules, chosen: dict[str, str | None]) -> dict[str, str]:
    """Annotators who failed instructed checks or gold items, each with the reason; files without both are not read."""
    checked = [path for path in paths if path.is_file() and path.suffix in ENDINGS and _has_checks(path)]
    limit, allowed = rules.min_gold_accuracy, rules.max_instructed_failures
    n, ok = pl.col("n"), pl.col("ok")
    failed = {
        "gold": None if limit is None else (n >= rules.min_gold_items) & (ok < limit * n),
        "instructed": None if allowed is None else n - ok > allowed,
    }
    found: dict[str, str] = {}
    scores = _scores(checked, rules, chosen) if any(hit is not None for hit in failed.values()) else {}
    for kind, score in scores.items():
        hit = failed[kind]
        if hit is not None:
            for name in score.filter(hit)["annotator"]:
                found.setdefault(name, f"{kind} failures")
    return found


def unchecked_rules(paths: Sequence[Path], rules: ExclusionRules) -> tuple[str, ...]:
    """What a report says of default rules about known answers if no file has any; InputError for other such rules."""
    if any(_has_checks(path) for path in paths if path.is_file() and path.suffix in ENDINGS):
        return ()
    asked = {
        "--min-gold-accuracy": (rules.min_gold_accuracy, ExclusionRules.min_gold_accuracy),
        "--max-instructed-failures": (rules.max_instructed_failures, ExclusionRules.max_instructed_failures),
    }
    for option, (value, default) in asked.items():
        if value is not None and value != default:
            raise InputError(f"{option} needs the columns kind, annotator and expected, and no file has all of them.")
    on = [option for option, (value, _) in asked.items() if value is not None]
    words = "Not checked, because no file has the columns kind, annotator and expected"
    return (f"{words}: {', '.join(on)}.",) if on else ()


def _has_checks(path: Path) -> bool:
    try:
        return {"kind", "expected", "annotator"} <= set(pl.scan_parquet(path).collect_schema().names())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _scores(paths: Sequence[Path], rules: ExclusionRules, chosen: dict[str, str | None]) -> dict[str, pl.DataFrame]:
    """Per kind of check, each annotator's `n` answers that are judged and `ok` that are right."""
    scores: dict[str, pl.DataFrame] = {}
    for votes in batches(paths, chosen):
        for kind in ("gold", "instructed"):
            new = known_answers(votes.frame, kind, gold_ties_wrong=rules.gold_ties_wrong)
            new = new.with_columns(pl.col("annotator").cast(pl.String))
            both = pl.concat([scores[kind], new]) if kind in scores else new
            scores[kind] = both.group_by("annotator").agg(pl.col("n").sum(), pl.col("ok").sum())
    return scores
