"""Families, the race, and the smooth fit on functions whose best point is known."""

from __future__ import annotations

import numpy as np
import pytest

from qsched.calibration.errors import CalibrationError
from qsched.calibration.families import Box, Family, as_point, even_grid, spread_points
from qsched.calibration.search import not_worse, planned_pictures, run_search
from qsched.calibration.surface import fit_surface
from qsched.errors import InputError
from qsched.scheduling import Coefficients


class Noisy:
    """JAQ = -80 |point - best|^2 + prompt effect + noise of each (candidate, prompt); counts what is asked for."""

    def __init__(self, family: Family, best, *, noise: float, n_prompts: int = 25, seed: int = 0) -> None:
        self.family, self.best, self.noise, self.n_prompts, self.seed = family, np.array(best), noise, n_prompts, seed
        self.known: dict[tuple, float] = {}

    def values(self, points, prompts=None):
        chosen = range(self.n_prompts) if prompts is None else prompts
        return np.array([[self._value(p, i) for i in chosen] for p in points])

    def _value(self, point, prompt):
        if (point, prompt) not in self.known:
            rng = np.random.default_rng([self.seed, prompt, *(int(1e6 * c) for c in point)])
            effect = 3 * np.sin(prompt)
            quality = -80 * ((np.array(point) - self.best) ** 2).sum()
            self.known[point, prompt] = quality + effect + self.noise * rng.normal()
        return self.known[point, prompt]

    def paired_gains(self):
        stock = self.family.identity
        gains: dict = {}
        for (point, prompt), value in self.known.items():
            gains.setdefault(point, []).append(value - self.known[stock, prompt])
        return {p: np.array(v) for p, v in gains.items()}

    def chosen(self):
        full = [p for p, v in self.paired_gains().items() if len(v) == self.n_prompts]
        return max(full, key=lambda p: self.paired_gains()[p].mean())

    def true_gain(self, point):
        return 80 * (((1 - self.best) ** 2).sum() - ((np.array(point) - self.best) ** 2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_race_keeps_nearly_the_whole_gain_for_a_fortieth_of_the_pictures(seed):
    family = Family("constant", 4)
    noisy = Noisy(family, (1.087, 0.943), noise=0.3, seed=seed)
    run_search("race", noisy, family, seed=seed)
    assert noisy.true_gain(noisy.chosen()) > 0.9 * noisy.true_gain(noisy.best)
    assert len(noisy.known) <= planned_pictures("race", family, 25) <= 2500 * 25 / 40


@pytest.mark.parametrize(
    "name, best",
    [
        ("linear", (1.1, 1.0, 0.95, 1.0)),
        ("per-step", (1.1, 1.05, 1.0, 1.0, 0.95, 1.0, 1.0, 1.0)),
    ],
)
def test_the_race_gains_in_families_with_many_axes(name, best):
    family = Family(name, 4)
    noisy = Noisy(family, best, noise=0.05)
    run_search("race", noisy, family, seed=0)
    assert noisy.true_gain(noisy.chosen()) > 0.3 * noisy.true_gain(noisy.best)


def test_optuna_proposes_within_the_box_and_starts_from_stock():
    pytest.importorskip("optuna")
    family = Family("per-step", 2)
    noisy = Noisy(family, (1.1, 1.0, 0.95, 1.0), noise=0.05, n_prompts=5)
    run_search("optuna", noisy, family, seed=0, size=5)
    points = list(noisy.paired_gains())
    assert len(points) == 25 and points[0] == family.identity
    assert all(0.8 <= c <= 1.2 for p in points for c in p)
    assert noisy.true_gain(noisy.chosen()) > 0


def test_only_candidates_that_are_clearly_worse_on_the_same_prompts_are_dropped():
    prompt_effect = np.array([0.0, 5.0, -3.0, 8.0])
    wobble = np.array([0, 0.1, -0.1, 0])
    values = np.array([prompt_effect + 1, prompt_effect + 0.99 + wobble, prompt_effect + wobble])
    assert not_worse(values) == [0, 1], "pairing removes the prompts' spread, so a deficit of 1 shows in four of them"


def test_the_smooth_fit_is_nearer_the_truth_than_the_luckiest_point():
    family = Family("constant", 4)
    errors = []
    for seed in range(4):
        noisy = Noisy(family, (1.08, 0.95), noise=1.0, seed=seed)
        run_search("grid", noisy, family, seed=0, size=9)
        surface = fit_surface(noisy.paired_gains(), family)
        errors.append([noisy.true_gain(noisy.best) - noisy.true_gain(p) for p in (surface.optimum, noisy.chosen())])
    smooth, lucky = np.mean(errors, axis=0)
    assert smooth < lucky


def test_the_smooth_fit_knows_that_stock_gains_nothing_over_itself():
    family = Family("constant", 4)
    for seed in range(3):
        noisy = Noisy(family, (1.08, 0.95), noise=2.0, n_prompts=6, seed=seed)
        run_search("grid", noisy, family, seed=0, size=5)
        gains = noisy.paired_gains()
        spread = np.std([values.mean() for values in gains.values()])
        assert abs(fit_surface(gains, family).at([family.identity])[0]) < 0.01 * spread


def test_a_surface_without_variation_or_with_few_points_is_not_fitted():
    family = Family("constant", 4)
    flat = {p: np.zeros(5) for p in even_grid(family, 4)}
    assert fit_surface(flat, family) is None
    assert fit_surface({(1.0, 1.0): np.zeros(5), (1.1, 1.0): np.ones(5)}, family) is None


@pytest.mark.parametrize(
    "name, point, expected",
    [
        ("constant", (1.1, 0.9), Coefficients.constant(model=1.1, sample=0.9)),
        ("linear-to-one", (1.1, 0.9), Coefficients.linear(model=(1.1, 1.0), sample=(0.9, 1.0))),
        ("linear", (1.1, 1.2, 0.9, 0.8), Coefficients.linear(model=(1.1, 1.2), sample=(0.9, 0.8))),
        ("per-step", (1.1, 1.2, 0.9, 0.8), Coefficients.per_step(model=[1.1, 1.2], sample=[0.9, 0.8])),
    ],
)
def test_points_become_coefficients_model_first(name, point, expected):
    assert Family(name, 2).coefficients(point) == expected


def test_a_frozen_kind_stays_at_one():
    only_sample = Family("constant", 4, vary="sample")
    assert only_sample.axes == ("sample",)
    assert only_sample.coefficients((0.9,)) == Coefficients.constant(model=1.0, sample=0.9)
    assert Family("linear", 4, vary="model").coefficients((0.9, 1.1)) == Coefficients.linear(model=(0.9, 1.1))


def test_each_axis_has_the_range_of_its_kind_and_the_default_grid_holds_one():
    family = Family("linear", 4, Box(model=(0.9, 1.1), sample=(0.7, 1.3)))
    assert family.bounds == ((0.9, 1.1), (0.9, 1.1), (0.7, 1.3), (0.7, 1.3))
    assert (1.0, 1.0) in even_grid(Family("constant", 4), 9) and len(even_grid(Family("constant", 4), 50)) == 2500
    assert as_point(np.linspace(0.8, 1.2, 9))[4] == 1.0
    points = np.array(spread_points(family, 64, seed=0))
    assert points.shape == (64, 4) and (points[:, 0] >= 0.9).all() and points[:, 2].max() > 1.2


@pytest.mark.parametrize(
    "make, rule",
    [
        (lambda: Box(model=(1.1, 1.2)), "1, 1. is always a candidate"),
        (lambda: Box(sample=(0.0, 1.2)), "0 < low"),
        (lambda: Family("cubic", 4), "choose one of constant"),
        (lambda: Family("constant", 4, vary="noise"), "choose both"),
        (lambda: even_grid(Family("per-step", 4), 9), "use --strategy race"),
        (lambda: run_search("anneal", None, Family("constant", 4), seed=0), "choose one of race"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_remedy(make, rule):
    with pytest.raises((InputError, CalibrationError), match=rule):
        make()
