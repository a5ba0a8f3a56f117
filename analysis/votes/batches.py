"""Votes of many parquet files, checked, a batch of rows at a time, and who failed the checks among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from analysis.votes.exclude import ExclusionRules
from analysis.votes.known import known_answers
from analysis.votes.read import read_votes
from analysis.votes.table import VotesTable
from qsched.records import InputError, MissingExtraError, RowError

ROWS_AT_ONCE = 1_000_000
ENDINGS = (".parquet", ".pq")


def batches(paths: Sequence[Path], chosen: dict[str, str | None]) -> Iterator[VotesTable]:
    """The checked votes of the chosen study and question, a batch of rows at a time; those of several are an error."""
    seen: dict[str, set[str]] = {column: set() for column in chosen}
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
                votes = _chosen(votes, column, value, path)
                seen[column] |= set(votes.values(column))
                if len(seen[column]) > 1:
                    named = ", ".join(map(repr, sorted(seen[column])[:5]))
                    raise InputError(
                        f"{path}: the votes have several values of {column} ({named}). Add --{column} NAME."
                    )
            if votes.n_votes:
                yield replace(votes, sources=(str(path),))


def _chosen(votes: VotesTable, column: str, value: str | None, path: Path) -> VotesTable:
    if value is None:
        return votes
    if column not in votes.frame.columns:
        raise InputError(f"{path} has no column {column!r}, so --{column} has nothing to choose from.")
    return votes.with_frame(votes.frame.filter(pl.col(column) == value))


def _raw(path: Path) -> Iterator[tuple[int, pl.DataFrame]]:
    """(number of the first row, rows) of a parquet file."""
    try:
        from pyarrow import ArrowException, Table
        from pyarrow.parquet import ParquetFile, read_schema
    except ImportError as error:
        raise MissingExtraError("pyarrow", "analysis") from error
    if path.suffix not in ENDINGS:
        raise InputError(
            f"{path} is no parquet file. Other files are small enough for winrates.py, or can be converted."
        )
    try:
        texts = [f.name for f in read_schema(path) if str(f.type) in ("string", "large_string")]
        with ParquetFile(path, read_dictionary=texts) as file:
            first, waiting = 1, []
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                # A batch ends with its row group, of which there may be many; names are looked up once for each yield.
                waiting.append(batch)
                if sum(part.num_rows for part in waiting) >= ROWS_AT_ONCE:
                    yield first, pl.DataFrame(pl.from_arrow(Table.from_batches(waiting)))
                    first, waiting = first + sum(part.num_rows for part in waiting), []
            if waiting:
                yield first, pl.DataFrame(pl.from_arrow(Table.from_batches(waiting)))
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


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
    return {"kind", "expected", "annotator"} <= set(pl.scan_parquet(path).collect_schema().names())


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
