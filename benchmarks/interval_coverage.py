"""How often the interval of a mean gain holds the true mean, and how often it claims a gain that is not there.

    python benchmarks/interval_coverage.py

Student's t, Hall's skewness-corrected t, and the interval that `qsched calibrate` and `qsched score` report (the wider
end of each), on simulated prompts with a true mean of 0, and on our own gains: samples without replacement of the
held-out prompts in `benchmarks/results/closed_form.json`, centred. Such samples vary less than new prompts would, which
is corrected for by the finite population's factor. Writes benchmarks/results/interval_coverage.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsched.scoring.paired import hall_bounds, skewness, student_bounds

RESULTS = Path(__file__).parent / "results"
REPEATS = 4000
METHODS = ("Student's t", "Hall's t", "reported")
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _broken(share: float) -> Draw:
    """A few prompts break and all others gain 0.01; the mean is 0."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        lost = -0.01 * (1 - share) / share
        return np.asarray(np.where(rng.random(n) < share, lost, 0.01) + 0.01 * rng.normal(size=n))

    return draw


WORLDS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "20 % of prompts break": _broken(0.2),
    "10 % of prompts break": _broken(0.1),
    "5 % of prompts break": _broken(0.05),
    "minus exponential": lambda rng, n: 1 - rng.exponential(size=n),
    "heavy tails (t with 3 degrees of freedom)": lambda rng, n: rng.standard_t(3, size=n),
    "unequal spreads": lambda rng, n: rng.normal(size=n) * np.exp(0.8 * rng.normal(size=n)),
}


def bounds(sample: np.ndarray) -> list[tuple[float, float]]:
    """The interval of each method."""
    n, mean = sample.size, float(sample.mean())
    error = float(sample.std(ddof=1)) / np.sqrt(n)
    plain, skewed = student_bounds(n, 0.95), hall_bounds(skewness(sample), n, 0.95)
    widest = min(plain[0], skewed[0]), max(plain[1], skewed[1])
    return [(mean - high * error, mean - low * error) for low, high in (plain, skewed, widest)]


def row(name: str, samples: Iterator[np.ndarray]) -> str:
    """Coverage and false gains of the methods as a row of the table."""
    ends = np.array([bounds(sample) for sample in samples])
    covered = ((ends[..., 0] <= 0) & (ends[..., 1] >= 0)).mean(axis=0)
    gains = (ends[..., 0] > 0).mean(axis=0)
    cells = " | ".join(f"{100 * c:.1f} % / {100 * g:.1f} %" for c, g in zip(covered, gains, strict=True))
    return f"| {name} | {cells} |"


def measured(n: int) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
    """Centred held-out gains of each measured arm and method, subsampled."""
    for arm in json.loads((RESULTS / "closed_form.json").read_text(encoding="utf-8"))["arms"]:
        for method, found in arm["methods"].items():
            if found["heldout"] is not None:
                jaq = found["heldout"]["jaq"]
                gains = np.array(jaq["tuned"]) - np.array(jaq["stock"])
                name = f"our gains, {arm['name']} {method}"
                yield f"{name} (skewness {skewness(gains):+.1f})", _subsamples(gains[None], n)


def _subsamples(gains: np.ndarray, n: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    whole = gains.shape[1]
    centred = gains - gains.mean(axis=1, keepdims=True)
    widen = 1 / np.sqrt(1 - n / whole)
    for _ in range(REPEATS):
        sample = centred[rng.integers(len(gains))][rng.permutation(whole)[:n]]
        # The mean of a sample without replacement varies less than that of new prompts.
        yield sample - sample.mean() + sample.mean() * widen


def main() -> None:
    """Print and store the table."""
    lines = [
        "Share of intervals that hold the true mean / that claim a gain although the mean is 0 (nominal: 95 % / ",
        f"2.5 %); {REPEATS:,} samples each, by `python benchmarks/interval_coverage.py`.",
        "",
    ]
    for n in (25, 100):
        lines += [f"**{n} prompts**", "", "| world | " + " | ".join(METHODS) + " |", "|---|---|---|---|"]
        for name, draw in WORLDS.items():
            rng = np.random.default_rng(1)
            lines.append(row(name, (draw(rng, n) for _ in range(REPEATS))))
        if n == 25:
            lines += [row(name, samples) for name, samples in measured(n)]
        lines.append("")
    text = "\n".join(lines)
    (RESULTS / "interval_coverage.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
