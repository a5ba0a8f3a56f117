"""Agreement, conduct, influence, strata and reliability, against published values, loops and planted faults."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from analysis.stats import (
    EstimateSettings,
    agreement,
    annotator_rows,
    compare_strata,
    count_arrays,
    estimate,
    fit_bradley_terry,
    fit_model,
    influence,
    krippendorff_alpha,
    prepare,
    refit_reliability,
)
from analysis.stats.items import first_judgements, item_values
from analysis.stats.small_samples import correction
from analysis.stats.uncertainty import vote_covariance
from qsched.records import InputError
from tests.analysis.conftest import counts_of, draw_study

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", example C: four observers, twelve units.
OBSERVERS = """1 2 3 3 2 1 4 1 2 . . .
               1 2 3 3 2 2 4 1 2 5 . 3
               . 3 3 3 2 3 4 2 2 5 1 .
               1 2 3 3 2 4 4 1 2 5 1 ."""


def test_krippendorffs_own_example_gives_his_alphas():
    table = np.zeros((12, 5))
    for line in OBSERVERS.splitlines():
        for unit, value in enumerate(line.split()):
            if value != ".":
                table[unit, int(value) - 1] += 1
    nominal, ordinal = (krippendorff_alpha(table, level=level) for level in ("nominal", "ordinal"))
    assert nominal.value == pytest.approx(0.743, abs=5e-4) and ordinal.value == pytest.approx(0.815, abs=5e-4)
    assert (nominal.n_units, nominal.n_values) == (11, 40)
    assert nominal.low is not None and nominal.low < 0.743 < (nominal.high or 0)


def test_alpha_is_none_where_it_is_zero_by_zero_or_nothing_is_judged_twice():
    assert krippendorff_alpha(np.array([[2.0, 0], [3, 0]])).value is None
    assert krippendorff_alpha(np.array([[1.0, 0], [0, 1]])).note == "No item was judged twice."


def frame_of(study: dict[str, list[str]], **more: list) -> pl.DataFrame:
    names = {"left": "left_arm", "right": "right_arm", "prompt": "prompt_id"}
    return pl.DataFrame({names.get(name, name): values for name, values in {**study, **more}.items()})


def test_agreement_counts_the_same_judgement_on_either_side_as_equal():
    # Both judge the same item alike, once with the sides swapped; then they differ.
    rows = {
        "left": ["a", "b", "a", "a"],
        "right": ["b", "a", "b", "b"],
        "choice": ["left", "right", "left", "right"],
        "annotator": ["u", "v", "u", "v"],
        "prompt": ["p", "p", "q", "q"],
    }
    found = agreement(frame_of(rows))
    assert (found.raw, found.n_items, found.n_comparisons) == (0.5, 2, 2)


def test_raw_agreement_and_kappas_equal_a_loop_over_pairs():
    study = draw_study(arms=2, annotators=5, prompts=12, each=18, taste=1.5, seed=8)
    found = agreement(frame_of(study))
    judged: dict[str, dict[str, int]] = {}
    for left, choice, annotator, prompt in zip(
        study["left"], study["choice"], study["annotator"], study["prompt"], strict=True
    ):
        value = {"tie": 1, "left": 0 if left == "arm0" else 2, "right": 2 if left == "arm0" else 0}[choice]
        judged.setdefault(annotator, {}).setdefault(prompt, value)
    same = total = 0
    kappas = {}
    names = sorted(judged)
    for x, a in enumerate(names):
        for b in names[x + 1 :]:
            both = [(judged[a][p], judged[b][p]) for p in judged[a] if p in judged[b]]
            same, total = same + sum(u == v for u, v in both), total + len(both)
            if len(both) >= 5:
                observed = sum(u == v for u, v in both) / len(both)
                chance = sum(
                    sum(u == c for u, _ in both) * sum(v == c for _, v in both) / len(both) ** 2 for c in range(3)
                )
                kappas[a, b] = (observed - chance) / (1 - chance)
    assert found.raw == pytest.approx(same / total)
    assert {(row.annotator_a, row.annotator_b): row.kappa for row in found.kappas} == pytest.approx(kappas)


def test_of_several_judgements_of_one_item_the_first_counts():
    rng = np.random.default_rng(8)
    left = rng.integers(0, 3, 400)
    right = (left + rng.integers(1, 3, 400)) % 3
    votes = pl.DataFrame(
        {
            "left_arm": [f"arm{i}" for i in left],
            "right_arm": [f"arm{i}" for i in right],
            "choice": rng.choice(["left", "right", "tie", "skip"], 400),
            "prompt_id": [f"p{i}" for i in rng.integers(0, 5, 400)],
            "annotator": [f"a{i}" for i in rng.integers(0, 12, 400)],
            "note": ["not needed"] * 400,
        }
    )
    everything = item_values(votes)
    once = everything.unique(["annotator", "item"], keep="first", maintain_order=True)
    assert once.height < everything.height
    assert first_judgements(votes).equals(once)


def test_conduct_finds_sides_speed_gold_repeats_and_agreement():
    rows: list[dict] = []

    def add(who: str, prompt: str, choice: str, **more) -> None:
        rows.append(
            {
                "left_arm": "a",
                "right_arm": "b",
                "choice": choice,
                "annotator": who,
                "prompt_id": prompt,
                "kind": "task",
                "expected": None,
                "response_ms": 1000,
                **more,
            }
        )

    for number in range(20):
        add("lefty", f"p{number}", "left", response_ms=100 if number < 5 else 900)
        add("fair", f"p{number}", "left" if number % 2 else "right")
    add("fair", "p1", "right", kind="repeat", left_arm="b", right_arm="a")  # the same judgement, sides swapped
    add("fair", "p2", "left", kind="repeat")  # was right
    add("fair", "g", "left", kind="gold", expected="left")
    add("fair", "g2", "tie", kind="gold", expected="left")
    add("fair", "g3", "right", kind="gold", expected="left")
    fair, lefty = annotator_rows(pl.DataFrame(rows, infer_schema_length=None))
    strict, _ = annotator_rows(pl.DataFrame(rows, infer_schema_length=None), gold_ties_wrong=True)
    assert (lefty.n_left, lefty.left_share, lefty.entropy_bits) == (20, 1.0, 0.0)
    assert lefty.side_p == pytest.approx(2 * 0.5**20) and lefty.side_p_holm == pytest.approx(4 * 0.5**20)
    assert lefty.fast_share == 0.25 and lefty.median_ms == 900 and lefty.gold_accuracy is None
    assert fair.side_p == 1.0 and fair.entropy_bits == pytest.approx(1.0) and fair.n_votes == 20
    assert (fair.repeat_n, fair.repeat_same, fair.repeat_consistency) == (2, 1, 0.5)
    assert (fair.gold_n, fair.gold_correct) == (2, 1) and fair.gold_low < 0.5 < fair.gold_high
    assert (strict.gold_n, strict.gold_correct) == (3, 1), "with ties counted as wrong"
    assert lefty.agreement_with_rest == pytest.approx(0.5) and lefty.agreement_n == 20


PRINT_CONDUCT = """
import numpy as np, polars as pl
from analysis.stats.conduct import annotator_rows
rng = np.random.default_rng(3)
n = 300_000
columns = {"annotator": rng.integers(0, 20, n), "prompt_id": rng.integers(0, 9000, n), "side": rng.integers(0, 3, n)}
choice = pl.col("side").replace_strict({0: "left", 1: "right", 2: "tie"})
frame = pl.DataFrame(columns).with_columns(
    pl.col("annotator", "prompt_id").cast(pl.String).cast(pl.Categorical), choice.alias("choice"),
    left_arm=pl.lit("a"), right_arm=pl.lit("b"), kind=pl.lit("task"),
)
for _ in range(3):
    print([row.agreement_with_rest for row in annotator_rows(frame)])
"""


@pytest.mark.slow
def test_conduct_is_the_same_to_the_last_bit_in_every_run_and_with_any_number_of_threads():
    lines = []
    for threads in ("1", "2", "16"):
        command, environment = [sys.executable, "-c", PRINT_CONDUCT], os.environ | {"POLARS_MAX_THREADS": threads}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        lines += done.stdout.splitlines()
    assert len(lines) == 9 and lines[0].count("0.") == 20
    assert len(set(lines)) == 1


def test_leaving_one_out_equals_a_refit_without_those_votes():
    study = draw_study(annotators=8, each=30)
    counts = counts_of(study)
    result = estimate(counts, EstimateSettings(method="sandwich"))
    rows = influence(result.fit, counts, result.uncertainty, by="annotator")
    assert len(rows) == 8 and rows[0].method == "exact"
    assert [row.change_in_se for row in rows] == sorted((row.change_in_se for row in rows), reverse=True)
    top = rows[0]
    keep = [i for i, name in enumerate(study["annotator"]) if name != top.cluster]
    part = {name: [values[i] for i in keep] for name, values in study.items()}
    refit = fit_bradley_terry(count_arrays(part["left"], part["right"], part["choice"]))

    def gap(fit) -> float:
        return float(fit.log_strengths[fit.arms.index(top.arm_a)] - fit.log_strengths[fit.arms.index(top.arm_b)])

    assert top.change_log_odds == pytest.approx(gap(refit) - gap(result.fit), abs=1e-8)


def test_a_cluster_without_which_nothing_can_be_estimated_has_infinite_influence():
    counts = count_arrays(
        ["a", "a", "b", "a", "a"],
        ["b", "b", "a", "b", "b"],
        ["left", "left", "left", "left", "left"],
        annotator=["u", "v", "w", "x", "y"],
    )
    result = estimate(counts, EstimateSettings(intervals="annotator", method="sandwich"))
    rows = influence(result.fit, counts, result.uncertainty, by="annotator")
    assert rows[0].cluster == "w" and np.isinf(rows[0].change_in_se)
    with pytest.raises(InputError, match="no prompt ids"):
        influence(result.fit, counts, result.uncertainty, by="prompt")


@pytest.mark.parametrize("penalty", ["none", "firth"])
def test_the_only_judge_of_an_arm_has_infinite_influence(penalty):
    left, right, choice = ["a", "b"] * 12 + ["a", "c"] * 3, ["b", "a"] * 12 + ["c", "a"] * 3, ["left"] * 30
    who = ["u", "u", "v", "v", "w", "w"] * 4 + ["only"] * 6
    counts = count_arrays(left, right, choice, annotator=who)
    result = estimate(counts, EstimateSettings(intervals="annotator", method="sandwich", penalty=penalty))
    rows = influence(result.fit, counts, result.uncertainty, by="annotator")
    assert [row.cluster for row in rows if np.isinf(row.change_in_se)] == ["only"]


def test_guessers_are_found_and_the_strengths_they_dilute_restored():
    rng = np.random.default_rng(3)
    study = draw_study(annotators=40, prompts=30, each=120, taste=0.0, side=0.0, seed=4)
    guesser = {f"ann{x:02d}" for x in range(12)}
    choice = list(study["choice"])
    for i, who in enumerate(study["annotator"]):
        if who in guesser:
            choice[i] = "left" if who < "ann06" else str(rng.choice(["left", "right", "tie"]))
    counts = counts_of({**study, "choice": choice})
    found = refit_reliability(counts)
    reliability = {row.annotator: row.reliability for row in found.annotators}
    assert found.converged
    assert max(reliability[f"ann{x:02d}"] for x in range(6)) < 0.3, "always left is plain to see"
    assert min(value for name, value in reliability.items() if name not in guesser) > 0.8, "the others are believed"
    truth = np.linspace(-0.6, 0.6, 4)
    plain = fit_model(counts, model="davidson").log_strengths
    assert np.abs(found.log_strengths - truth).max() < np.abs(plain - truth).max()


def test_strata_that_differ_are_told_from_strata_that_do_not():
    one, two = draw_study(seed=1, taste=0.0, each=150), draw_study(seed=2, taste=0.0, each=150)
    reversed_two = {**two, "choice": [{"left": "right", "right": "left", "tie": "tie"}[c] for c in two["choice"]]}
    for study, tag in ((one, "x"), (two, "y"), (reversed_two, "y")):
        study["prompt"] = [tag + name for name in study["prompt"]]
    same = compare_strata({"one": counts_of(one), "two": counts_of(two)})
    different = compare_strata({"one": counts_of(one), "two": counts_of(reversed_two)}, arms=[("arm0", "arm3")])
    assert len(same) == 6 and min(row.p_holm for row in same) > 0.01
    assert len(different) == 1 and different[0].p < 1e-4
    fits = [fit_bradley_terry(counts_of(study)).log_strengths for study in (one, reversed_two)]
    assert different[0].difference == pytest.approx((fits[0][0] - fits[0][3]) - (fits[1][0] - fits[1][3]))
    with pytest.raises(InputError, match="at least two"):
        compare_strata({"one": counts_of(one)})


def test_annotators_shared_by_strata_are_accounted_for():
    """Two halves of one study: the variance of the difference equals that of one joint stacked sandwich, by a loop."""
    study = draw_study(seed=6, annotators=15, prompts=20, each=60, taste=0.8, arms=3)
    half = [name < "pr10" for name in study["prompt"]]
    parts = [
        {n: [v for v, h in zip(values, half, strict=True) if h == side] for n, values in study.items()}
        for side in (True, False)
    ]
    settings = EstimateSettings(intervals="annotator")
    (row,) = compare_strata({"x": counts_of(parts[0]), "y": counts_of(parts[1])}, settings, arms=[("arm0", "arm2")])
    total: dict[str, float] = {}
    factors = []
    for sign, part in zip((1, -1), parts, strict=True):
        counts = counts_of(part)
        ready = prepare(fit_bradley_terry(counts), counts)
        factors.append(correction(ready, "annotator", vote_covariance(ready)[0]).factor[0, 2])
        fit = fit_bradley_terry(count_arrays(part["left"], part["right"], part["choice"]))
        theta = dict(zip(fit.arms, fit.log_strengths, strict=True))
        contrast = fit.covariance[0] - fit.covariance[2]
        columns = (part[name] for name in ("left", "right", "choice", "annotator"))
        for left, right, choice, who in zip(*columns, strict=True):
            p = 1 / (1 + np.exp(theta[right] - theta[left]))
            score = {"left": 1.0, "right": 0.0, "tie": 0.5}[choice] - p
            gain = score * (contrast[fit.arms.index(left)] - contrast[fit.arms.index(right)])
            total[who] = total.get(who, 0.0) + sign * gain
    assert all(15 / 14 <= factor < 1.2 for factor in factors)
    assert row.se == pytest.approx(np.sqrt(sum(v * v for v in total.values()) * max(factors)), rel=1e-9)
