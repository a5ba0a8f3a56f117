"""The race and the grid again on random halves of the prompts, from the grid's stored values.

One split of prompts says little about two winners on the same ridge. Here both choose on one half of the calibration
prompts and are judged on the other, many times; a candidate of the race between grid points takes the bilinear
interpolation of its neighbours, prompt by prompt. Nothing is rendered: this replays a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from qsched.calibration.families import CoefficientFamily, Point, even_grid
from qsched.calibration.search import leader, search_race
from qsched.scoring.paired import paired_difference


class StoredObjective:
    """Gains over (1, 1) by interpolation, for the prompts that a search may see."""

    def __init__(self, table: RegularGridInterpolator, prompts: Sequence[int]) -> None:
        self._table, self._prompts = table, list(prompts)
        self._known: dict[Point, dict[int, float]] = {}

    @property
    def n_prompts(self) -> int:
        return len(self._prompts)

    def values(self, points: Sequence[Point], prompts: Sequence[int] | None = None) -> np.ndarray:
        """Gains [candidates, prompts]; `prompts` are indices into the half."""
        chosen = range(self.n_prompts) if prompts is None else prompts
        rows = []
        for point in points:
            all_N = self._table([point])[0]
            seen = self._known.setdefault(point, {})
            seen.update({i: float(all_N[self._prompts[i]]) for i in chosen})
            rows.append([seen[i] for i in chosen])
        return np.array(rows)

    def table(self) -> tuple[list[Point], np.ndarray]:
        """What was asked for, and NaN for the rest."""
        missing = float("nan")
        values = [[seen.get(i, missing) for i in range(self.n_prompts)] for seen in self._known.values()]
        return list(self._known), np.array(values)

    def paired_gains(self) -> dict[Point, np.ndarray]:
        """What was asked for, by candidate."""
        return {point: np.array(list(values.values())) for point, values in self._known.items()}


def replay(gains: dict[Point, np.ndarray], family: CoefficientFamily, size: int, *, splits: int = 50) -> dict[str, Any]:
    """Held-out gain of both winners over random halves, and the paired difference race - grid.

    The splits share prompts, so the interval over them is narrower than one over new prompts would be.
    """
    points = even_grid(family, size)
    sides = [point[0] for point in points[::size]], [point[1] for point in points[:size]]
    values_GGN = np.array([gains[point] for point in points]).reshape(size, size, -1)
    table = RegularGridInterpolator(sides, values_GGN)
    rng, n = np.random.default_rng(0), values_GGN.shape[2]
    race: list[float] = []
    grid: list[float] = []
    for split in range(splits):
        order = rng.permutation(n)
        seen, held = order[: (n + 1) // 2], order[(n + 1) // 2 :]
        objective = StoredObjective(table, seen.tolist())
        search_race(objective, family, seed=split, size=9)
        ours = leader(objective, among=None)
        best = points[int(values_GGN[..., seen].mean(axis=-1).argmax())]
        for point, found in ((ours, race), (best, grid)):
            found.append(float(table([point])[0][held].mean()))
    return {
        "splits": splits,
        "what": "chosen on one half of the grid's prompts, judged on the other; the race's values interpolated",
        "race_gain": float(np.mean(race)),
        "grid_gain": float(np.mean(grid)),
        "share_of_gain": float(np.mean(race) / np.mean(grid)),
        "race_minus_grid": paired_difference(race, grid).to_json(),
    }
