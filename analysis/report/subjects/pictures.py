"""The image set of the votes: example pairs with their pictures, and the measured size of each arm's model."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass

import polars as pl
from PIL import Image

from analysis.votes.table import has_values
from qsched.locations import Location
from qsched.records import InputError, IntegrityError, Manifest, iter_rows, read_manifest

# Pictures up to this size go into the page unchanged; larger ones as a smaller copy, and the page says so.
WHOLE_BYTES = 150_000
COPY_PIXELS = 448
MIN_VOTES = 3
PER_LIST = 3
# What an item is: in the order of these columns items are sorted.
ITEM = ("prompt_id", "sample_index", "arm_a", "arm_b")


@dataclass(frozen=True)
class EmbeddedPicture:
    """One picture as a data URI, with the size it is stored in; `copy`: reduced for the page."""

    arm: str
    src: str
    width: int
    height: int
    copy: bool


@dataclass(frozen=True)
class ExamplePair:
    """One item (prompt, sample, pair of arms) and what was voted on it; `wins_a` counts votes for `arm_a`."""

    prompt_id: str
    prompt: str | None
    sample_index: int
    arm_a: str
    arm_b: str
    wins_a: int
    wins_b: int
    ties: int
    pictures: tuple[EmbeddedPicture, ...] = ()


@dataclass(frozen=True)
class ImageSet:
    """What a report needs of an image set: its manifest and the file of each (prompt, arm, sample)."""

    folder: Location
    manifest: Manifest
    files: dict[tuple[str, str, int], tuple[str, str, str]]

    def sizes(self) -> dict[str, int]:
        """Bytes of each arm's denoiser: packed for a simulated arm (its floats are as big as ever), else measured."""
        found = {arm.name: arm.packed_bytes if arm.simulated else arm.denoiser_bytes for arm in self.manifest.arms}
        return {name: size for name, size in found.items() if size}


def load_image_set(folder: Location) -> ImageSet:
    """Read manifest and rows of an image set; raises InputError or RowError for a folder that breaks the contract."""
    manifest = read_manifest(folder)
    files = {
        (row.prompt_id, row.arm, row.sample_index): (row.file_name, row.sha256, row.prompt) for row in iter_rows(folder)
    }
    if not files:
        raise InputError(f"{folder} has no finished images in images.jsonl; finish it with `qsched generate-pairs`.")
    return ImageSet(folder=folder, manifest=manifest, files=files)


def find_examples(
    frame: pl.DataFrame, image_set: ImageSet | None
) -> tuple[tuple[ExamplePair, ...], tuple[ExamplePair, ...]]:
    """The items with the most and with the least agreement, at most three each, with pictures if there are any.

    Most: the largest share of one answer. Least: the largest share of those who preferred the other arm. Items with
    fewer than three votes are left out, and a list shows each prompt once. Ties in the ordering go to more votes, then
    to the prompt's name, so that the choice is fixed.
    """
    items = _items(frame)
    if items is None or items.is_empty():
        return (), ()
    wins, fewer = pl.max_horizontal("wins_a", "wins_b"), pl.min_horizontal("wins_a", "wins_b")
    n = pl.col("wins_a") + pl.col("wins_b") + pl.col("ties")
    # "Agreed" is agreed on a preference: an item that everybody called a tie says nothing about the arms.
    most = _first_of_each_prompt(items.filter(wins > pl.col("ties")), pl.max_horizontal(wins, "ties") / n, n)
    rest = items.join(most, on=list(ITEM), how="anti")
    least = _first_of_each_prompt(rest.filter(fewer > 0), fewer / n, n)
    return _examples(most, image_set), _examples(least, image_set)


def _first_of_each_prompt(items: pl.DataFrame, by: pl.Expr, n: pl.Expr) -> pl.DataFrame:
    ordered = items.sort(by, n, *ITEM, descending=[True, True, *(False for _ in ITEM)])
    return ordered.unique("prompt_id", keep="first", maintain_order=True).head(PER_LIST)


def _examples(items: pl.DataFrame, image_set: ImageSet | None) -> tuple[ExamplePair, ...]:
    return tuple(with_pictures(ExamplePair(prompt=None, **row), image_set) for row in items.iter_rows(named=True))


def _items(frame: pl.DataFrame) -> pl.DataFrame | None:
    """Every item with three votes or more: ITEM, wins_a, wins_b, ties; None without prompts."""
    if not has_values(frame, "prompt_id"):
        return None
    sample = pl.col("sample_index").fill_null(0) if "sample_index" in frame.columns else pl.lit(0)
    # Counted by codes first: names are compared once for each item and answer, not for each vote.
    keys = ("prompt_id", "left_arm", "right_arm", "choice")
    counted = frame.group_by(*keys, sample.cast(pl.Int64).alias("sample_index")).agg(pl.len().cast(pl.Int64).alias("n"))
    left, right, choice = (pl.col(name).cast(pl.String) for name in ("left_arm", "right_arm", "choice"))
    swapped = left > right
    wins_a = ((choice == "left") & ~swapped) | ((choice == "right") & swapped)
    wins_b = ((choice == "right") & ~swapped) | ((choice == "left") & swapped)
    return (
        counted.select(
            pl.col("prompt_id").cast(pl.String),
            pl.col("sample_index"),
            pl.min_horizontal(left, right).alias("arm_a"),
            pl.max_horizontal(left, right).alias("arm_b"),
            (wins_a * pl.col("n")).alias("wins_a"),
            (wins_b * pl.col("n")).alias("wins_b"),
            ((choice == "tie") * pl.col("n")).alias("ties"),
        )
        .group_by(*ITEM)
        .agg(pl.col("wins_a").sum(), pl.col("wins_b").sum(), pl.col("ties").sum())
        .filter(pl.col("wins_a") + pl.col("wins_b") + pl.col("ties") >= MIN_VOTES)
    )


def with_pictures(item: ExamplePair, image_set: ImageSet | None) -> ExamplePair:
    """The item with its prompt and both pictures, if the set has them."""
    if image_set is None:
        return item
    found = [image_set.files.get((item.prompt_id, arm, item.sample_index)) for arm in (item.arm_a, item.arm_b)]
    if found[0] is None or found[1] is None:
        return item
    pictures = tuple(
        _picture(image_set.folder / file, sha256, arm)
        for arm, (file, sha256, _) in zip((item.arm_a, item.arm_b), (found[0], found[1]), strict=True)
    )
    return ExamplePair(
        prompt_id=item.prompt_id,
        prompt=found[0][2],
        sample_index=item.sample_index,
        arm_a=item.arm_a,
        arm_b=item.arm_b,
        wins_a=item.wins_a,
        wins_b=item.wins_b,
        ties=item.ties,
        pictures=pictures,
    )


def _picture(path: Location, sha256: str, arm: str) -> EmbeddedPicture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}. Resume or verify the image set (`qsched verify`)."
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"{path} differs from its row in images.jsonl (sha256). Run `qsched verify` on the set.")
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        copy = len(data) > WHOLE_BYTES
        mime = "image/png"
        if copy:
            small = image.convert("RGB")
            small.thumbnail((COPY_PIXELS, COPY_PIXELS), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            small.save(buffer, format="JPEG", quality=92, subsampling=0)
            data, mime = buffer.getvalue(), "image/jpeg"
    return EmbeddedPicture(arm, f"data:{mime};base64,{base64.b64encode(data).decode()}", width, height, copy)
