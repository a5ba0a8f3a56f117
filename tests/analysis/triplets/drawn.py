"""Triplet studies with a known truth, in our columns and in the AIC-3 layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qsched.simulation.observers import ObserverPopulation, answer_triplets, draw_gains, draw_observers

ANSWERS = ("left", "not sure", "right")


def draw_rows(
    *,
    damages: dict[str, float],
    plain: int,
    boosted: int = 0,
    people: int = 30,
    prompts: int = 40,
    traps: int = 12,
    bias: int = 2,
    spread: float = 0.4,
    seed: int = 0,
    population: ObserverPopulation | None = None,
) -> list[dict[str, Any]]:
    """Votes on the reference "fp16" against each arm of `damages` (mean JND), traps against "broken" (8 JND)."""
    rng = np.random.default_rng(seed)
    population = population or ObserverPopulation()
    observers = draw_observers(people, population=population, rng=rng)
    gains = draw_gains(prompts, population=population, rng=rng)
    arms = list(damages)
    truth = {arm: mean * np.exp(spread * rng.standard_normal(prompts) - spread**2 / 2) for arm, mean in damages.items()}
    truth |= {"fp16": np.zeros(prompts), "broken": np.full(prompts, 8.0)}
    planned: list[tuple[int, int, str, str, str, bool]] = []
    for shown, number in (("plain", plain), ("boosted", boosted)):
        for vote in range(number * len(arms)):
            planned.append((vote % people, int(rng.integers(prompts)), "fp16", arms[vote % len(arms)], "task", shown))
        if number:
            for person in range(people):
                for _ in range(traps):
                    planned.append((person, int(rng.integers(prompts)), "fp16", "broken", "trap", shown))
                for _ in range(bias):
                    planned.append((person, int(rng.integers(prompts)), arms[0], arms[0], "bias", shown))
    swapped = rng.random(len(planned)) < 0.5
    sides = [(b, a) if swap else (a, b) for (_, _, a, b, _, _), swap in zip(planned, swapped, strict=True)]
    prompt = np.array([row[1] for row in planned])
    answers = answer_triplets(
        observers,
        person=np.array([row[0] for row in planned]),
        left=np.array([truth[left][p] for (left, _), p in zip(sides, prompt, strict=True)]),
        right=np.array([truth[right][p] for (_, right), p in zip(sides, prompt, strict=True)]),
        boosted=np.array([row[5] == "boosted" for row in planned]),
        gain=gains[prompt],
        population=population,
        rng=rng,
    )
    rows = []
    for number, ((person, p, _, _, kind, shown), (left, right), answer) in enumerate(
        zip(planned, sides, answers, strict=True)
    ):
        boosting = {
            name: None for name in ("factor", "zoom", "rate_hz", "crop_x", "crop_y", "crop_width", "crop_height")
        }
        if shown == "boosted":
            boosting = {
                "factor": 4.0,
                "zoom": 2,
                "rate_hz": 3.0,
                "crop_x": 0,
                "crop_y": 0,
                "crop_width": 64,
                "crop_height": 64,
            }
        start = f"2026-03-{1 + number % 27:02d}T12:{number // 60 % 60:02d}:{number % 60:02d}Z"
        rows.append(
            {
                "study": "demo",
                "triplet_id": f"t{number}",
                "prompt_id": f"p{p:03d}",
                "reference_arm": "fp16",
                "left_arm": left,
                "right_arm": right,
                "presentation": shown,
                "answer": ANSWERS[int(answer)],
                "annotator": f"a{person:03d}",
                "session": f"s{person}",
                "served_at": start,
                "answered_at": start,
                "response_ms": 900,
                "kind": kind,
                **boosting,
                "simulated": True,
            }
        )
    return rows


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write rows by the ending of the path."""
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    writer = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}
    writer[path.suffix](path)
    return path


def aic_rows(
    *,
    damages: Sequence[float],
    sources: Sequence[int] = (2, 6),
    codecs: int = 2,
    each: int = 40,
    workers: int = 30,
    method: str = "BTC",
    seed: int = 0,
    population: ObserverPopulation | None = None,
) -> list[dict[str, Any]]:
    """Votes in the columns of the public AIC-3 files: each codec's ladder has plain damages `damages` at levels 1..L.

    Codec c has (1 + 0.2 (c - 1)) times the damages. Ladder neighbours, reference against each level, cross-codec pairs,
    traps (the source against 9 JND at level 99) and bias items.
    """
    rng = np.random.default_rng(seed)
    population = population or ObserverPopulation(sensitivity_log_sd=0.2)
    observers = draw_observers(workers, population=population, rng=rng)

    def damage(codec: int, level: int) -> float:
        return 9.0 if level == 99 else 0.0 if level == 0 else damages[level - 1] * (1 + 0.2 * (codec - 1))

    levels = len(damages)
    pairs = [
        ((c, a), (c, b)) for c in range(1, codecs + 1) for a in range(levels + 1) for b in range(a + 1, levels + 1)
    ]
    pairs += [((1, a), (2, b)) for a in range(1, levels + 1) for b in range(1, levels + 1) if codecs > 1]
    trials = [(img, *pair, 0, 0) for img in sources for pair in pairs for _ in range(each)]
    trials += [(img, (1, 0), (1, 99), 1, 0) for img in sources for _ in range(workers * 12)]
    trials += [(img, (1, 1), (1, 1), 0, 1) for img in sources for _ in range(workers)]
    rows = []
    person = np.array([k % workers for k in range(len(trials))])
    swap = rng.random(len(trials)) < 0.5
    sides = [(b, a) if s else (a, b) for (_, a, b, _, _), s in zip(trials, swap, strict=True)]
    answers = answer_triplets(
        observers,
        person=person,
        left=np.array([damage(*left) for left, _ in sides]),
        right=np.array([damage(*right) for _, right in sides]),
        boosted=np.full(len(trials), method == "BTC"),
        gain=np.full(len(trials), population.gain),
        population=population,
        rng=rng,
    )
    for number, ((img, _, _, trap, bias), (left, right), answer) in enumerate(zip(trials, sides, answers, strict=True)):
        rows.append(
            {
                "assignment": f"A{person[number]}",
                "worker": int(person[number]) + 1,
                "method": method,
                "task": 1,
                "question_id": number,
                "img_num": img,
                "codec_left": left[0] if left[1] else 0,
                "codec_pivot": 0,
                "codec_right": right[0] if right[1] else 0,
                "dlevel_left": left[1],
                "dlevel_pivot": 0,
                "dlevel_right": right[1],
                "is_same": 1,
                "is_cross": 0,
                "is_bias": bias,
                "is_trap": trap,
                "question_order": number,
                "response": ANSWERS[int(answer)],
                "submission_time": "2024-01-05T10:00:00Z",
                "response_time": 3.25,
                "reload_count": 0,
                "resolution": "1920x1080",
            }
        )
    return rows
