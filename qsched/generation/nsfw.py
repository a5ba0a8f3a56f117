"""Pictures that a checker of the user's own calls unsafe for work: flagged and counted, never taken out silently.

The checker is a local folder: diffusers' StableDiffusionSafetyChecker, or an image classifier of transformers with a
label such as `nsfw`. Nothing is downloaded, and no checker comes with this package: their errors are their makers'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from qsched.errors import InputError, IntegrityError
from qsched.generation.curate import ListedPair
from qsched.locations import Location
from qsched.records import ImageRow
from qsched.records.curation import Stratum

SAFETY_CHECKER = "StableDiffusionSafetyChecker"
#: Labels of a classifier that mean unsafe, unless others are named.
LABELS = ("nsfw", "unsafe", "porn", "hentai", "sexy", "explicit")
LEAST = 0.5
BATCH = 16

#: For pictures, in words why each is flagged; None: it is not.
Checker = Callable[[Sequence[Image.Image]], list[str | None]]
PictureKey = tuple[str, int, str]


def load_checker(folder: Path, *, labels: Sequence[str] | None = None, least: float | None = None) -> Checker:
    """The checker in a folder, on the CPU. InputError for a folder that is none, or that has none of the labels.

    labels   of a classifier that mean unsafe; None: LABELS
    least    probability of an unsafe label from which a classifier flags; None: LEAST
    Both are refused for the safety checker, which has its own concepts and thresholds.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--nsfw {folder}: it has no readable config.json ({error}); name the folder of a {SAFETY_CHECKER} or of "
            "an image classifier that you have, with its preprocessor_config.json"
        ) from error
    try:
        if SAFETY_CHECKER in config.get("architectures", ()):
            if labels is not None or least is not None:
                raise InputError(
                    f"--nsfw {folder} is a {SAFETY_CHECKER}, which has concepts and thresholds of its own; leave "
                    "--nsfw-labels and --nsfw-least out"
                )
            return _safety_checker(folder)
        return _classifier(folder, LABELS if labels is None else labels, LEAST if least is None else least)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--nsfw {folder} cannot be loaded: {reason}; weights are read from safetensors") from error


def flagged_pictures(
    folder: Location, rows: Sequence[ImageRow], checker: Checker, *, progress: Callable[[int], None] = lambda _: None
) -> dict[PictureKey, str]:
    """The flagged pictures of a set by prompt, sample and arm, with the reason; equal files are looked at once."""
    reasons: dict[str, str | None] = {}
    distinct = list({row.sha256: row for row in rows}.values())
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        found = checker([_open(folder / row.file_name) for row in batch])
        reasons.update(zip((row.sha256 for row in batch), found, strict=True))
        progress(start + len(batch))
    return {
        (row.prompt_id, row.sample_index, row.arm): reason
        for row in rows
        if (reason := reasons[row.sha256]) is not None
    }


def with_flags(pairs: Sequence[ListedPair], flagged: Mapping[PictureKey, str]) -> Iterator[ListedPair]:
    """The pairs, those with a flagged picture in the stratum `flagged`, whatever they were."""
    for pair in pairs:
        arms = [arm for arm in pair.comparison if (pair.prompt_id, pair.sample_index, arm) in flagged]
        if not arms:
            yield pair
            continue
        words = [f"{arm} is flagged: {flagged[pair.prompt_id, pair.sample_index, arm]}" for arm in arms]
        yield replace(pair, stratum=Stratum.FLAGGED, why="; ".join([*([pair.why] if pair.why else []), *words]))


def _safety_checker(folder: Path) -> Checker:
    import numpy as np
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    model: Any = StableDiffusionSafetyChecker.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    processor: Any = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)

    def check(pictures: Sequence[Image.Image]) -> list[str | None]:
        pixels = processor(list(pictures), return_tensors="pt").pixel_values
        # It blackens what it flags in the pictures that it is given: these are nobody's.
        blank = np.zeros((len(pictures), 1, 1, 3), dtype=np.float32)
        with torch.no_grad():
            _, found = model(clip_input=pixels, images=blank)
        return ["by the safety checker" if one else None for one in found]

    return check


def _classifier(folder: Path, labels: Sequence[str], least: float) -> Checker:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model: Any = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    names = {number: str(name) for number, name in model.config.id2label.items()}
    wanted = [number for number, name in names.items() if name.lower() in {label.lower() for label in labels}]
    if not wanted:
        raise InputError(
            f"--nsfw {folder}: its labels are {', '.join(names.values())}; name those that are unsafe: --nsfw-labels"
        )

    # Labels that do not exclude each other have a probability each; a share of one label alone would always be 1.
    apart = model.config.problem_type == "multi_label_classification" or len(names) == 1

    def check(pictures: Sequence[Image.Image]) -> list[str | None]:
        with torch.no_grad():
            logits = model(**processor(list(pictures), return_tensors="pt")).logits
        if apart:
            unsafe = logits.sigmoid()[:, wanted].amax(-1).tolist()
        else:
            unsafe = logits.softmax(-1)[:, wanted].sum(-1).tolist()
        return [f"{', '.join(names[n] for n in wanted)} {one:.2f}" if one >= least else None for one in unsafe]

    return check


def _open(path: Location) -> Image.Image:
    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IntegrityError(f"{path} is not a readable PNG: {error}; `qsched verify` names all such") from error
