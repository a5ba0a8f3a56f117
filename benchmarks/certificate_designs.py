"""The mixed designs of benchmarks/certificate.py: boosted votes of the arms, and what is shared by all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.triplets import BOOSTED, PLAIN
from benchmarks.certificate_studies import REFERENCE, Comparison

#: A comparison of a mixed design: presentation, two of 0 (the reference), a rung's damage or ARM, and its votes.
ARM = "arm"
Planned = tuple[int, float | str, float | str, int]


@dataclass(frozen=True)
class Mixed:
    """A mixed design: what every arm is compared with, and what is compared once for all of them."""

    gain: float
    arms: int
    of_each_arm: tuple[Planned, ...]
    shared: tuple[Planned, ...]
    people: int = 40
    prompts: int = 100

    @property
    def votes(self) -> int:
        """All votes of the study, traps apart."""
        return self.arms * sum(c[3] for c in self.of_each_arm) + sum(c[3] for c in self.shared)

    @property
    def rungs(self) -> tuple[float, ...]:
        """The damages of the ladder."""
        seen = {x for c in (*self.of_each_arm, *self.shared) for x in c[1:3] if isinstance(x, float)}
        return tuple(sorted(seen))

    def scaled(self, factor: float) -> Mixed:
        """The same shares of more or fewer votes."""

        def more(planned: tuple[Planned, ...]) -> tuple[Planned, ...]:
            return tuple((m, a, b, round(n * factor)) for m, a, b, n in planned)

        return replace(self, of_each_arm=more(self.of_each_arm), shared=more(self.shared))

    def comparisons(self) -> list[Comparison]:
        """What is shown, with the names of `names`."""
        made = [
            Comparison(_name(a, arm), _name(b, arm), m, n) for arm in self.arm_names for m, a, b, n in self.of_each_arm
        ]
        return made + [Comparison(_name(a, ""), _name(b, ""), m, n) for m, a, b, n in self.shared]

    @property
    def arm_names(self) -> list[str]:
        """The arms, the first of which is judged."""
        return [f"arm{k}" for k in range(self.arms)]


def _name(what: float | str, arm: str) -> str:
    if what == ARM:
        return arm
    return REFERENCE if what == 0 else f"rung{what:g}"


#: The designs that `qsched price` finds with `--gain 4` and spreads .3 and .5, rungs rounded to few.
ONE_ARM = Mixed(
    4,
    1,
    ((BOOSTED, 0, ARM, 87), (BOOSTED, ARM, 0.75, 50), (BOOSTED, ARM, 1.0, 35)),
    ((PLAIN, 0, 0.75, 106), (PLAIN, 0, 1.0, 60)),
)
EIGHT_ARMS = Mixed(
    4,
    8,
    ((BOOSTED, 0, ARM, 26), (BOOSTED, ARM, 0.35, 43), (BOOSTED, ARM, 0.75, 9)),
    (
        (PLAIN, 0, 0.75, 120),
        (PLAIN, 0, 1.0, 165),
        (PLAIN, 0, 1.25, 45),
        (BOOSTED, 0.35, 1.0, 78),
        (BOOSTED, 0.75, 1.25, 32),
    ),
)
MAP_CHECK = (
    (PLAIN, 0, 0.4, 1134),
    (PLAIN, 0, 0.75, 210),
    (PLAIN, 0, 3.0, 546),
    (BOOSTED, 0, 0.4, 441),
    (BOOSTED, 0.4, 0.75, 63),
    (BOOSTED, 0.75, 1.25, 105),
    (BOOSTED, 1.25, 2.0, 116),
    (BOOSTED, 2.0, 2.5, 94),
    (BOOSTED, 2.5, 3.0, 94),
)
EIGHT_CHECKED = Mixed(4, 8, ((BOOSTED, 0, ARM, 45), (BOOSTED, ARM, 0.4, 30)), MAP_CHECK, people=100, prompts=200)
#: Shares of the votes of ONE_ARM and EIGHT_ARMS at which the power is shown beside them.
FEWER = {"one arm": (ONE_ARM, (0.6, 0.8)), "eight arms": (EIGHT_ARMS, (0.6, 0.8))}
