"""A table of votes in a few lines: how it was understood, how many votes, of whom, on what."""

from __future__ import annotations

import polars as pl

from analysis.votes.table import VotesTable, has_values

STYLES = {
    "qsched": "columns of the votes table",
    "arena": "arena-style columns",
    "other": "other columns",
    "mixed": "sources with different columns",
}
NAMES_SHOWN = 12


def summary_lines(votes: VotesTable) -> list[str]:
    """Plain sentences; names as they are in the file."""
    lines = [f"{votes.n_votes:,} votes from {', '.join(votes.sources)}: {STYLES[votes.style]}"]
    lines += [f"understood: {words}" for words in votes.layouts]
    frame = votes.frame
    arms = sorted({*votes.values("left_arm"), *votes.values("right_arm")})
    more = f" and {len(arms) - NAMES_SHOWN} more" if len(arms) > NAMES_SHOWN else ""
    lines.append(f"{len(arms)} arms: {', '.join(arms[:NAMES_SHOWN])}{more}")
    for column, name in (("annotator", "annotators"), ("prompt_id", "prompts"), ("question", "questions")):
        if has_values(frame, column):
            lines.append(f"{frame[column].drop_nulls().n_unique():,} {name}")
        else:
            lines.append(f"no {name}: {_without(column)}")
    counted = frame.group_by(pl.col("choice").cast(pl.String)).len().sort("choice")
    lines.append("outcomes: " + ", ".join(f"{choice} {n:,}" for choice, n in counted.iter_rows()))
    kinds = frame.group_by(pl.col("kind").cast(pl.String)).len().sort("kind")
    lines.append("kinds: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.iter_rows()))
    simulated = int(frame["simulated"].sum())
    if simulated:
        lines.append(f"{simulated:,} votes are by simulated annotators")
    if not votes.sides_known:
        lines.append("the file does not say which arm was on the left: nothing can be said of a preference for a side")
    if votes.weights is not None:
        lines.append(f"the column {votes.weights!r} says how many votes each row is")
    if votes.unused:
        lines.append(f"not used: {', '.join(votes.unused)}")
    return lines


def summarize(votes: VotesTable) -> dict[str, object]:
    """The same for programs: `annotators`, `prompts` and `questions` are null where no column names them."""
    frame = votes.frame

    def each(column: str) -> dict[str, int]:
        return dict(frame.group_by(pl.col(column).cast(pl.String)).len().sort(column).iter_rows())

    def number(column: str) -> int | None:
        return frame[column].drop_nulls().n_unique() if has_values(frame, column) else None

    return {
        "votes": votes.n_votes,
        "sources": votes.sources,
        "style": votes.style,
        "understood": votes.layouts,
        "arms": sorted({*votes.values("left_arm"), *votes.values("right_arm")}),
        "annotators": number("annotator"),
        "prompts": number("prompt_id"),
        "questions": number("question"),
        "outcomes": each("choice"),
        "kinds": each("kind"),
        "simulated": int(frame["simulated"].sum()),
        "sides_known": votes.sides_known,
        "weights": votes.weights,
        "unused": votes.unused,
    }


def _without(column: str) -> str:
    return {
        "annotator": "votes of one person cannot be recognised, and intervals will not account for them",
        "prompt_id": "votes on one prompt cannot be recognised, and intervals will not account for them",
        "question": "all votes are taken as answers to one question",
    }[column]
