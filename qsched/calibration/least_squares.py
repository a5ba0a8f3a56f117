"""Coefficients in closed form: what brings each quantized step nearest to the full-precision one, by least squares.

A step that is affine in its inputs, x' = A x + B e + n, makes this a linear problem (our own method, not the paper's).
Let x*_0 ... x*_S be the latents of a full-precision run and e the quantized model's output. In closed loop, with x_0 =
x*_0, the same noise n_i, and for each step i in turn,

    a = A_i x_i,   b = B_i e(x_i),   r = (x*_{i+1} - n_i) - a - b
    minimise |r - (c_x - 1) a - (c_eps - 1) b - beta|^2,   ridge: (1 + l) on <a, a> and <b, b>, l = 0.01
    x_{i+1} = c_x a + c_eps b + beta + n_i

beta is a number for each latent channel, or absent. The ridge is needed: at the first step of a model that predicts
noise, x and e are nearly parallel. The model evaluations are N S of each model for N prompts and S steps; fits of other
forms share the full-precision run and the first step. Less squared error in each step need not make a better picture,
so a fit is a candidate like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from qsched.calibration.errors import CalibrationError
from qsched.calibration.trajectory import BatchRow, LeavePipeline, StepCall, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients
from qsched.scheduling.affine import step_parts

Form = Literal["scalars", "bias", "bias and scalars"]
FORMS: tuple[Form, ...] = ("scalars", "bias", "bias and scalars")
RIDGE = 0.01
FOLDS = 5
LEAST_SHARE = 0.1  # less of a step's error than this is linear: there is nothing for a scheduler to repair
_TERMS = ("n", "a", "b", "r", "aa", "ab", "bb", "ar", "br", "rr")


@dataclass(frozen=True)
class FullRun:
    """What a full-precision run made of some prompts: the latents after each step, [prompts, ...], float32, on the CPU.

    nfe    model evaluations that it took
    """

    latents: tuple[torch.Tensor, ...]
    nfe: int


@dataclass(frozen=True)
class StepFit:
    """One step of a fit, and what is left of its error.

    error    root mean square of r over that of x*_{i+1}
    share    of |r|^2 that the fit removes on prompts that it was not fitted on (5-fold); negative: it adds
    """

    sample: float
    model: float
    bias: tuple[float, ...]
    error: float
    share: float


@dataclass(frozen=True)
class Fit:
    """A candidate, step by step. `shares` has what each form removes of the error along this fit's own path."""

    form: Form
    steps: tuple[StepFit, ...]
    shares: dict[Form, tuple[float, ...]]

    @property
    def coefficients(self) -> Coefficients | None:
        """The coefficients; None if one is not above 0, which no scheduler coefficient may be."""
        if any(min(step.sample, step.model) <= 0 for step in self.steps):
            return None
        return Coefficients.per_step(
            model=[round(step.model, 6) for step in self.steps],
            sample=[round(step.sample, 6) for step in self.steps],
            bias=[[round(b, 6) for b in step.bias] for step in self.steps] if self.form != "scalars" else (),
        )


def full_run(renderer: TrajectoryRenderer, prompts: Sequence[Prompt], seeds: Sequence[int]) -> FullRun:
    """The latents of a full-precision renderer with the stock scheduler."""
    before = renderer.nfe
    made: list[list[torch.Tensor]] = [[] for _ in range(renderer.steps)]

    def keep(call: StepCall) -> Any:
        result = call.make()
        made[call.number].append(result[0].detach().to("cpu", torch.float32))
        if call.number == renderer.steps - 1:
            raise LeavePipeline  # the picture itself is not needed
        return result

    renderer.follow(_rows(prompts, seeds, Coefficients.constant()), keep)
    return FullRun(tuple(torch.cat(parts) for parts in made), renderer.nfe - before)


def fit_steps(
    renderer: TrajectoryRenderer, full: FullRun, prompts: Sequence[Prompt], seeds: Sequence[int], form: Form
) -> Fit:
    """Fit all steps of a quantized renderer in closed loop; UnsupportedSchedulerError for a step that is not affine."""
    n, channels = renderer.steps, renderer.latent_channels
    if len(full.latents) != n:
        raise CalibrationError(f"a full-precision run of {len(full.latents)} steps cannot serve a fit of {n} steps")
    if renderer.corrects_noise:
        raise CalibrationError(
            "the scheduler corrects the noise estimate (ptqd) already, so no closed-form coefficients are fitted on top"
            " of it; use --strategy race"
        )
    steps: list[StepFit] = []
    shares: dict[Form, list[float]] = {one: [] for one in FORMS}
    for i in range(n):
        rows = _rows(prompts, seeds, _so_far(steps, n, form, channels))
        sums = np.zeros((len(rows), channels, len(_TERMS)))

        def measure(call: StepCall, step: int = i, sums: np.ndarray = sums) -> Any:
            if call.number < step:
                return call.make()
            parts = step_parts(call.scheduler, call.inputs, *call.args, **call.kwargs)
            a, b, noise = (part.detach().to("cpu") for part in (parts.sample, parts.model, parts.noise))
            target = full.latents[step][call.first : call.first + len(a)]
            a_BCP, b_BCP, r_BCP = (_by_channel(x, channels) for x in (a, b, target - noise - a - b))
            sums[call.first : call.first + len(a)] = _sums(a_BCP, b_BCP, r_BCP)
            raise LeavePipeline

        renderer.follow(rows, measure)
        if not np.isfinite(sums).all():
            raise CalibrationError(
                f"step {i + 1} made latents that are NaN or infinite, in full precision or quantized, so nothing can "
                "be fitted to them; half precision overflows in some models: use another --dtype"
            )
        sample, model, bias = solve(sums.sum(axis=0), form)
        for one in FORMS:
            shares[one].append(heldout_share(sums, one))
        size = float(full.latents[i].double().square().mean()) ** 0.5
        error = float(sums[..., 9].sum() / sums[..., 0].sum()) ** 0.5
        steps.append(StepFit(sample, model, tuple(bias), error / size, shares[form][-1]))
        if min(sample, model) <= 0:  # the next step would start from nowhere
            steps += [StepFit(1.0, 1.0, (0.0,) * channels, 0.0, 0.0)] * (n - 1 - i)
            break
    found = {one: tuple(values) for one, values in shares.items()}
    return Fit(form, tuple(steps), found)


def solve(sums_CT: np.ndarray, form: Form, *, ridge: float = RIDGE) -> tuple[float, float, np.ndarray]:
    """(c_x, c_eps, beta) that minimise the squared error whose sums these are; [channels, terms]."""
    n, a, b, r, aa, ab, bb, ar, br, _ = np.moveaxis(np.asarray(sums_CT, dtype=float), -1, 0)
    p = q = 0.0
    if form != "bias":
        # With a bias the channels' means are taken out first; the bias then takes up what is left of them.
        centre = 1.0 if form == "bias and scalars" else 0.0
        AA, AB, BB = (float((xy - centre * x * y / n).sum()) for xy, x, y in ((aa, a, a), (ab, a, b), (bb, b, b)))
        AR, BR = (float((xr - centre * x * r / n).sum()) for xr, x in ((ar, a), (br, b)))
        left = np.array([[(1 + ridge) * AA, AB], [AB, (1 + ridge) * BB]])
        if np.linalg.det(left) > 1e-12 * max(AA * BB, 1e-300):
            p, q = (float(value) for value in np.linalg.solve(left, [AR, BR]))
    beta = np.zeros(len(n)) if form == "scalars" else (r - p * a - q * b) / n
    return 1 + p, 1 + q, beta


def left_over(sums_CT: np.ndarray, sample: float, model: float, beta: np.ndarray) -> float:
    """The squared error that coefficients leave, from its sums."""
    n, a, b, r, aa, ab, bb, ar, br, rr = np.moveaxis(np.asarray(sums_CT, dtype=float), -1, 0)
    p, q = sample - 1, model - 1
    squares = rr + p**2 * aa + q**2 * bb + n * beta**2
    crossed = -p * ar - q * br - beta * r + p * q * ab + p * beta * a + q * beta * b
    return float((squares + 2 * crossed).sum())


def heldout_share(sums_NCT: np.ndarray, form: Form) -> float:
    """The share of the squared error that a fit on four fifths of the prompts removes on the last fifth."""
    n = len(sums_NCT)
    folds = [np.arange(n) % min(FOLDS, n) == k for k in range(min(FOLDS, n))]
    before = after = 0.0
    for held in folds:
        test = sums_NCT[held].sum(axis=0)
        before += float(test[..., 9].sum())
        after += left_over(test, *solve(sums_NCT[~held].sum(axis=0), form))
    return 1 - after / before if before > 0 else 0.0


def _so_far(steps: Sequence[StepFit], n: int, form: Form, channels: int) -> Coefficients:
    """The fitted steps, and stock ones after them; the rounding is that of the candidate, so evaluations are shared."""
    rest = n - len(steps)
    bias = [[round(b, 6) for b in step.bias] for step in steps] + [[0.0] * channels] * rest
    return Coefficients.per_step(
        model=[round(step.model, 6) for step in steps] + [1.0] * rest,
        sample=[round(step.sample, 6) for step in steps] + [1.0] * rest,
        bias=bias if form != "scalars" else (),
    )


def _rows(prompts: Sequence[Prompt], seeds: Sequence[int], coefficients: Coefficients) -> list[BatchRow]:
    return [BatchRow(prompt, seed, coefficients) for prompt, seed in zip(prompts, seeds, strict=True)]


def _by_channel(latents: torch.Tensor, channels: int) -> np.ndarray:
    """[B, C, pixels] in float64 of [B, C, H, W], or of packed [B, tokens, C p]."""
    wide = latents.double()
    if wide.ndim == 3:
        packed = wide.unflatten(-1, (channels, -1))  # [B, tokens, C, p]
        return np.asarray(packed.permute(0, 2, 1, 3).flatten(2).numpy())
    return np.asarray(wide.flatten(2).numpy())


def _sums(a: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    """[B, C, terms]: counts, sums and sums of products over the pixels."""
    counts = np.full(a.shape[:2], float(a.shape[2]))
    plain = [x.sum(axis=-1) for x in (a, b, r)]
    products = [(x * y).sum(axis=-1) for x, y in ((a, a), (a, b), (b, b), (a, r), (b, r), (r, r))]
    return np.stack([counts, *plain, *products], axis=-1)
