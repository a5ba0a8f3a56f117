"""`qsched bench plan`: the commands' own forecasts, added up; neither weights nor prompts are needed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from qsched.bench.plan import plan_benchmark
from qsched.bench.spec import read_benchmark
from qsched.cli.bench_studies import price_study
from qsched.cli.main import app
from qsched.errors import InputError, QschedError
from tests.bench.test_spec import SPECS, WHOLE, read


@pytest.mark.parametrize(("name", "arms", "steps"), [("paper", (3, 3), (4, 4)), ("2026", (9, 9, 9), (4, 8, 4))])
def test_large_benchmarks_are_planned_without_weights(name: str, arms: tuple[int, ...], steps: tuple[int, ...]) -> None:
    found = CliRunner().invoke(app, ["bench", "plan", str(SPECS / f"{name}.yaml"), "--json", "-"])
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout[found.stdout.index("{") :])
    assert tuple(len(model["arms"]) for model in plan["models"]) == arms
    rendered = [plan["prompts"] * count for count in arms]
    assert plan["totals"]["pictures"] == sum(rendered)
    assert plan["totals"]["nfe"] == sum(count * step for count, step in zip(rendered, steps, strict=True))
    assert plan["totals"]["calibration_nfe"] > 0 and plan["totals"]["cost"]["USD"] > 0
    assert "is not here" in plan["notes"][0]
    studies = [study for model in plan["models"] for study in model["studies"]]
    assert plan["totals"]["votes"] == sum(study["votes"] for study in studies) > 0


def test_simulated_people_cost_nothing_and_are_counted_apart(tmp_path) -> None:
    benchmark = read(tmp_path, WHOLE)
    plan = plan_benchmark(benchmark, folder=tmp_path, price=price_study)
    total = plan.totals
    # Two models, three arms, four prompts; 4 people with at most 36 votes on 12 pairs of 2 votes.
    assert (total.pictures, total.nfe) == (24, 3 * 4 * (4 + 2))
    assert (total.votes, total.people, total.hours, total.cost) == (0, 0, 0, {}) and total.simulated_votes == 2 * 24
    assert [one.precision for one in plan.models[0].calibrations] == ["w3a8"]
    assert total.seconds is None, "no rate was stated"


def test_stated_rates_give_a_time(tmp_path) -> None:
    text = WHOLE.replace("{name: tiny-sdxl}", "{name: tiny-sdxl, seconds_per_image: {'': 1, w3a8: 3}}")
    text = text.replace("steps: 2}", "steps: 2, seconds_per_image: {'': 0.5}}")
    plan = plan_benchmark(read(tmp_path, text), folder=tmp_path, price=price_study)
    assert plan.totals.seconds == pytest.approx(4 * (1 + 3 + 1) + 12 * 0.5)


def test_a_study_that_does_not_fit_is_an_error_that_names_it(tmp_path) -> None:
    for old, new, message in (
        ("votes_per_pair: 2", "comparisons: {baseline: bf16}", "study preference: .*bf16"),
        ("votes_per_pair: 2", "votes_per_pear: 2", "study preference: votes_per_pear"),
    ):
        benchmark = read(tmp_path, WHOLE.replace(old, new))
        with pytest.raises(InputError, match=message):
            plan_benchmark(benchmark, folder=tmp_path, price=price_study)


METRICS = "title: Small\nmetrics: "
#: (replaced, by, part of the message): a name that `bench run` would refuse, perhaps hours later.
UNKNOWN = [
    (
        "title: Small",
        f"{METRICS}[clipscor]",
        "metric 'clipscor' is unknown; choose one of clipscore.*psnr.*file.py:Class",
    ),
    ("title: Small", f"{METRICS}[psnr, psnr]", "psnr is named twice"),
    ("title: Small", f"{METRICS}['mine.py:Mine']", "mine.py does not exist"),
    ("title: Small", "title: Small\nweights: {tiny-check: w}", "weights: 'tiny-check' takes no weights; choose one of"),
    ("title: Small", "title: Small\nweights: {hpsv3: w}", "weights: hpsv3 is not among the metrics"),
    ("demo, limit: 4}", "gone.csv, limit: 4, format: mjqh}", "format 'mjqh' is unknown; choose qsched, sdci, mjhq"),
    ("limit: 12}", "limit: 12}\n  objective: paper", "objective 'paper' is unknown; choose one of paper-clip"),
    ("limit: 12}", "limit: 12}\n  judge: psnr", "scorer 'psnr' is unknown; choose one of clipscore"),
    ("limit: 12}", "limit: 12}\n  judge: clipscore", "calibration of w3a8.*clipscore is part of the objective"),
    ("n_heldout: 8", "n_heldout: 9", "calibration of w3a8.*8 prompts are there for it"),
    ("w3a8, {arm: w3a8+qsched,", "w3z8, {arm: w3a8+qsched,", "precision 'w3z8' is unknown; choose"),
    ("coefficients: calibrate", "coefficients: shipped}, {arm: w2a8+qsched", "arm w2a8.qsched: .* has .*, not w2a8"),
    ("backbone: tiny-flux", "backbone: flux-schnell", "simulated people judge the pictures of tiny-flux and tiny-sdxl"),
    ("title: Small", "title: Small\nreport: {by: category}", "prompt .* has none; add categories"),
    ("title: Better?", "title: Better?, design: rating", "'preference', 'fidelity' or 'ranking'"),
]


@pytest.mark.parametrize(("old", "new", "message"), UNKNOWN)
def test_a_plan_refuses_what_a_run_would_refuse_late(tmp_path, old: str, new: str, message: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(QschedError, match=message):
        plan_benchmark(read(tmp_path, WHOLE.replace(old, new)), folder=tmp_path, price=price_study)


def test_coefficients_of_a_file_may_come_later(tmp_path) -> None:
    benchmark = read(tmp_path, WHOLE.replace("coefficients: calibrate", "coefficients: later.json"))
    plan = plan_benchmark(benchmark, folder=tmp_path, price=price_study)
    assert plan.notes[0] == "tiny-sdxl: the coefficients later.json are not here"


def test_the_plan_of_the_example_is_printed() -> None:
    found = CliRunner().invoke(app, ["bench", "plan", str(SPECS / "tiny.yaml")])
    assert found.exit_code == 0 and "240 votes by 10 simulated people on 24 pairs" in found.output
    assert "say nothing about people" in found.output
    assert read_benchmark(SPECS / "tiny.yaml").studies[0].votes == "simulated"
