"""List the pairs of an image set by stratum: broken, identical, near-identical, different; and choose which to show."""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from qsched.errors import InputError, IntegrityError
from qsched.files import write_atomic
from qsched.locations import Location
from qsched.records import ImageRow, iter_rows, read_manifest, refuse_faulty
from qsched.records.curation import NOT_DRAWN, PAIR_COLUMNS, PAIRS_NAME, Stratum
from qsched.threads import in_order, threads_for

Pixels = NDArray[np.uint8]
#: A change of so many of 255 levels in no pixel is below what people see side by side.
NEAR_LEVELS = 2


@dataclass(frozen=True)
class ListedPair:
    """A pair, its stratum, the largest and mean difference of its pixels in levels of 255, and whether to show it."""

    prompt_id: str
    sample_index: int
    first_arm: str
    second_arm: str
    stratum: Stratum
    largest_difference: int
    mean_difference: float
    use: bool = True
    why: str = ""

    @property
    def comparison(self) -> tuple[str, str]:
        """The two arms."""
        return self.first_arm, self.second_arm


def list_pairs(
    folder: Location,
    *,
    baseline: str | None = None,
    near_levels: int = NEAR_LEVELS,
    progress: Callable[[int], None] = lambda _: None,
) -> list[ListedPair]:
    """Every pair of the set (with `baseline`, those with this arm), in the order of prompts, samples and arms.

    A picture of a single colour is broken: black is what a model gives whose numbers overflowed (NaN). `progress` gets
    the number of prompts and samples that are done.
    """
    manifest = read_manifest(folder)
    rows = list(iter_rows(folder))
    refuse_faulty(folder, manifest, rows)
    arms = [arm.name for arm in manifest.arms]
    if baseline is not None and baseline not in arms:
        raise InputError(f"--baseline {baseline!r} is not an arm of the set; they are {', '.join(arms)}")
    wanted = [pair for pair in itertools.combinations(arms, 2) if baseline in (None, *pair)]
    groups: dict[tuple[str, int], dict[str, ImageRow]] = defaultdict(dict)
    for row in rows:
        groups[row.prompt_id, row.sample_index][row.arm] = row
    found: list[ListedPair] = []

    def compare(place: tuple[str, int]) -> list[ListedPair]:
        pixels = {arm: _read(folder / row.file_name) for arm, row in groups[place].items()}
        colours = {arm: _single_colour(picture) for arm, picture in pixels.items()}
        return [_compare(place, pair, pixels, colours, near_levels) for pair in wanted]

    for done, pairs in enumerate(in_order(compare, sorted(groups), threads=threads_for(folder)), start=1):
        found += pairs
        progress(done)
    return found


def choose_pairs(
    pairs: Sequence[ListedPair], *, leave_out: Collection[Stratum], sample: Mapping[Stratum, int], seed: int = 0
) -> list[ListedPair]:
    """The pairs with `use` and `why` set: strata left out whole, or so many of those in use drawn for a comparison."""
    chosen = dict(enumerate(pairs))
    cells: dict[tuple[Stratum, tuple[str, str]], list[int]] = defaultdict(list)
    for number, pair in chosen.items():
        if pair.use:
            cells[pair.stratum, pair.comparison].append(number)
    rng = random.Random(seed)
    for (stratum, _), numbers in sorted(cells.items()):
        if stratum in leave_out:
            drop, why = numbers, "left out: " + stratum
        elif stratum in sample and sample[stratum] < len(numbers):
            kept = set(rng.sample(numbers, sample[stratum]))
            drop, why = [n for n in numbers if n not in kept], f"{NOT_DRAWN}: {sample[stratum]} of {len(numbers)}"
        else:
            continue
        for number in drop:
            before = chosen[number].why
            chosen[number] = replace(chosen[number], use=False, why=f"{before}; {why}" if before else why)
    return list(chosen.values())


def count_pairs(pairs: Sequence[ListedPair]) -> Iterator[tuple[tuple[str, str], Stratum, int, int]]:
    """Comparison, stratum, number of pairs and number of those to show; in the order of the arms and strata."""
    all_of = Counter((pair.comparison, pair.stratum) for pair in pairs)
    used = Counter((pair.comparison, pair.stratum) for pair in pairs if pair.use)
    for comparison in dict.fromkeys(pair.comparison for pair in pairs):
        for stratum in Stratum:
            if all_of[comparison, stratum]:
                yield comparison, stratum, all_of[comparison, stratum], used[comparison, stratum]


def write_pairs(pairs: Sequence[ListedPair], folder: Location) -> Location:
    """Write the list into the set; returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PAIR_COLUMNS)
    for pair in pairs:
        writer.writerow(
            (
                pair.prompt_id,
                pair.sample_index,
                pair.first_arm,
                pair.second_arm,
                pair.stratum,
                pair.largest_difference,
                f"{pair.mean_difference:.4f}",
                "yes" if pair.use else "no",
                pair.why,
            )
        )
    path = folder / PAIRS_NAME
    write_atomic(path, text.getvalue().encode())
    return path


def _read(path: Location) -> Pixels:
    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IntegrityError(f"{path} is not a readable PNG: {error}; `qsched verify` names all such") from error


def _single_colour(pixels: Pixels) -> str | None:
    """The colour of a picture that has one only."""
    first = pixels[0, 0]
    return "#{:02x}{:02x}{:02x}".format(*first.tolist()) if bool((pixels == first).all()) else None


def _compare(
    place: tuple[str, int],
    arms: tuple[str, str],
    pixels: Mapping[str, Pixels],
    colours: Mapping[str, str | None],
    near_levels: int,
) -> ListedPair:
    difference = np.abs(pixels[arms[0]].astype(np.int16) - pixels[arms[1]])
    largest = int(difference.max())
    broken = [f"{arm} is all {colours[arm]}" for arm in arms if colours[arm] is not None]
    if broken:
        stratum = Stratum.BROKEN
    elif largest == 0:
        stratum = Stratum.IDENTICAL
    else:
        stratum = Stratum.NEAR_IDENTICAL if largest <= near_levels else Stratum.DIFFERENT
    return ListedPair(*place, *arms, stratum, largest, float(difference.mean()), why="; ".join(broken))
