"""`python -m qsched.tiny.evaluate FOLDER`: held-out pass rates of a model folder, category by category.

The pictures come from the ordinary diffusers pipeline, one generator per prompt, seeded by the prompt's
place in the file, so a rate can be repeated; the verdicts come from `qsched.tiny.check`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from qsched.tiny.caption import parse
from qsched.tiny.check import check
from qsched.tiny.paths import MODELS, PROMPT_SETS, load_prompts, model_path, prompts_path
from qsched.tiny.scene import category

PROMPT_TOKENS = 24


@dataclass(frozen=True)
class PassRates:
    """Pass rate and mean score overall, pass rate by category, and the share of each failed verdict."""

    count: int
    rate: float
    score: float
    by_category: dict[str, tuple[float, int]]
    failures: dict[str, float]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {100 * rate:.0f} % of {n}" for name, (rate, n) in self.by_category.items())
        wrong = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.failures.items())
        return f"pass {100 * self.rate:.1f} % score {self.score:.3f} ({parts}) wrong: {wrong or 'nothing'}"

    def as_record(self) -> dict[str, Any]:
        """Plain numbers for `training.json`."""
        return {
            "prompts": self.count,
            "pass_rate": round(self.rate, 4),
            "mean_score": round(self.score, 4),
            "by_category": {k: {"pass_rate": round(r, 4), "prompts": n} for k, (r, n) in self.by_category.items()},
            "failed_verdicts": {k: round(v, 4) for k, v in self.failures.items()},
        }


def call_options(pipeline: Any) -> dict[str, Any]:
    """How the tiny pipelines are meant to be called: 4 steps, no guidance, 128x128."""
    options: dict[str, Any] = {"num_inference_steps": 4, "guidance_scale": 0.0, "height": 128, "width": 128}
    if type(pipeline).__name__ == "FluxPipeline":
        options["max_sequence_length"] = PROMPT_TOKENS
    return options


def render_prompts(
    pipeline: Any, prompts: dict[str, str], *, options: dict[str, Any], seed: int = 0, batch: int = 20
) -> list[Image.Image]:
    """One picture per prompt, in order."""
    texts, pictures = list(prompts.values()), []
    for start in range(0, len(texts), batch):
        some = texts[start : start + batch]
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(some))]
        pictures += pipeline(some, generator=generators, **options).images
    return pictures


def rate_pictures(pictures: list[Image.Image], prompts: dict[str, str]) -> PassRates:
    """Check every picture against its prompt."""
    by_category: dict[str, list[bool]] = defaultdict(list)
    failures: dict[str, int] = defaultdict(int)
    scores = []
    for picture, prompt in zip(pictures, prompts.values(), strict=True):
        result = check(picture, prompt)
        by_category[category(parse(prompt))].append(result.passed)
        scores.append(result.score)
        for name in {k.split("_")[-1] for k, v in result.parts.items() if v is False}:
            failures[name] += 1
    count = len(scores)
    return PassRates(
        count=count,
        rate=sum(map(sum, by_category.values())) / count,
        score=sum(scores) / count,
        by_category={k: (sum(v) / len(v), len(v)) for k, v in sorted(by_category.items())},
        failures={k: v / count for k, v in sorted(failures.items(), key=lambda item: -item[1])},
    )


def measure_pass_rates(
    pipeline: Any, prompts: dict[str, str], *, options: dict[str, Any] | None = None, seed: int = 0
) -> PassRates:
    """Render and check; `options` are those of the pipeline's call."""
    options = options or call_options(pipeline)
    return rate_pictures(render_prompts(pipeline, prompts, options=options, seed=seed), prompts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m qsched.tiny.evaluate", description=__doc__)
    parser.add_argument("model", help=f"a diffusers folder, or one of {', '.join(MODELS[:2])}")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--prompts", default="eval", help=f"one of {', '.join(PROMPT_SETS)}, or a .yaml file")
    parser.add_argument("--count", type=int, default=0, help="only the first so many prompts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="write the pictures to this PNG, ten in a row")
    parser.add_argument("--json", action="store_true", help="print one JSON record")
    arguments = parser.parse_args()
    from diffusers import DiffusionPipeline

    folder = model_path(arguments.model) if arguments.model in MODELS else Path(arguments.model)
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    source = prompts_path(arguments.prompts) if arguments.prompts in PROMPT_SETS else Path(arguments.prompts)
    prompts = load_prompts(source)
    if arguments.count:
        prompts = dict(list(prompts.items())[: arguments.count])
    options = {**call_options(pipeline), "num_inference_steps": arguments.steps}
    pictures = render_prompts(pipeline, prompts, options=options, seed=arguments.seed)
    rates = rate_pictures(pictures, prompts)
    text = json.dumps(rates.as_record(), indent=2) if arguments.json else str(rates)
    sys.stdout.write(text + "\n")
    if arguments.sheet:
        rows = -(-len(pictures) // 10)
        sheet = Image.new("RGB", (1280, 128 * rows), "white")
        for i, picture in enumerate(pictures):
            sheet.paste(picture, (128 * (i % 10), 128 * (i // 10)))
        sheet.save(arguments.sheet)


if __name__ == "__main__":
    main()
