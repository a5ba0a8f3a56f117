"""Every excluded vote is counted once, under the first rule that hits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import agreement, count_votes, refit_reliability
from analysis.votes import ExclusionRules, VotesTable, exclude, read_votes
from analysis.votes.known import known_answers
from analysis.votes.table import SCHEMA
from qsched.records import InputError

KINDS = ("task", "warmup", "practice", "gold", "instructed", "repeat")


def table(rows: list[dict[str, Any]]) -> VotesTable:
    full = [
        {
            "left_arm": "a",
            "right_arm": "b",
            "choice": "left",
            "annotator": "x",
            "kind": "task",
            "expected": None,
            "response_ms": 1000,
            "simulated": False,
            **row,
        }
        for row in rows
    ]
    frame = pl.DataFrame(full, infer_schema_length=None)
    return VotesTable(frame.cast({c: SCHEMA[c] for c in frame.columns}), ("memory",), "qsched", ())


def reasons(votes: VotesTable, **options: Any) -> dict[str, int]:
    kept, report = exclude(votes, ExclusionRules(**options))
    assert report.n_read == votes.n_votes == kept.n_votes + report.n_excluded
    assert report.n_kept == kept.n_votes
    return {row.reason: row.n_votes for row in report.rows if row.n_votes}


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(KINDS),
                "choice": st.sampled_from(("left", "right", "tie", "skip")),
                "expected": st.sampled_from(("left", "right")),
                "annotator": st.sampled_from("uvwxyz"),
                "response_ms": st.integers(0, 1500),
                "simulated": st.booleans(),
            }
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_read_equals_kept_plus_all_reasons_and_nothing_kept_breaks_a_rule(rows, min_votes):
    votes = table(rows)
    kept, report = exclude(votes, ExclusionRules(min_votes=min_votes))
    assert report.n_read == report.n_kept + report.n_excluded == len(rows)
    frame = kept.frame
    assert set(frame["kind"].cast(pl.String)) <= {"task"} and "skip" not in set(frame["choice"].cast(pl.String))
    assert frame.height == 0 or frame["response_ms"].min() >= 200
    assert frame["simulated"].n_unique() <= 1
    if min_votes and frame.height:
        assert frame.group_by("annotator").len()["len"].min() >= min_votes


def test_the_first_rule_that_hits_takes_the_vote():
    votes = table([{"kind": "practice", "choice": "skip", "response_ms": 1}, {"choice": "skip", "response_ms": 1}, {}])
    assert reasons(votes) == {"kind: practice": 1, "skip": 1}


def test_simulated_votes_are_kept_alone_and_dropped_beside_peoples():
    alone, mixed = table([{"simulated": True}] * 3), table([{"simulated": True}] * 3 + [{}])
    assert reasons(alone) == {} and exclude(alone)[1].simulated == "all"
    assert exclude(alone)[1].notes[0] == "All 3 votes are by simulated annotators; none was left out for that reason."
    kept = exclude(mixed, ExclusionRules(simulated="keep"))[1]
    assert kept.notes[0] == "3 of 4 votes are by simulated annotators; none was left out for that reason."
    assert reasons(mixed) == {"simulated": 3}
    assert reasons(mixed, simulated="keep") == {}
    assert reasons(alone, simulated="drop") == {"simulated": 3}


def test_gold_and_instructed_failures_take_out_the_person_by_the_stated_limits():
    wrong = {"kind": "gold", "choice": "left", "expected": "right"}
    right = {"kind": "gold", "choice": "right", "expected": "right"}
    failed = {"kind": "instructed", "choice": "tie", "expected": "left"}
    rows = [{**wrong, "annotator": "bad"}] * 2 + [{**right, "annotator": "bad"}] + [{"annotator": "bad"}] * 4
    rows += [{**wrong, "annotator": "half"}, {**right, "annotator": "half"}, {"annotator": "half"}]
    rows += [{**wrong, "annotator": "one"}, {"annotator": "one"}]
    rows += [{**failed, "annotator": "asleep"}] * 2 + [{"annotator": "asleep"}] * 3
    rows += [{**failed, "annotator": "slip"}, {"annotator": "slip"}]
    votes = table(rows)
    _, report = exclude(votes)
    assert report.annotators == (("bad", "gold failures"), ("asleep", "instructed failures"))
    found = reasons(votes)
    assert (found["gold failures"], found["instructed failures"]) == (4, 3)
    assert "gold failures" in reasons(votes, min_gold_accuracy=0.6)
    assert reasons(votes, min_gold_accuracy=0.6)["gold failures"] == 5, "half is below 60 %"
    assert "gold failures" not in reasons(votes, min_gold_accuracy=None)
    assert reasons(votes, max_instructed_failures=0)["instructed failures"] == 4


def test_a_tie_on_gold_is_not_wrong_unless_asked_and_a_question_without_a_known_answer_is_not_judged():
    tie = {"kind": "gold", "choice": "tie", "expected": "right", "annotator": "careful"}
    right = {"kind": "gold", "choice": "right", "expected": "right", "annotator": "careful"}
    unknown = {"kind": "gold", "choice": "left", "expected": None, "annotator": "careful"}
    votes = table([tie] * 3 + [right] * 2 + [unknown] * 4 + [{"annotator": "careful"}])
    assert "gold failures" not in reasons(votes)
    assert reasons(votes, gold_ties_wrong=True)["gold failures"] == 1, "2 of 5 are right"
    assert known_answers(votes.frame, "gold", gold_ties_wrong=False).select("n", "ok").row(0) == (2, 2)


def test_too_few_votes_are_counted_after_the_other_rules():
    votes = table([{"annotator": "u"}] * 3 + [{"annotator": "v"}] * 2 + [{"annotator": "v", "response_ms": 10}])
    assert reasons(votes, min_votes=3) == {"too fast": 1, "too few votes": 2}


def test_named_annotators_must_exist():
    votes = table([{"annotator": "u"}, {"annotator": "v"}])
    assert reasons(votes, annotators=("u",)) == {"named annotator": 1}
    with pytest.raises(InputError, match="'w' is to be excluded but has no votes"):
        exclude(votes, ExclusionRules(annotators=("w",)))


def test_a_default_rule_that_cannot_be_checked_is_noted_and_a_chosen_one_is_an_error():
    votes = table([{}])
    votes = votes.with_frame(votes.frame.drop("response_ms", "expected"))
    _, report = exclude(votes)
    assert len(report.notes) == 3 and all("Not checked" in note for note in report.notes)
    with pytest.raises(InputError, match="'response_ms'"):
        exclude(votes, ExclusionRules(min_response_ms=800))


@pytest.mark.parametrize("wrong", [{"kinds": ("trial",)}, {"min_gold_accuracy": 80}, {"min_votes": -1}])
def test_rules_out_of_range_are_refused(wrong: dict[str, Any]):
    with pytest.raises(InputError):
        ExclusionRules(**wrong)


def test_votes_with_a_known_answer_are_not_counted_unless_the_rules_keep_them(tmp_path: Path) -> None:
    rows = {"left_arm": ["a", "b", "a"], "right_arm": ["b", "a", "b"], "choice": ["left"] * 3}
    rows |= {"kind": ["task", "gold", "repeat"], "expected": [None, "left", None]}
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "v.parquet")
    votes = read_votes(tmp_path / "v.parquet")
    for unscreened in (votes, votes.frame):
        with pytest.raises(InputError, match=r"2 of 3 votes .*kind: gold 1, kind: repeat 1.*exclude"):
            count_votes(unscreened)
    assert count_votes(exclude(votes)[0]).n_votes == 1
    assert count_votes(exclude(votes, ExclusionRules(kinds=()))[0]).n_votes == 3


def test_votes_with_an_impossible_time_are_noted_and_left_out_on_request(tmp_path: Path) -> None:
    rows = {"left_arm": ["a", "b", "a"], "right_arm": ["b", "a", "b"], "choice": ["left"] * 3}
    path = tmp_path / "v.csv"
    pl.DataFrame({**rows, "doubt": ["response_ms", None, None]}).write_csv(path)
    votes = read_votes(path)
    kept, report = exclude(votes)
    assert kept.n_votes == 3
    assert any(note.startswith("1 vote came with a longer time") for note in report.notes)
    kept, report = exclude(votes, ExclusionRules(doubtful=True))
    assert kept.n_votes == 2 and report.n_by_conduct == 1
    assert [row.n_votes for row in report.rows if row.reason == "doubtful time"] == [1]
    pl.DataFrame(rows).write_csv(path)
    with pytest.raises(InputError, match="'doubt', which the votes do not have"):
        exclude(read_votes(path), ExclusionRules(doubtful=True))
    pl.DataFrame({**rows, "doubt": ["slow", None, None]}).write_csv(path)
    with pytest.raises(InputError, match=r"doubt is 'slow'; it must be one of response_ms"):
        read_votes(path)


def test_no_statistic_takes_votes_that_the_rules_of_conduct_would_leave_out_unasked() -> None:
    task = [
        {"annotator": who, "prompt_id": f"p{n}", "choice": ("left", "right")[n % 2]} for who in "xy" for n in range(9)
    ]
    checks = [{"annotator": "y", "kind": "instructed", "expected": "left", "choice": "right"}] * 2
    careless = table([{**row, "prompt_id": row.get("prompt_id", "p")} for row in (*task, *checks)])
    hasty = table([*task, {"annotator": "x", "prompt_id": "p", "response_ms": 120}])
    for votes, words in ((careless, "instructed failures 9"), (hasty, r"1 of 19 votes .*too fast 1")):
        for unscreened in (votes, votes.frame):
            for statistic in (count_votes, agreement, refit_reliability):
                with pytest.raises(InputError, match=words):
                    statistic(unscreened)
    kept, _ = exclude(hasty, ExclusionRules(min_response_ms=0))
    assert count_votes(kept).n_votes == 19 and agreement(kept, resamples=10).n_items == 9
    clean = table(task)
    assert count_votes(clean).n_votes == count_votes(clean.frame).n_votes == 18


def test_battles_with_the_names_of_the_arms_shown_are_an_exclusion_of_their_own(tmp_path: Path) -> None:
    rows = {"model_a": ["a", "b", "a"], "model_b": ["b", "a", "b"], "winner": ["model_a", "tie", "model_b"]}
    pl.DataFrame({**rows, "anony": [True, False, None]}).write_ndjson(tmp_path / "v.jsonl")
    votes = read_votes(tmp_path / "v.jsonl")
    assert reasons(votes) == {"names shown": 1}
    assert exclude(votes, ExclusionRules(names_shown=False))[0].n_votes == 3
