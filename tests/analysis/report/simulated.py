"""Votes from a small crossed simulation: annotators and prompts differ in taste, sides are drawn, some people hurry."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from qsched.records import ArmRecord, ImageRow, Manifest, image_id_for, iter_rows

STRENGTHS = {"fp32": 0.45, "w4a8": -0.15, "w4a8+qsched": 0.1, "w4a4": -0.4}
CATEGORIES = ("animals", "food", "city")
#: What a simulated arm takes in memory: its weights are floats.
FLOAT_BYTES = 23_000_000
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def simulated_votes(
    strengths: dict[str, float] | None = None,
    *,
    n_annotators: int = 24,
    n_prompts: int = 20,
    votes_each: int = 40,
    side: float = 0.1,
    tie_share: float = 0.15,
    taste: float = 0.3,
    simulated: bool = False,
    seed: int = 1,
) -> pl.DataFrame:
    """One frame with the columns of the votes table. `strengths` are log-odds by arm; `taste` is their spread."""
    strengths = STRENGTHS if strengths is None else strengths
    rng = np.random.default_rng(seed)
    arms = list(strengths)
    k, n = len(arms), n_annotators * votes_each
    annotator = np.repeat(np.arange(n_annotators), votes_each)
    place = np.tile(np.arange(votes_each), n_annotators)
    prompt = rng.integers(n_prompts, size=n)
    first = rng.integers(k, size=n)
    second = (first + rng.integers(1, k, size=n)) % k
    theta = np.array([strengths[arm] for arm in arms])
    by_annotator = rng.normal(0, taste, (n_annotators, k))
    by_prompt = rng.normal(0, taste, (n_prompts, k))

    def worth(arm: np.ndarray) -> np.ndarray:
        return theta[arm] + by_annotator[annotator, arm] + by_prompt[prompt, arm]

    left_wins = rng.random(n) < 1 / (1 + np.exp(-(worth(first) - worth(second) + side)))
    choice = np.where(left_wins, "left", "right")
    choice[rng.random(n) < tie_share] = "tie"
    response = rng.lognormal(np.log(3200 * (1 - 0.2 * place / votes_each)), 0.45).astype(int) + 300
    served = [START + timedelta(hours=int(a), seconds=12 * int(p)) for a, p in zip(annotator, place, strict=True)]
    return pl.DataFrame(
        {
            "study": ["demo"] * n,
            "question": ["Which picture is better?"] * n,
            "pair_id": [
                f"p{p}:{min(a, b)}-{max(a, b)}"
                for p, a, b in zip(prompt.tolist(), first.tolist(), second.tolist(), strict=True)
            ],
            "prompt_id": [f"prompt-{i:03d}" for i in prompt],
            "category": [CATEGORIES[i % len(CATEGORIES)] for i in prompt],
            "left_arm": [arms[i] for i in first],
            "right_arm": [arms[i] for i in second],
            "choice": choice.tolist(),
            "annotator": [f"anno-{i:03d}" for i in annotator],
            "session": [f"s-{i:03d}" for i in annotator],
            "served_at": served,
            "answered_at": [at + timedelta(milliseconds=int(ms)) for at, ms in zip(served, response, strict=True)],
            "response_ms": response.tolist(),
            "kind": ["task"] * n,
            "expected": pl.Series([None] * n, dtype=pl.String),
            "simulated": [simulated] * n,
            "sample_index": [0] * n,
        }
    )


def write_image_set(folder: Path, votes: pl.DataFrame, *, sizes: dict[str, int], pixels: int = 64) -> Path:
    """A complete image set for the prompts and arms of `votes`: one plain coloured picture an image."""
    rng = np.random.default_rng(7)
    (folder / "images").mkdir(parents=True)
    arms = sorted({*votes["left_arm"].to_list(), *votes["right_arm"].to_list()})
    rows = []
    for prompt_id in sorted(set(votes["prompt_id"].to_list())):
        for arm in arms:
            buffer = io.BytesIO()
            colour = tuple(int(v) for v in rng.integers(40, 216, 3))
            Image.new("RGB", (pixels, pixels), colour).save(buffer, "PNG")
            sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
            row = ImageRow(
                image_id=image_id_for(sha256=sha256, arm=arm, prompt_id=prompt_id, sample_index=0),
                prompt_id=prompt_id,
                prompt=f"a plain square called {prompt_id}",
                arm=arm,
                sample_index=0,
                seed=1,
                width=pixels,
                height=pixels,
                sha256=sha256,
                seconds=0.1,
                batch=(f"{prompt_id}/0",),
                simulated=arm != "fp32",
                recipe_hash="0" * 64,
                versions={},
            )
            (folder / row.file_name).write_bytes(buffer.getvalue())
            rows.append(row.model_dump_json())
    (folder / "images.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    manifest = Manifest(
        set_id="test-set",
        created_at=START,
        backbone="tiny-flux",
        arms=tuple(
            ArmRecord(
                name=arm,
                precision=arm.split("+")[0],
                recipe={},
                recipe_hash="0" * 64,
                simulated=arm != "fp32",
                denoiser_bytes=sizes.get(arm) if arm == "fp32" else FLOAT_BYTES,
                packed_bytes=sizes.get(arm),
            )
            for arm in arms
        ),
        prompts_sha256="0" * 64,
        n_prompts=len(rows) // len(arms),
        samples=1,
        set_seed=1,
        steps=4,
        width=pixels,
        height=pixels,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder


def scored_set(folder: Path, votes: pl.DataFrame) -> Path:
    """Three metrics: one that knows the strengths, one that is its mirror (lower is better), one that knows nothing."""
    write_image_set(folder, votes, sizes={})
    rng = np.random.default_rng(0)
    lines = []
    for row in iter_rows(folder):
        place = {"prompt_id": row.prompt_id, "arm": row.arm, "sample_index": row.sample_index}
        values = {"knows": STRENGTHS[row.arm], "lower": -STRENGTHS[row.arm], "noise": float(rng.normal())}
        if row.arm != "fp32":
            values["twin"] = STRENGTHS[row.arm]
        lines.append(json.dumps({"image_id": row.image_id, **place, **values}))
    (folder / "metrics_images.jsonl").write_text("\n".join(lines) + "\n")
    scorers = [{"name": name, "higher_is_better": name != "lower"} for name in ("knows", "lower", "noise", "twin")]
    (folder / "metrics.json").write_text(json.dumps({"set_id": "test-set", "scorers": scorers}))
    return folder
