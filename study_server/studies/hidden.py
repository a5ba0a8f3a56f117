"""Bias items and hidden traps of a preference study: pairs without a right answer, which tell of the person.

A bias item shows one picture twice: whoever is fair has no side there. A hidden trap shows a picture and a copy whose
blue values differ by one step in half of its pixels, which no eye finds: a person has no reason to prefer the same one
of the two each time, a program that compares pixels has. Both are planned here, and the copies are made at import.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qsched.locations import Location, file_size
from study_server.db.database import Database
from study_server.db.models import ImageRecord
from study_server.media.importing import lengthen, store_prepared, stored_path
from study_server.media.png import clean_png, read_pixels, write_pixels
from study_server.studies.comparisons import ImageKey, MisfitError, PlannedPair, pair_key
from study_server.studies.design import StudyDesign

#: The two pictures of a hidden trap, where arms stand in the votes table.
UNCHANGED, CHANGED = "unchanged copy", "changed copy"
MADE = (UNCHANGED, CHANGED)
# Enough that the items of several sessions of one person differ.
ITEMS_PER_PERSON = 4


def plan_hidden(
    design: StudyDesign, *, arms: Sequence[str], units: Sequence[tuple[str, int]], available: set[ImageKey]
) -> list[PlannedPair]:
    """Bias items and hidden traps, each of another prompt, the arms in turn; `units` in the order to take them.

    MisfitError if there are fewer prompts than items that one person sees.
    """
    for name, wanted in (("bias_items", design.bias_items), ("hidden_traps", design.hidden_traps)):
        if wanted > len(units):
            raise MisfitError(
                f"{name} is {wanted}, and {len(units)} prompts outside practice make one each; lower it", (name,)
            )
    planned = []
    for number, (prompt, sample) in enumerate(units[: ITEMS_PER_PERSON * design.bias_items]):
        turned = [*arms[number % len(arms) :], *arms[: number % len(arms)]]
        arm = _arm_of(prompt, sample, turned, available)
        if arm is not None:
            planned.append(PlannedPair(pair_key(prompt, sample, arm, arm), prompt, sample, arm, arm, pool="bias"))
    for prompt, sample in [*reversed(units)][: ITEMS_PER_PERSON * design.hidden_traps]:
        if _arm_of(prompt, sample, arms, available) is not None:
            key = pair_key(prompt, sample, *MADE)
            planned.append(PlannedPair(key, prompt, sample, *MADE, pool="trap"))
    return planned


def change_invisibly(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy in which the lowest bit of blue is flipped in half of the pixels, at random."""
    changed = pixels.copy()
    changed[..., 2] ^= rng.integers(0, 2, size=pixels.shape[:2], dtype=np.uint8)
    return changed


def make_hidden_traps(
    database: Database,
    study_id: int,
    planned: Sequence[PlannedPair],
    *,
    arms: Sequence[str],
    prompts: Mapping[str, int],
    ids: dict[ImageKey, int],
    files: Mapping[ImageKey, str],
    folder: Location,
) -> None:
    """Store the two pictures of each hidden trap, made by one encoder; adds to `ids`.

    They and every other picture of the prompt get one length, which would tell the trap otherwise.
    """
    by_unit: dict[tuple[str, int], list[str]] = defaultdict(list)
    for (prompt, sample, _), stored_name in files.items():
        by_unit[prompt, sample].append(stored_name)
    for pair in planned:
        if pair.pool != "trap" or pair.triplet is not None:
            continue
        unit = (pair.prompt_key, pair.sample_index)
        source = next((*unit, arm) for arm in arms if (*unit, arm) in files)
        copy = stored_path(folder, files[source])
        name, data = str(copy), copy.read_bytes()
        pixels, display = read_pixels(data, name=name), clean_png(data, name=name).display
        seed = int.from_bytes(hashlib.sha256(pair.pair_key.encode()).digest()[:8])
        made = [
            write_pixels(one, display=display)
            for one in (pixels, change_invisibly(pixels, np.random.default_rng(seed)))
        ]
        prepared = store_prepared(made, target=folder, beside=copy)
        length = file_size(stored_path(folder, prepared[0].name))
        for name in by_unit[unit]:
            lengthen(stored_path(folder, name), length)
        with database.session() as session:
            for arm, stored in zip(MADE, prepared, strict=True):
                image = ImageRecord(
                    study_id=study_id,
                    prompt_id=prompts[pair.prompt_key],
                    sample_index=pair.sample_index,
                    arm=arm,
                    sha256=stored.sha256,
                    file=stored.name,
                    width=pixels.shape[1],
                    height=pixels.shape[0],
                )
                session.add(image)
                session.flush()
                ids[(*unit, arm)] = image.id


def shuffled_units(design: StudyDesign, images: set[ImageKey]) -> list[tuple[str, int]]:
    """The prompts and samples outside practice, in an order of the study's own."""
    practised = {item.prompt for item in design.practice}
    units = sorted({(prompt, sample) for prompt, sample, _ in images if prompt not in practised})
    random.Random(f"{design.slug}/hidden").shuffle(units)
    return units


def _arm_of(prompt: str, sample: int, arms: Sequence[str], available: set[ImageKey]) -> str | None:
    return next((arm for arm in arms if (prompt, sample, arm) in available), None)
