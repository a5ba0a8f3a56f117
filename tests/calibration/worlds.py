"""Planted worlds: JAQ as a known function of the coefficients, with the noise of prompts and candidates."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from qsched.scheduling import Coefficients

STEPS = 4


class World:
    """Replaces the evaluator: quality(numbers) + effect of the prompt + noise of each (candidate, prompt).

    numbers    the model's coefficients of the four steps, then the sample's
    noise      (rng, prompt) -> the noise of one picture
    """

    def __init__(
        self,
        quality: Callable[[np.ndarray], float],
        *,
        noise: float | Callable[[np.random.Generator], float] = 0.0,
        n_prompts: int = 25,
        seed: int = 0,
    ) -> None:
        self.quality, self.n_prompts, self.seed = quality, n_prompts, seed
        self._noise = noise if callable(noise) else lambda rng: noise * rng.normal()
        self._effects = 3 * np.random.default_rng(seed).normal(size=n_prompts)
        self.known: dict[tuple[Coefficients, int], float] = {}

    def values(self, candidates: Sequence[Coefficients], prompts: Sequence[int] | None = None) -> np.ndarray:
        chosen = range(self.n_prompts) if prompts is None else prompts
        return np.array([[self._value(c.at_steps(STEPS), i) for i in chosen] for c in candidates])

    def _value(self, candidate: Coefficients, prompt: int) -> float:
        if (candidate, prompt) not in self.known:
            rng = np.random.default_rng([self.seed, prompt, zlib.crc32(repr(candidate).encode())])
            whole = self.quality(numbers(candidate)) + self._effects[prompt] + self._noise(rng)
            self.known[candidate, prompt] = whole
        return self.known[candidate, prompt]

    def paired_gains(self) -> dict[Coefficients, np.ndarray]:
        stock = Coefficients.constant().at_steps(STEPS)
        gains: dict[Coefficients, list[float]] = {}
        for (candidate, prompt), value in self.known.items():
            if (stock, prompt) in self.known:
                gains.setdefault(candidate, []).append(value - self.known[stock, prompt])
        return {candidate: np.array(values) for candidate, values in gains.items()}

    def table(self) -> tuple[list[Coefficients], np.ndarray]:
        candidates = list(dict.fromkeys(candidate for candidate, _ in self.known))
        rows = [[self.known.get((c, i), float("nan")) for i in range(self.n_prompts)] for c in candidates]
        return candidates, np.array(rows)

    def largest_mean(self) -> Coefficients:
        """What a calibration would judge: the best mean of the candidates that were measured on all prompts."""
        gains = self.paired_gains()
        return max((c for c, v in gains.items() if len(v) == self.n_prompts), key=lambda c: gains[c].mean())

    def true_gain(self, candidate: Coefficients) -> float:
        return self.quality(numbers(candidate)) - self.quality(np.ones(2 * STEPS))


def numbers(candidate: Coefficients) -> np.ndarray:
    """The model's coefficients of the four steps, then the sample's."""
    whole = candidate.at_steps(STEPS)
    return np.array(whole.model + whole.sample)


def round_hill(best: Coefficients, *, steep: float = 20.0) -> Callable[[np.ndarray], float]:
    """-steep |numbers - best|^2."""
    top = numbers(best)
    return lambda v: -steep * float(((v - top) ** 2).sum())


def narrow_valley(best: Coefficients, *, seed: int) -> Callable[[np.ndarray], float]:
    """A quadratic around best that is 300 times as steep in one oblique direction as in another."""
    top, q = numbers(best), np.linalg.qr(np.random.default_rng(seed).normal(size=(8, 8)))[0]
    bend = q @ np.diag(np.geomspace(1, 300, 8)) @ q.T
    return lambda v: -float((v - top) @ bend @ (v - top))
