"""Votes that were never screened must not enter a statistic unasked: what `exclude` would leave out is an error."""

from __future__ import annotations

import polars as pl

from analysis.votes.exclude import exclude
from analysis.votes.table import SCHEMA, VotesTable
from qsched.records import InputError

#: What the rules look at.
_USED = ("left_arm", "right_arm", "choice", "kind", "annotator", "expected", "response_ms", "simulated", "anony")


def screened_frame(votes: VotesTable | pl.DataFrame, *, skips: bool = False) -> pl.DataFrame:
    """The rows of votes that `exclude` has seen, or would leave as they are.

    `skips`: whether answers without a preference may be there. Raises InputError that says what the default rules would
    leave out, by reason.
    """
    if isinstance(votes, VotesTable) and votes.is_screened:
        return votes.frame
    frame = votes.frame if isinstance(votes, VotesTable) else votes
    lacking = [name for name in ("left_arm", "right_arm", "choice") if name not in frame.columns]
    if lacking:
        raise InputError(f"The votes have no column {lacking[0]!r}; they have {', '.join(frame.columns)}.")
    looked_at = frame.select(_as_in_table(frame, name) for name in _USED if name in frame.columns)
    missing = {name: default for name, default in (("kind", "task"), ("simulated", False)) if name not in frame.columns}
    looked_at = looked_at.with_columns(pl.lit(value).cast(SCHEMA[name]).alias(name) for name, value in missing.items())
    _, report = exclude(VotesTable(looked_at, ("votes",), "qsched", ()))
    out = {row.reason: row.n_votes for row in report.rows if row.n_votes and not (skips and row.reason == "skip")}
    if out:
        counted = ", ".join(f"{reason} {n:,}" for reason, n in out.items())
        given = "votes" if isinstance(votes, VotesTable) else "read_votes(frame)"
        raise InputError(
            f"{sum(out.values()):,} of {frame.height:,} votes would be left out by the default rules ({counted}), and "
            f"no rule was applied to them. Say what counts first: `kept, report = exclude({given})`, with "
            "`ExclusionRules(...)` for other rules, then use `kept` (the table itself, not its frame)."
        )
    return frame


def _as_in_table(frame: pl.DataFrame, name: str) -> pl.Expr:
    text = isinstance(SCHEMA[name], pl.Categorical) and frame.schema[name] != pl.Categorical
    return (pl.col(name).cast(pl.String) if text else pl.col(name)).cast(SCHEMA[name], strict=False)
