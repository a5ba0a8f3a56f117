"""Factors planted at every step are found again through the real schedulers, on 4 and on 8 axes.

The model is a small nonlinear function, so a search takes seconds. Its output is divided by a factor at every step, and
so is the sample; exact repair is the factors themselves. The picture is the last latent, its score minus the squared
distance to that of the whole model. Factors of several steps make up for one another, so the hill is a narrow ridge.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)

from qsched.calibration.families import CoefficientFamily
from qsched.calibration.search import run_search
from qsched.scheduling import Coefficients, apply_coefficients

STEPS, N_PROMPTS = 4, 5
SCHEDULERS = {
    "flow-match": FlowMatchEulerDiscreteScheduler,
    "Euler ancestral": EulerAncestralDiscreteScheduler,
    "LCM": LCMScheduler,
    "TCD": TCDScheduler,
}


class Chain:
    """The evaluator of a search whose model and sample are off by `factors`; one run of the scheduler per candidate."""

    n_prompts = N_PROMPTS

    def __init__(self, scheduler: type, factors: Coefficients) -> None:
        self._factors = factors.at_steps(STEPS)
        self._scheduler = apply_coefficients(scheduler(), Coefficients.constant())
        noise = torch.Generator().manual_seed(0)
        self._start = torch.randn(N_PROMPTS, 4, 6, 6, generator=noise)
        self._target = self._run(Coefficients.constant(), faulty=False)
        self._known: dict[Coefficients, np.ndarray] = {}

    def _run(self, coefficients: Coefficients, *, faulty: bool = True) -> torch.Tensor:
        c = coefficients.at_steps(STEPS)
        self._scheduler.set_timesteps(STEPS)
        self._scheduler.set_batch_coefficients([c.model] * N_PROMPTS, [c.sample] * N_PROMPTS, None)
        x = self._start * getattr(self._scheduler, "init_noise_sigma", 1.0)
        noise = torch.Generator().manual_seed(1)
        for i, t in enumerate(self._scheduler.timesteps):
            scaled = self._scheduler.scale_model_input(x, t) if hasattr(self._scheduler, "scale_model_input") else x
            e = torch.tanh(0.9 * scaled + 0.3 * scaled.roll(1, dims=-1))
            if faulty:
                e, x = e / self._factors.model[i], x / self._factors.sample[i]
            x = self._scheduler.step(e, t, x, generator=noise, return_dict=False)[0]
        return x

    def values(self, candidates, prompts=None) -> np.ndarray:
        chosen = list(range(N_PROMPTS) if prompts is None else prompts)
        for one in {c.at_steps(STEPS) for c in candidates} - self._known.keys():
            self._known[one] = self.score(one)
        return np.array([self._known[c.at_steps(STEPS)][chosen] for c in candidates])

    def paired_gains(self):
        stock = self._known[Coefficients.constant().at_steps(STEPS)]
        return {c: values - stock for c, values in self._known.items()}

    def table(self):
        return list(self._known), np.array(list(self._known.values()))

    def score(self, coefficients: Coefficients) -> np.ndarray:
        """Of each prompt; the search does not know of it."""
        far = (self._run(coefficients) - self._target).flatten(1)
        return -far.pow(2).mean(dim=1).numpy()


@pytest.mark.parametrize("name", ["linear", "per-step"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_race_finds_nine_tenths_of_what_exact_repair_gains(scheduler, name):
    """With five seeds of each, 38 of 40 are above 90 % and the worst has 83 % (2026-11-29, docs/log.md)."""
    family = CoefficientFamily(name, STEPS)
    planted = np.random.default_rng(1).uniform(0.88, 1.12, len(family.bounds)).round(3)
    factors = family.coefficients(tuple(planted))
    world = Chain(SCHEDULERS[scheduler], factors)
    stock, repaired = (float(world.score(c).mean()) for c in (Coefficients.constant(), factors))
    assert repaired > -1e-4, "exact repair exists"
    run_search("race", world, family, seed=0, size=5)
    best = max(values.mean() for values in world.paired_gains().values())
    assert best > 0.9 * (repaired - stock)
