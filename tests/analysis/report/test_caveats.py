"""What the report says of votes and arms that were left out."""

from __future__ import annotations

import polars as pl
import pytest

from analysis.report.subjects.caveats import refuse_nothing
from analysis.votes import ExclusionReport, ExclusionRow, ExclusionRules
from qsched.records import InputError
from tests.analysis.report.conftest import MakeReport
from tests.analysis.report.simulated import simulated_votes


def with_arm(arm: str, **columns: str | int) -> pl.DataFrame:
    """Simulated votes of three arms, and some more of `arm` with these values."""
    votes = simulated_votes(votes_each=20)
    has = (pl.col("left_arm") == "w4a4") | (pl.col("right_arm") == "w4a4")
    renamed = [
        pl.when(pl.col(side) == "w4a4").then(pl.lit(arm)).otherwise(side).alias(side)
        for side in ("left_arm", "right_arm")
    ]
    values = [pl.when(has).then(pl.lit(value)).otherwise(name).alias(name) for name, value in columns.items()]
    return votes.with_columns(*values).with_columns(renamed)


def test_an_arm_that_lost_all_its_votes_is_named_with_the_reasons(make_report: MakeReport) -> None:
    votes = with_arm("gone", choice="skip")
    n = votes.filter((pl.col("left_arm") == "gone") | (pl.col("right_arm") == "gone")).height
    document = make_report(votes).document
    assert "gone" not in {row["arm"] for row in document["strengths"]}
    assert f"Arm 'gone' is not in this report: all its {n} votes were excluded (skip: {n})." in document["warnings"]


def test_an_arm_of_gold_items_alone_is_noted_and_not_warned_of(make_report: MakeReport) -> None:
    document = make_report(with_arm("decoy", kind="gold", expected="left", annotator="anno-gold")).document
    assert any("'decoy'" in note and "kind: gold" in note for note in document["notes"])
    assert not any("decoy" in warning for warning in document["warnings"])


def test_skips_and_named_annotators_are_no_exclusions_by_conduct(make_report: MakeReport) -> None:
    skipped = simulated_votes(votes_each=20).with_row_index("i")
    skipped = skipped.with_columns(choice=pl.when(pl.col("i") % 2 == 0).then(pl.lit("skip")).otherwise("choice"))
    document = make_report(skipped.drop("i"), rules=ExclusionRules(annotators=("anno-001",))).document
    assert document["excluded"]["n_excluded"] > 240
    assert not any("conduct" in warning for warning in document["warnings"])
    # Nobody's conduct was judged, so nothing of that sort can be put back.
    names = [row["name"] for row in document["sensitivity"]]
    assert "exclusions by conduct put back" not in names and "every comparison of two arms put back" in names


def test_simulated_votes_left_out_are_not_in_the_share_excluded_by_conduct(make_report: MakeReport) -> None:
    people = simulated_votes(votes_each=20).with_row_index("i")
    people = people.with_columns(response_ms=pl.when(pl.col("i") < 120).then(20).otherwise("response_ms")).drop("i")
    made = simulated_votes(votes_each=40, simulated=True, seed=2).with_columns(
        pl.col("annotator") + "-sim", pl.col("session") + "-sim"
    )
    document = make_report(pl.concat([people, made]), rules=ExclusionRules(simulated="drop")).document
    assert any("120 of 480 votes (25.0\u00a0%) were excluded" in warning for warning in document["warnings"])


@pytest.mark.parametrize(
    ("reason", "option"),
    [
        ("too fast", "--min-response-ms 0"),
        ("too few votes", "--min-votes 0"),
        ("gold failures", "--min-gold-accuracy 0"),
        ("instructed failures", "--max-instructed-failures -1"),
        ("simulated", "--include-simulated"),
        ("named annotator", "--exclude-annotator"),
        ("kind: repeat", "--include-repeats"),
        ("kind: practice", "kind task"),
        ("skip", "without a preference"),
    ],
)
def test_where_nothing_is_left_the_remedy_is_that_of_the_rule_that_took_most(reason: str, option: str) -> None:
    rows = (ExclusionRow("other", "", 2, None), ExclusionRow(reason, "", 7, None), ExclusionRow("none", "", 0, None))
    report = ExclusionReport(9, 0, rows, (), "none", ExclusionRules())
    with pytest.raises(InputError, match="None of the 9 votes") as refused:
        refuse_nothing(report)
    assert option in str(refused.value) and f"{reason}: 7" in str(refused.value)


def test_one_study_by_study_is_noted_as_nothing_to_compare(make_report: MakeReport) -> None:
    document = make_report(simulated_votes(votes_each=20), by="study").document
    assert any("one study ('demo')" in note and "nothing to compare" in note for note in document["notes"])


def test_arms_that_differ_only_by_case_or_punctuation_are_warned_of(make_report: MakeReport) -> None:
    renamed = {"w4a8": "W4A8", "fp32": "w4-a8"}
    votes = simulated_votes(votes_each=20).with_columns(pl.col("left_arm", "right_arm").replace(renamed))
    (warning,) = (text for text in make_report(votes).document["warnings"] if "differ only in case" in text)
    assert "'W4A8', 'w4-a8'" in warning and "qsched" not in warning


def test_columns_that_are_not_used_are_named_on_the_page(make_report: MakeReport) -> None:
    made = make_report(simulated_votes(votes_each=20).with_columns(turn=pl.lit(1), tokens=pl.lit(2)))
    words = "Columns of the votes that this report does not use: turn, tokens."
    assert words in made.document["notes"] and words in made.page
