"""Coefficient families: values, rules, JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsched.scheduling import CoefficientError, Coefficients, read_coefficients

POSITIVE = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)


def test_linear_runs_from_first_to_last_and_hits_both_exactly() -> None:
    c = Coefficients.linear(model=(0.955, 1.099), sample=(1.012, 0.967))
    assert [c.model_at(i, 4) for i in range(4)] == pytest.approx([0.955, 1.003, 1.051, 1.099], abs=1e-15)
    assert [c.sample_at(i, 4) for i in range(4)] == pytest.approx([1.012, 0.997, 0.982, 0.967], abs=1e-15)
    assert c.model_at(3, 4) == 1.099 and c.sample_at(3, 4) == 0.967


def test_linear_on_one_step_uses_first() -> None:
    assert Coefficients.linear(model=(0.9, 1.1), sample=(1.2, 1.0)).model_at(0, 1) == 0.9


def test_model_and_sample_are_not_swapped() -> None:
    c = Coefficients.per_step(model=[0.9, 0.8], sample=[1.1, 1.2])
    assert (c.model_at(1, 2), c.sample_at(1, 2)) == (0.8, 1.2)


@pytest.mark.parametrize("bad", [0.0, -0.5, float("nan"), float("inf"), True, "1.0", None])
def test_a_coefficient_that_is_not_a_finite_positive_number_is_refused(bad: object) -> None:
    with pytest.raises(CoefficientError):
        Coefficients.constant(model=bad)


@pytest.mark.parametrize("n", [3, 5])
def test_a_wrong_number_of_per_step_coefficients_names_both_counts(n: int) -> None:
    c = Coefficients.per_step(model=[1.0] * 4, sample=[1.0] * 4)
    with pytest.raises(CoefficientError, match=rf"4 per-step coefficients for {n} inference steps"):
        c.check_steps(n)


def test_a_step_outside_the_run_is_refused() -> None:
    with pytest.raises(CoefficientError, match="outside"):
        Coefficients.constant().model_at(4, 4)
    with pytest.raises(CoefficientError, match="outside"):
        Coefficients.constant().model_at(-1, 4)


def test_unequal_and_empty_lists_are_refused() -> None:
    with pytest.raises(CoefficientError, match="2 model and 1 sample"):
        Coefficients.per_step(model=[1, 1], sample=[1])
    with pytest.raises(CoefficientError):
        Coefficients.per_step(model=[], sample=[])


@given(model=st.lists(POSITIVE, min_size=1, max_size=8), data=st.data())
def test_json_round_trip_is_exact(model: list[float], data: st.DataObject) -> None:
    sample = data.draw(st.lists(POSITIVE, min_size=len(model), max_size=len(model)))
    for c in (
        Coefficients.per_step(model=model, sample=sample),
        Coefficients.constant(model=model[0], sample=sample[0]),
        Coefficients.linear(model=(model[0], model[-1]), sample=(sample[0], sample[-1])),
    ):
        assert Coefficients.from_json(c.to_json()) == c


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"family": "constant", "model": 1}',
        '{"family": "cubic", "model": [1], "sample": [1]}',
        '{"family": "linear", "model": [1, 1, 1], "sample": [1, 1, 1]}',
        '{"family": "linear", "model": 1, "sample": 1}',
        '{"family": "constant", "model": 1, "sample": 1, "sampel": 2}',
        '{"family": "constant", "model": NaN, "sample": 1}',
    ],
)
def test_broken_json_is_refused_not_defaulted(text: str) -> None:
    with pytest.raises(CoefficientError):
        Coefficients.from_json(text)


def test_a_file_with_provenance_is_read_and_a_missing_one_names_the_remedy(tmp_path) -> None:
    path = tmp_path / "c.json"
    c = Coefficients.linear(model=(0.9, 1.0), sample=(1.05, 1.0))
    path.write_text(json.dumps({"coefficients": c.to_dict(), "provenance": {"seed": 1}}))
    assert read_coefficients(path) == c
    with pytest.raises(CoefficientError, match="qsched calibrate"):
        read_coefficients(tmp_path / "absent.json")


def test_importing_the_families_does_not_import_torch() -> None:
    code = "import sys, qsched.scheduling; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
