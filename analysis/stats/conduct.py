"""How each annotator voted: sides, speed, attention items, repeats, agreement with the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from analysis.stats.annotator_results import AnnotatorRow
from analysis.stats.contrasts import holm
from analysis.stats.items import VALUES, first_judgements, item_values
from analysis.stats.results import Array
from analysis.votes.known import known_answers
from analysis.votes.table import VotesTable
from qsched.records import InputError

_USED = (
    "annotator",
    "kind",
    "choice",
    "expected",
    "response_ms",
    "prompt_id",
    "left_arm",
    "right_arm",
    "sample_index",
    "question",
)


def annotator_rows(
    votes: VotesTable | pl.DataFrame, *, fast_ms: int = 500, confidence: float = 0.95, gold_ties_wrong: bool = False
) -> tuple[AnnotatorRow, ...]:
    """One row per annotator, by name, from votes of all kinds (before exclusions).

    Sides, ties, skips, entropy, times and agreement are of task votes; a repeat is compared with the same annotator's
    task vote on the same item, whichever side an arm was on. `fast_ms`: what `fast_share` counts as fast.
    `gold_ties_wrong`: as in `ExclusionRules`.
    """
    frame = votes.frame if isinstance(votes, VotesTable) else votes
    if "annotator" not in frame.columns:
        raise InputError("The votes have no annotator ids, so nothing can be said of annotators.")
    # A filter copies each column, so only those that are needed pass it.
    frame = frame.select(name for name in _USED if name in frame.columns)
    frame = frame.with_columns(pl.col("annotator").cast(pl.String))
    if "kind" not in frame.columns:
        frame = frame.with_columns(pl.lit("task").alias("kind"))
    names = pl.DataFrame({"annotator": sorted(frame["annotator"].unique().to_list())})
    task = frame.filter(pl.col("kind") == "task")
    wide = names
    for part in (
        _choices(task),
        _times(task, fast_ms),
        _known_answers(frame, "gold", gold_ties_wrong=gold_ties_wrong),
        _known_answers(frame, "instructed", gold_ties_wrong=gold_ties_wrong),
        _repeats(frame),
        _with_rest(task),
    ):
        wide = wide.join(part, on="annotator", how="left", maintain_order="left")
    counted = ("n_left", "n_right", "n_ties", "n_skips", "gold_n", "gold_ok", "instructed_n", "instructed_ok")
    wide = wide.with_columns(pl.col(*counted, "repeat_n", "repeat_same", "rest_n").fill_null(0).cast(pl.Int64))
    left, right = wide["n_left"].to_numpy(), wide["n_right"].to_numpy()
    side_p = side_test(left, right)
    decided = left + right > 0
    adjusted = np.full(len(side_p), np.nan)
    adjusted[decided] = holm(side_p[decided])
    return tuple(
        _row(record, float(p), float(p_holm), confidence)
        for record, p, p_holm in zip(wide.iter_rows(named=True), side_p, adjusted, strict=True)
    )


def side_test(left: Array, right: Array) -> Array:
    """Two-sided exact binomial test of equal chances, elementwise; nan if nothing was decided."""
    n = left + right
    p = np.minimum(1.0, 2 * special.bdtr(np.minimum(left, right), n, 0.5))
    return np.where(n > 0, p, np.nan)


def _choices(task: pl.DataFrame) -> pl.DataFrame:
    choice = pl.col("choice")
    return task.group_by("annotator").agg(
        (choice == "left").sum().alias("n_left"),
        (choice == "right").sum().alias("n_right"),
        (choice == "tie").sum().alias("n_ties"),
        (choice == "skip").sum().alias("n_skips"),
    )


def _times(task: pl.DataFrame, fast_ms: int) -> pl.DataFrame:
    if "response_ms" not in task.columns:
        return task.group_by("annotator").agg(
            pl.lit(None, pl.Float64).alias("median_ms"), pl.lit(None, pl.Float64).alias("fast_share")
        )
    ms = pl.col("response_ms")
    return task.group_by("annotator").agg(ms.median().alias("median_ms"), (ms < fast_ms).mean().alias("fast_share"))


def _known_answers(frame: pl.DataFrame, kind: str, *, gold_ties_wrong: bool) -> pl.DataFrame:
    if "expected" not in frame.columns:
        return _empty(f"{kind}_n", f"{kind}_ok")
    score = known_answers(frame, kind, gold_ties_wrong=gold_ties_wrong)
    return score.rename({"n": f"{kind}_n", "ok": f"{kind}_ok"})


def _repeats(frame: pl.DataFrame) -> pl.DataFrame:
    answered = pl.col("choice") != "skip"
    if "prompt_id" not in frame.columns or not frame.select(((pl.col("kind") == "repeat") & answered).any()).item():
        return _empty("repeat_n", "repeat_same")
    shown = frame.filter(pl.col("kind").cast(pl.String).is_in(["task", "repeat"]) & answered)
    keyed = item_values(shown).with_columns(shown["kind"].cast(pl.String))
    first = (
        keyed.filter(pl.col("kind") == "task")
        .unique(subset=["annotator", "item"], keep="first", maintain_order=True)
        .select("annotator", "item", pl.col("value").alias("before"))
    )
    again = keyed.filter(pl.col("kind") == "repeat").join(first, on=["annotator", "item"], how="inner")
    same = (pl.col("value") == pl.col("before")).sum()
    return again.group_by("annotator").agg(pl.len().alias("repeat_n"), same.alias("repeat_same"))


def _with_rest(task: pl.DataFrame) -> pl.DataFrame:
    if "prompt_id" not in task.columns or task.height == 0:
        return _empty("rest_n", "rest_share")
    keyed = first_judgements(task)
    item, value = keyed["item"].to_numpy(), keyed["value"].to_numpy()
    if not len(item):
        return _empty("rest_n", "rest_share")
    table = np.bincount(item * VALUES + value, minlength=(int(item.max()) + 1) * VALUES).reshape(-1, VALUES)
    others = table.sum(axis=1)[item] - 1
    share = np.divide(table[item, value] - 1, others, out=np.full(len(item), np.nan), where=others > 0)
    scored = ~np.isnan(share)
    names = keyed.unique(subset="annotator_code").sort("annotator_code")["annotator"]
    person = np.unique(keyed["annotator_code"].to_numpy(), return_inverse=True)[1].ravel()
    # Summed by numpy, in the order of the rows: polars sums a group in parts, one per thread, so that the last bit of a
    # mean depends on the machine.
    number = np.bincount(person[scored], minlength=len(names))
    total = np.bincount(person[scored], share[scored], minlength=len(names))
    rest = pl.DataFrame({"annotator": names, "rest_n": number, "rest_share": total / np.maximum(number, 1)})
    return rest.filter(pl.col("rest_n") > 0)


def _empty(*columns: str) -> pl.DataFrame:
    return pl.DataFrame(schema={"annotator": pl.String, **dict.fromkeys(columns, pl.Float64)})


def _row(r: dict[str, Any], side_p: float, side_p_holm: float, confidence: float) -> AnnotatorRow:
    choices = np.array([r["n_left"], r["n_right"], r["n_ties"]], dtype=np.float64)
    decided, judged = r["n_left"] + r["n_right"], float(choices.sum())
    share = choices[choices > 0] / judged if judged else choices
    gold_low, gold_high = _exact(r["gold_ok"], r["gold_n"], confidence)
    return AnnotatorRow(
        annotator=r["annotator"],
        n_votes=int(judged) + r["n_skips"],
        n_left=r["n_left"],
        n_right=r["n_right"],
        n_ties=r["n_ties"],
        n_skips=r["n_skips"],
        left_share=r["n_left"] / decided if decided else None,
        side_p=None if math.isnan(side_p) else side_p,
        side_p_holm=None if math.isnan(side_p_holm) else side_p_holm,
        entropy_bits=abs(float(-(share * np.log2(share)).sum())) if judged else None,
        gold_n=r["gold_n"],
        gold_correct=r["gold_ok"],
        gold_accuracy=r["gold_ok"] / r["gold_n"] if r["gold_n"] else None,
        gold_low=gold_low,
        gold_high=gold_high,
        instructed_n=r["instructed_n"],
        instructed_correct=r["instructed_ok"],
        repeat_n=r["repeat_n"],
        repeat_same=r["repeat_same"],
        repeat_consistency=r["repeat_same"] / r["repeat_n"] if r["repeat_n"] else None,
        median_ms=r["median_ms"],
        fast_share=r["fast_share"],
        agreement_with_rest=r["rest_share"] if r["rest_n"] else None,
        agreement_n=r["rest_n"],
    )


def _exact(right: int, n: int, confidence: float) -> tuple[float | None, float | None]:
    """Clopper and Pearson's interval of a share; None without trials."""
    if n == 0:
        return None, None
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(right, n - right + 1, tail)) if right else 0.0
    high = float(special.betaincinv(right + 1, n - right, 1 - tail)) if right < n else 1.0
    return low, high
