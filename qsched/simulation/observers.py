"""How a simulated observer answers a triplet: which of two pictures differs more from the reference?

Damage is in JND: one JND is named as the worse picture by 75 % of attentive people who are never unsure. A vote of
person a on prompt p between pictures i and j, shown plain (m = 0) or boosted (m = 1), has the latent difference

    y = Q s_a [f_m(d_jp) - f_m(d_ip)] + b_a + e,    e ~ N(0, 1),    Q = Phi^-1(.75) = 0.6745,
    f_0(d) = d,    f_1(d) = g_p d^q    (gain g_p by prompt, exponent q)

"right differs more" where y > t_m, "left differs more" where y < -t_m, else "not sure". With probability lapse_a the
answer is drawn without looking; a careless person always answers so. The votes test the platform, never a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from qsched.errors import InputError

Q = 0.6744897501960817
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ObserverPopulation:
    """Distribution of observers and of what boosting does; written into the report of a simulated study.

    `sensitivity_log_sd` spreads the sensitivity s_a (log-normal with mean 1), `lapse_mean` is the mean of a beta
    distribution, `careless` the share of people who never look. `gain_log_sd` spreads the gain over prompts (mean
    `gain`). Thresholds and `side_sd` are in units of the latent noise.
    """

    sensitivity_log_sd: float = 0.3
    lapse_mean: float = 0.05
    lapse_concentration: float = 20.0
    careless: float = 0.0
    side_sd: float = 0.1
    plain_threshold: float = 0.3
    boosted_threshold: float = 0.3
    gain: float = 2.2
    gain_log_sd: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lapse_mean", "careless"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it is a probability from 0 to below 1")
        for name in ("lapse_concentration", "gain", "exponent"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")
        for name in ("sensitivity_log_sd", "side_sd", "plain_threshold", "boosted_threshold", "gain_log_sd"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must not be negative")

    def as_dict(self) -> dict[str, float]:
        """Plain floats for simulation.json."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Observers:
    """n people, one entry a person in every array."""

    sensitivity: Floats
    lapse: Floats
    side: Floats
    careless: NDArray[np.bool_]


def draw_observers(n: int, *, population: ObserverPopulation, rng: np.random.Generator) -> Observers:
    """Draw n people."""
    if n < 1:
        raise InputError(f"{n} observers were asked for; a study has at least one")
    sd, mean = population.sensitivity_log_sd, population.lapse_mean
    if mean > 0:
        lapse = rng.beta(mean * population.lapse_concentration, (1 - mean) * population.lapse_concentration, n)
    else:
        lapse = np.zeros(n)
    return Observers(
        sensitivity=np.exp(sd * rng.standard_normal(n) - sd**2 / 2),
        lapse=lapse,
        side=population.side_sd * rng.standard_normal(n),
        careless=rng.random(n) < population.careless,
    )


def draw_gains(prompts: int, *, population: ObserverPopulation, rng: np.random.Generator) -> Floats:
    """The gain of boosting on each prompt, (P,)."""
    sd = population.gain_log_sd
    return population.gain * np.exp(sd * rng.standard_normal(prompts) - sd**2 / 2)


def answer_triplets(
    observers: Observers,
    *,
    person: Ints,
    left: Floats,
    right: Floats,
    boosted: NDArray[np.bool_],
    gain: Floats,
    population: ObserverPopulation,
    rng: np.random.Generator,
) -> Ints:
    """Answers (V,): 0 left differs more, 1 not sure, 2 right differs more.

    `left` and `right` are the damages of the two pictures in plain JND, `gain` that of the prompt; all of length V.
    """
    q = population.exponent

    def seen(damage: Floats) -> Floats:
        return np.where(boosted, gain * np.sign(damage) * np.abs(damage) ** q, damage)

    eta = Q * observers.sensitivity[person] * (seen(right) - seen(left)) + observers.side[person]
    latent = eta + rng.standard_normal(len(person))
    threshold = np.where(boosted, population.boosted_threshold, population.plain_threshold)
    answer = np.where(latent > threshold, 2, np.where(latent < -threshold, 0, 1))
    blind = (rng.random(len(person)) < observers.lapse[person]) | observers.careless[person]
    return np.where(blind, rng.integers(0, 3, len(person)), answer).astype(np.int64)


WORLDS: Sequence[str] = ("lognormal", "gamma", "broken", "half-normal", "uniform", "two groups")


def draw_damage(world: str, mean: float, prompts: int, *, rng: np.random.Generator, spread: float = 0.5) -> Floats:
    """Damage of one arm on each prompt, (P,), with expectation `mean`.

    Worlds: `lognormal` (sd of the log `spread`); `gamma` with the same coefficient of variation; `broken` (7 % of
    prompts at 1.25 JND, the others equal, so that the mean is right); `half-normal`; `uniform` from 0; `two groups`
    (a third of the prompts has seven times the damage of the others).
    """
    if world not in WORLDS:
        raise InputError(f"{world!r} is not a known world; choose one of {', '.join(WORLDS)}")
    if world == "lognormal":
        return mean * np.exp(spread * rng.standard_normal(prompts) - spread**2 / 2)
    if world == "gamma":
        shape = 1 / (np.exp(spread**2) - 1)
        return rng.gamma(shape, mean / shape, prompts)
    if world == "broken":
        share, broken = 0.07, 1.25
        rest = (mean - share * broken) / (1 - share)
        if rest < 0:
            raise InputError(f"a mean of {mean} JND is less than 7 % of the prompts at 1.25 JND give alone")
        return np.asarray(np.where(rng.random(prompts) < share, broken, rest))
    if world == "half-normal":
        return np.asarray(mean * np.sqrt(np.pi / 2) * np.abs(rng.standard_normal(prompts)))
    if world == "uniform":
        return 2 * mean * rng.random(prompts)
    return np.asarray(np.where(rng.random(prompts) < 1 / 3, 7, 1) * mean / 3)
