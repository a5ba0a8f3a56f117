"""What a price of a fidelity clause rests on, and what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from qsched.records.registration import Registration

REGISTERED_PROMPT_SD: float = Registration.model_fields["prompt_sd"].default


@dataclass(frozen=True, kw_only=True)
class PriceAssumptions:
    """What a price rests on: a guessed damage, the observers, the sizes and the seconds.

    `prompt_sd` is how prompts differ, `registered_prompt_sd` what the mean clause assumes of them in plain votes.
    """

    damage: float = 0.25
    gain: float = 2.2
    people: int = 40
    prompts: int = 100
    people_sd: float = 0.3
    prompt_sd: float = 0.5
    registered_prompt_sd: float = REGISTERED_PROMPT_SD
    threshold: float = 0.3
    lapse: float = 0.05
    confidence: float = 0.95
    power: float = 0.8
    plain_seconds: float = 12.0
    boosted_seconds: float = 6.0
    person_seconds: float = 180.0
    traps: int = 10

    @property
    def quantiles(self) -> float:
        """t + z of the module's docstring."""
        t = stats.t.ppf(self.confidence, max(1, min(self.people, self.prompts) - 1))
        return float(t + stats.norm.ppf(self.power))

    @property
    def spread(self) -> float:
        """Spread of people and prompts together, which the pooled model integrates vote by vote."""
        return math.hypot(self.people_sd, self.prompt_sd)

    @property
    def registered_spread(self) -> float:
        """The same as the mean clause assumes it of plain votes."""
        return math.hypot(self.people_sd, self.registered_prompt_sd)

    @property
    def floor(self) -> float:
        """Variance of a mean that people and prompts leave however many votes they give."""
        return self.damage**2 * (self.people_sd**2 / self.people + self.prompt_sd**2 / self.prompts)

    def hours(self, *, plain: float, boosted: float) -> float:
        """Person-hours of so many votes, with traps of each presentation and the time to bring a person in."""
        seconds = self.people * self.person_seconds
        for votes, each in ((plain, self.plain_seconds), (boosted, self.boosted_seconds)):
            seconds += (votes + self.people * self.traps * (votes > 0)) * each
        return seconds / 3600


@dataclass(frozen=True)
class Votes:
    """So many votes on one comparison of a design: presentation, and the two pictures in words."""

    presentation: str
    first: str
    second: str
    votes: float


@dataclass(frozen=True)
class Price:
    """Votes of a design; None where no number of votes is enough, with the reason. `where` is the best allocation of a
    mixed design, without comparisons of a few votes."""

    design: str
    plain: float | None
    boosted: float | None
    reason: str = ""
    where: tuple[Votes, ...] = ()

    @property
    def votes(self) -> int | None:
        """All votes, rounded up."""
        return None if self.plain is None or self.boosted is None else math.ceil(self.plain + self.boosted - 1e-9)


def not_below(design: str, a: PriceAssumptions, limit: float) -> Price:
    """No price: the guess is not under the limit."""
    return Price(design, None, None, f"the guessed damage {a.damage:g} is not below the limit {limit:g}")


def too_few(design: str, a: PriceAssumptions) -> Price:
    """No price: people and prompts are too few."""
    words = f"{a.people} people and {a.prompts} prompts are too few, however many votes they give"
    return Price(design, None, None, words)
