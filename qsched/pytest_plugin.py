"""Fixtures for people who test an arm, a scorer or a tool of their own; pytest finds them once qsched is installed.

qsched_image_set   a folder with an image set of drawn pictures: no torch, no models
qsched_make_arms   make pictures with the tiny models, verified (extras `generate` and `tiny`)
qsched_check_arm   what every arm must keep: pairing, the same pixels again, pictures that differ from the baseline's

docs/testing.md has examples. This module is imported in every run of pytest there, so it imports the rest late.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from qsched.records import Fault

ARMS = ("fp32", "w4a4", "w4a4+qsched")


class MakeArms(Protocol):
    """What the fixture qsched_make_arms gives."""

    def __call__(self, arms: str, *, backbone: str = "tiny-sdxl", prompts: int = 2, **options: Any) -> Path:
        """The folder of a verified image set of `arms` (as in `--arms`) and the first `prompts` prompts of the demo.

        `options` are fields of `qsched.generation.Request`: steps, samples, batch_size, seed of the set ...
        """


class CheckArm(Protocol):
    """What the fixture qsched_check_arm gives."""

    def __call__(
        self, arm: str, *, baseline: str = "fp32", backbone: str = "tiny-sdxl", prompts: int = 2, **options: Any
    ) -> Path:
        """Make baseline and arm twice and assert what every arm must keep; the folder of the first set."""


def draw_image_set(folder: Path, *, prompts: int = 6, arms: tuple[str, ...] = ARMS, size: int = 64) -> Path:
    """Write a valid image set of drawn pictures: each prompt a hue, each arm its own grain."""
    import numpy as np
    from PIL import Image

    from qsched.records import ArmRecord, ImageRow, Manifest, image_id_for

    (folder / "images").mkdir(parents=True)
    recipe = "0" * 64
    rows = []
    for p in range(prompts):
        for a, arm in enumerate(arms):
            rng = np.random.default_rng([p, a])
            base = np.array([90 + 20 * (p % 6), 200 - 20 * (p % 6), 60 + 30 * (p % 4)])
            yy, xx = np.mgrid[:size, :size]
            disc = ((yy - size / 2) ** 2 + (xx - size / 2) ** 2 < (size / 3) ** 2)[..., None]
            pixels = np.where(disc, base, 215) + rng.normal(0, 1 + 6 * a, (size, size, 1))
            path = folder / "images" / "new.png"
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(path)
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            image_id = image_id_for(sha256=sha, arm=arm, prompt_id=f"p{p}", sample_index=0)
            row = ImageRow(
                image_id=image_id,
                prompt_id=f"p{p}",
                prompt=f"a disc of colour {p} on light grey",
                category=("even", "odd")[p % 2],
                arm=arm,
                sample_index=0,
                seed=p,
                width=size,
                height=size,
                sha256=sha,
                seconds=0.1,
                batch=(f"p{p}/0",),
                simulated=a > 0,
                recipe_hash=recipe,
                versions={"pillow": "x"},
            )
            path.rename(folder / row.file_name)
            rows.append(row)
    (folder / "images.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    manifest = Manifest(
        set_id=f"drawn-{folder.name}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        backbone="drawn",
        arms=tuple(
            ArmRecord(name=arm, precision=arm.split("+")[0], recipe={}, recipe_hash=recipe, simulated=a > 0)
            for a, arm in enumerate(arms)
        ),
        prompts_sha256="1" * 64,
        n_prompts=prompts,
        samples=1,
        set_seed=0,
        steps=4,
        width=size,
        height=size,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return folder


def make_arms(request: dict[str, Any]) -> tuple[Fault, ...]:
    """Make the set that the fields of a request ask for, and return what `qsched verify` finds; a missing extra fails
    the test with the line that installs it."""
    from qsched.errors import MissingExtraError
    from qsched.extras import missing_extra

    try:
        from qsched.generation import Request, generate_pairs, verify_set

        generate_pairs(Request(**request))
        return verify_set(request["out"]).findings
    except MissingExtraError as error:
        pytest.fail(str(error), pytrace=False)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def qsched_image_set(tmp_path: Path) -> Path:
    """A valid image set of 6 prompts in 3 arms (fp32, w4a4, w4a4+qsched), 64 pixels wide."""
    return draw_image_set(tmp_path / "drawn")


@pytest.fixture
def qsched_make_arms(tmp_path_factory: pytest.TempPathFactory) -> MakeArms:
    """make(arms) writes a verified image set of the tiny models and returns its folder."""

    def make(arms: str, *, backbone: str = "tiny-sdxl", prompts: int = 2, **options: Any) -> Path:
        from qsched.tiny import prompts_path

        out = tmp_path_factory.mktemp("arms") / "set"
        chosen = {"prompts": prompts_path("demo"), "limit": prompts, **options}
        findings = make_arms({"backbone": backbone, "arms": arms, "out": out, **chosen})
        assert not findings, "\n".join(f"{found.where}: {found.problem}" for found in findings)
        return out

    return make


@pytest.fixture
def qsched_check_arm(qsched_make_arms: MakeArms) -> CheckArm:
    """check(arm) asserts that an arm is paired, makes the same pixels again, and differs from the baseline."""

    def check(arm: str, *, baseline: str = "fp32", prompts: int = 2, **options: Any) -> Path:
        folders = [qsched_make_arms(f"{baseline},{arm}", prompts=prompts, **options) for _ in range(2)]
        first, again = (_pixels(folder) for folder in folders)
        assert first == again, f"{arm} made other pictures from the same request"
        same = [
            place for (name, place), digest in first.items() if name != baseline and first[baseline, place] == digest
        ]
        assert not same, f"{arm} makes the pictures of {baseline} for {', '.join(same)}: nothing was changed"
        return folders[0]

    return check


def _pixels(folder: Path) -> dict[tuple[str, str], str]:
    """A hash of each picture's pixels, by arm and by prompt and sample; the files name their arm."""
    from PIL import Image

    from qsched.records import iter_rows

    found = {}
    for row in iter_rows(folder):
        with Image.open(folder / row.file_name) as picture:
            found[row.arm, f"{row.prompt_id}/{row.sample_index}"] = hashlib.sha256(picture.tobytes()).hexdigest()
    return found
