"""`python -m qsched.tiny.prompt_sets`: write the shipped prompt files, all held out and disjoint.

The demo takes the same number of prompts from every category; evaluation and calibration have the
domain's own shares. Ids carry the category, e.g. `relation-017`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from qsched.tiny.caption import caption
from qsched.tiny.paths import prompts_path
from qsched.tiny.scene import CATEGORIES, Scene, category, sample_scene

COUNTS = {"demo": 24, "eval": 200, "calibration": 100}
SEED = 2509_01624


def draw_prompt_sets() -> dict[str, dict[str, str]]:
    """{set: {id: prompt}}; the same every time."""
    rng = np.random.default_rng(SEED)
    used: set[str] = set()

    def draw(wanted: str | None) -> Scene:
        while True:
            scene = sample_scene(rng, split="held_out")
            if caption(scene) not in used and wanted in (None, category(scene)):
                used.add(caption(scene))
                return scene

    sets: dict[str, dict[str, str]] = {}
    for name, count in COUNTS.items():
        seen: Counter[str] = Counter()
        sets[name] = {}
        for i in range(count):
            scene = draw(CATEGORIES[i % len(CATEGORIES)] if name == "demo" else None)
            seen[category(scene)] += 1
            sets[name][f"{category(scene)}-{seen[category(scene)]:03d}"] = caption(scene)
    return sets


def main() -> None:
    """Write the three files."""
    for name, prompts in draw_prompt_sets().items():
        path = prompts_path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{key}: {prompt}\n" for key, prompt in prompts.items()), encoding="utf-8")


if __name__ == "__main__":
    main()
