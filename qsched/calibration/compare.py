"""Stock against found coefficients on a set of prompts: per-image values and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsched.calibration.trajectory import Row, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, Scorer
from qsched.scoring.paired import PairedDifference, paired_difference


@dataclass(frozen=True)
class Scores:
    """Values of one arm by metric name (`jaq`, `tc`, `iq` and the additional scorers), one per prompt."""

    values: dict[str, tuple[float, ...]]

    def mean(self, metric: str = "jaq") -> float:
        """Mean over the prompts."""
        return sum(self.values[metric]) / len(self.values[metric])


@dataclass(frozen=True)
class Comparison:
    """One model on one set of prompts, with the stock scheduler and with the found coefficients."""

    stock: Scores
    tuned: Scores

    def gain(self, metric: str = "jaq") -> PairedDifference:
        """Tuned minus stock over the prompts, paired."""
        return paired_difference(self.tuned.values[metric], self.stock.values[metric])

    def to_json(self) -> dict[str, object]:
        """Means, paired gains and the per-image values."""
        return {
            metric: {
                "stock_mean": self.stock.mean(metric),
                "tuned_mean": self.tuned.mean(metric),
                "gain": self.gain(metric).to_json(),
                "stock": self.stock.values[metric],
                "tuned": self.tuned.values[metric],
            }
            for metric in self.stock.values
        }


def compare_on(
    renderer: TrajectoryRenderer,
    objective: Jaq,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    tuned: Coefficients,
    *,
    also: Sequence[Scorer] = (),
) -> Comparison:
    """Render and score every prompt with (1, 1) and with `tuned`; same noise in both."""
    scored = [
        _scores(renderer, objective, prompts, seeds, coefficients, also)
        for coefficients in (Coefficients.constant(), tuned)
    ]
    return Comparison(*scored)


def _scores(
    renderer: TrajectoryRenderer,
    objective: Jaq,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    coefficients: Coefficients,
    also: Sequence[Scorer],
) -> Scores:
    rows = [Row(prompt, seed, coefficients) for prompt, seed in zip(prompts, seeds, strict=True)]
    images = renderer.render(rows)
    texts, names = [p.prompt for p in prompts], [p.prompt_id for p in prompts]
    found = objective.score(images, texts, names=names)
    further = {scorer.info.name: tuple(scorer.score(images, texts, names=names)) for scorer in also}
    return Scores({"jaq": found.jaq, "tc": found.tc, "iq": found.iq, **further})
