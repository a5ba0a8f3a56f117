"""The stock scheduler against found coefficients on a set of prompts: per-image values and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from qsched.calibration.trajectory import BatchRow, TrajectoryRenderer
from qsched.generation import Prompt
from qsched.scheduling import Coefficients
from qsched.scoring import Jaq, Scorer
from qsched.scoring.paired import PairedDifference, paired_difference


@dataclass(frozen=True)
class PromptScores:
    """Values of one arm by metric name (`jaq`, `tc`, `iq` and the additional scorers), one per prompt."""

    values: dict[str, tuple[float, ...]]

    def mean(self, metric: str = "jaq") -> float:
        """Mean over the prompts."""
        return sum(self.values[metric]) / len(self.values[metric])


@dataclass(frozen=True)
class StockComparison:
    """One model on one set of prompts, with the stock scheduler and with the found coefficients."""

    stock: PromptScores
    tuned: PromptScores

    def gain(self, metric: str = "jaq") -> PairedDifference:
        """Tuned minus stock over the prompts, paired."""
        return paired_difference(self.tuned.values[metric], self.stock.values[metric])

    def differences(self, metric: str = "jaq") -> np.ndarray:
        """Tuned minus stock, prompt by prompt."""
        found: np.ndarray = np.array(self.tuned.values[metric]) - np.array(self.stock.values[metric])
        return found

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


def score_arms(
    renderer: TrajectoryRenderer,
    objective: Jaq,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    arms: Mapping[str, Coefficients],
    *,
    also: Sequence[Scorer] = (),
) -> dict[str, PromptScores]:
    """Render and score every prompt with the coefficients of each arm; the same noise in all."""
    texts, names = [p.prompt for p in prompts], [p.prompt_id for p in prompts]
    found = {}
    for arm, coefficients in arms.items():
        images = pictures(renderer, prompts, seeds, coefficients)
        scores = objective.score(images, texts, names=names)
        further = {scorer.info.name: tuple(scorer.score(images, texts, names=names)) for scorer in also}
        found[arm] = PromptScores({"jaq": scores.jaq, "tc": scores.tc, "iq": scores.iq, **further})
    return found


def pictures(
    renderer: TrajectoryRenderer, prompts: Sequence[Prompt], seeds: Sequence[int], coefficients: Coefficients
) -> list[Image.Image]:
    """One picture of each prompt."""
    return renderer.render([BatchRow(p, seed, coefficients) for p, seed in zip(prompts, seeds, strict=True)])
