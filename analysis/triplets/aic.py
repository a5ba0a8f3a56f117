"""The layout of published AIC-3 studies, renamed to our columns.

Columns (JPEG AIC-3 data sets of 2024 and 2025): worker, method (BTC boosted, PTC or IPTC plain), img_num, codec_left,
dlevel_left, codec_right, dlevel_right, response (left, not sure, right), and where they are there codec_pivot,
dlevel_pivot, is_trap, is_bias, response_time (seconds), submission_time, toggle_count, assignment, question_id.
Level 0 is the source picture; a test picture is named by codec and level. A worker's number is taken to name a person
within one method only: the plain and the boosted study recruited separately.
"""

from __future__ import annotations

import polars as pl

REQUIRED = ("img_num", "codec_left", "dlevel_left", "codec_right", "dlevel_right", "response", "worker", "method")
REFERENCE = "source"


def whole(name: str) -> pl.Expr:
    """A number that names something, as text: '3', '3.0' and 3 are the same picture."""
    text = pl.col(name).cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    is_whole = number.is_finite() & (number == number.round())
    return pl.when(is_whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)


def _picture(side: str) -> pl.Expr:
    level = whole(f"dlevel_{side}")
    named = pl.concat_str([pl.lit("codec"), whole(f"codec_{side}"), pl.lit("-level"), level.str.zfill(2)])
    return pl.when(level == "0").then(pl.lit(REFERENCE)).otherwise(named)


def _flag(name: str, columns: tuple[str, ...]) -> pl.Expr:
    if name not in columns:
        return pl.lit("false")
    text = pl.col(name).cast(pl.String).str.to_lowercase().str.strip_chars()
    known = {"1": "true", "1.0": "true", "true": "true", "0": "false", "0.0": "false", "false": "false"}
    return text.replace(known)


def rename_aic(rows: pl.LazyFrame, columns: tuple[str, ...]) -> pl.LazyFrame:
    """Our columns, still as text, beside `is_trap` and `is_bias` as 'true' or 'false' where the file knows them."""
    method = pl.col("method").cast(pl.String).str.to_uppercase().str.strip_chars()
    plain = method.is_in(["PTC", "IPTC", "PLAIN"])
    boosted = method.is_in(["BTC", "BOOSTED"])
    presentation = pl.when(boosted).then(pl.lit("boosted")).when(plain).then(pl.lit("plain")).otherwise(method)
    answer = pl.col("response").cast(pl.String).str.to_lowercase().str.strip_chars().str.replace_all("[_-]", " ")
    answer = pl.when(answer.is_null() | (answer == "")).then(pl.lit("skip")).otherwise(answer)
    answer = pl.when(answer == "notsure").then(pl.lit("not sure")).otherwise(answer)
    left, right = _picture("left"), _picture("right")
    trap, bias = _flag("is_trap", columns), _flag("is_bias", columns)
    same = (bias == "true") | (left == right)
    kind = pl.when(trap == "true").then(pl.lit("trap")).when(same).then(pl.lit("bias")).otherwise(pl.lit("task"))
    reference = _picture("pivot") if {"codec_pivot", "dlevel_pivot"} <= set(columns) else pl.lit(REFERENCE)
    made = [
        pl.concat_str([pl.lit("img"), whole("img_num").str.zfill(2)]).alias("prompt_id"),
        reference.alias("reference_arm"),
        left.alias("left_arm"),
        right.alias("right_arm"),
        presentation.alias("presentation"),
        answer.alias("answer"),
        pl.concat_str([presentation, pl.lit(":"), whole("worker")]).alias("annotator"),
        kind.alias("kind"),
    ]
    optional = {
        "submission_time": pl.col("submission_time").cast(pl.String).alias("answered_at"),
        "toggle_count": whole("toggle_count").alias("toggles"),
        "assignment": pl.col("assignment").cast(pl.String).alias("session"),
        "question_id": whole("question_id").alias("triplet_id"),
        "response_time": (pl.col("response_time").cast(pl.Float64, strict=False) * 1000).round().alias("response_ms"),
    }
    made += [made_column for name, made_column in optional.items() if name in columns]
    return rows.select("row", *made)
