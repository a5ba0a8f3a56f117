"""Make some pictures of a submission again, where the model is here: nothing else shows that an arm made them.

The seed of a picture follows from its prompt and sample alone, so a few prompts give pictures of the set: nearly the
same pixels, since another batch or another machine adds its rounding. Sizes of arms are computed again with them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from qsched.bench.places import Places
from qsched.bench.prompts import prompts_text
from qsched.bench.run import Runner
from qsched.bench.spec import ModelSpec
from qsched.bench.steps import Options, generate_command, weights_here
from qsched.command_line import counted
from qsched.errors import InputError
from qsched.generation import read_prompts
from qsched.records import Manifest, iter_rows, read_manifest

#: A picture that was made again on another machine is less alike than this only if something else made it.
LEAST_PSNR = 30.0


@dataclass(frozen=True)
class MadeAgain:
    """What came of it: `words` say how alike the pictures are, `problems` and `notes` are sentences."""

    words: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def render_again(
    places: Places, model: ModelSpec, *, prompts: int, draw: Random, runner: Runner, options: Options | None = None
) -> MadeAgain:
    """Make the pictures of so many prompts of a model again, and compare pictures and sizes with those that are here.

    draw    chooses the prompts at random, so that no submitter can tell which
    """
    if weights_here(model) is None:
        return MadeAgain("not made again", notes=(f"the model {model.source} is not here",))
    every = read_prompts(places.prompts)
    chosen = draw.sample(every, min(prompts, len(every)))
    with tempfile.TemporaryDirectory(prefix="qsched-verify-") as name:
        file, out = Path(name) / "prompts.json", Path(name) / "images"
        file.write_text(prompts_text(chosen), encoding="utf-8")
        code = runner(generate_command(places, model, options or Options(), prompts=file, out=out))
        if code != 0:
            return MadeAgain("not made again", problems=(f"`qsched generate-pairs` ended with exit code {code}",))
        problems = list(_size_problems(read_manifest(places.images(model)), read_manifest(out)))
        try:
            alike = _likeness(places.images(model), out)
        except InputError as error:
            return MadeAgain("made again, and not compared", (*problems, str(error)))
    same = sum(math.isinf(psnr) for psnr in alike.values())
    worst = min(alike, key=lambda place: alike[place])
    words = f"{same} of {counted(len(alike), 'picture')} made again are the same"
    if same < len(alike):
        words += f", the least alike has a PSNR of {alike[worst]:.1f} dB"
    if alike[worst] < LEAST_PSNR:
        problems.append(
            f"the picture of {worst[0]} for prompt {worst[1]} is another one when it is made again: PSNR "
            f"{alike[worst]:.1f} dB, at least {LEAST_PSNR:g} are expected"
        )
    return MadeAgain(words, tuple(problems))


def _size_problems(theirs: Manifest, ours: Manifest) -> Iterator[str]:
    made = {arm.name: arm for arm in ours.arms}
    for arm in theirs.arms:
        if arm.name in made and arm.packed_bytes != made[arm.name].packed_bytes:
            yield f"{arm.name} has {made[arm.name].packed_bytes:,} bytes if packed, and {arm.packed_bytes:,} are stated"


def _likeness(theirs: Path, ours: Path) -> dict[tuple[str, str, int], float]:
    """PSNR in dB of each picture that was made again; infinite for equal pixels."""
    stated = {(row.arm, row.prompt_id, row.sample_index): row for row in iter_rows(theirs)}
    found = {}
    for row in iter_rows(ours):
        place = row.arm, row.prompt_id, row.sample_index
        if place not in stated:
            raise InputError(
                f"the set has no picture of {row.arm} for prompt {row.prompt_id}, sample {row.sample_index}"
            )
        one, other = (_pixels(path) for path in (ours / row.file_name, theirs / stated[place].file_name))
        error = float(np.mean((one - other) ** 2)) if one.shape == other.shape else math.inf
        found[place] = math.inf if error == 0 else 20 * math.log10(255) - 10 * math.log10(error)
    return found


def _pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.float64)
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name} cannot be read as a picture: {error}") from error
