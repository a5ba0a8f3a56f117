"""The pictures of a fidelity study, prepared at import: difference maps, boosted crops, traps made from the reference.

Nothing of this happens while people vote. A picture whose content changed is not boosted: its boosted triplets are left
out and counted, and every picture's distance from the reference is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from qsched.errors import InputError
from qsched.locations import Location
from qsched.records import Presentation
from study_server.db.database import Database
from study_server.db.models import DifferenceRecord, ImageRecord
from study_server.media.boosting import boost, degrade
from study_server.media.difference import Crop, DifferenceMap, Pixels, largest_difference, measure_difference
from study_server.media.flashes import flash_area, is_small
from study_server.media.importing import store_prepared, stored_path
from study_server.media.png import clean_png, read_pixels, write_pixels
from study_server.studies.comparisons import ImageKey, PlannedPair
from study_server.studies.fidelity import MADE_TRAP, Fidelity

Unit = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StoredPictures:
    """Images of the study by prompt, sample and arm: their rows' ids and the names of the server's copies."""

    prompts: Mapping[str, int]
    ids: dict[ImageKey, int]
    files: Mapping[ImageKey, str]


@dataclass(slots=True)
class TripletPictures:
    """What was prepared.

    pairs      the triplets to show, in their order
    rows       of the table `triplets`, by the pair's key, without the pair's id
    changed    arms whose content changed, with the number of pictures
    refused    boosted triplets that were left out for that
    boosted    boosted triplets that are shown, `large_flashes` of them with flashes above the area and contrast
               thresholds of WCAG 2.3.1
    """

    pairs: list[PlannedPair] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    boosted: int = 0
    large_flashes: int = 0


def prepare_triplets(
    database: Database,
    study_id: int,
    planned: Sequence[PlannedPair],
    *,
    fidelity: Fidelity,
    reference: str,
    images: StoredPictures,
    folder: Location,
    progress: Callable[[int], None],
) -> TripletPictures:
    """Measure, prepare and store the pictures of `planned`, prompt by prompt; adds to `images.ids`.

    Raises InputError if content changed in so many pictures that no triplet of the task, or too few traps, are left.
    """
    made = TripletPictures()
    by_unit: dict[Unit, list[PlannedPair]] = {}
    for pair in planned:
        by_unit.setdefault((pair.prompt_key, pair.sample_index), []).append(pair)
    arms_of: dict[Unit, list[str]] = {}
    for prompt, sample, arm in images.files:
        arms_of.setdefault((prompt, sample), []).append(arm)
    kept: set[str] = set()
    for number, (unit, pairs) in enumerate(sorted(by_unit.items())):
        work = _Unit(unit, reference, images, folder)
        differences = {arm: work.difference(arm) for arm in arms_of[unit] if arm != reference}
        with database.session() as session:
            for arm, found in differences.items():
                changed = found.spot > fidelity.content_limit
                made.changed[arm] += changed
                session.add(
                    DifferenceRecord(
                        study_id=study_id,
                        image_id=images.ids[(*unit, arm)],
                        mean=found.mean,
                        spot=found.spot,
                        changed=changed,
                    )
                )
            for pair in pairs:
                row = _row_of(pair, work, differences, fidelity)
                if row is None:
                    made.refused += 1
                    continue
                kept.add(pair.pair_key)
                made.boosted += row.flash_area is not None
                made.large_flashes += row.flash_area is not None and not is_small(row.flash_area)
                made.rows[pair.pair_key] = _with_ids(session, study_id, pair, row, work)
        progress(number + 1)
    made.pairs = [pair for pair in planned if pair.pair_key in kept]
    _check_enough(made, fidelity)
    _check_flashes(made, fidelity)
    return made


class _Unit:
    """The pictures of one prompt and sample, read once."""

    def __init__(self, unit: Unit, reference: str, images: StoredPictures, folder: Location) -> None:
        self.unit, self.reference, self.images, self.folder = unit, reference, images, folder
        self._pixels: dict[str, Pixels] = {}
        self._maps: dict[str, DifferenceMap] = {}
        self.display: tuple[bytes, ...] = ()

    def path(self, arm: str) -> Location:
        """The server's copy of an arm's picture."""
        return stored_path(self.folder, self.images.files[(*self.unit, arm)])

    def pixels(self, arm: str) -> Pixels:
        """The colours of an arm's picture; of the made trap, the degraded reference."""
        if arm not in self._pixels:
            if arm == MADE_TRAP:
                self._pixels[arm] = degrade(self.pixels(self.reference))
            else:
                path = self.path(arm)
                data = path.read_bytes()
                self.display = clean_png(data, name=str(path)).display
                self._pixels[arm] = read_pixels(data, name=f"prompt {self.unit[0]!r}, arm {arm!r}")
        return self._pixels[arm]

    def difference(self, arm: str) -> DifferenceMap:
        """The map of an arm against the reference."""
        if arm not in self._maps:
            self._maps[arm] = measure_difference(self.pixels(self.reference), self.pixels(arm))
        return self._maps[arm]


@dataclass(frozen=True, slots=True)
class _ShownTriplet:
    values: dict[str, Any]
    pictures: dict[str, bytes]  # by the arm's name in `images`: what has to be stored first
    shown: tuple[str, str, str]  # reference, first, second: names in `images`
    flash_area: float | None = None  # of a boosted triplet


def _row_of(
    pair: PlannedPair, work: _Unit, differences: Mapping[str, DifferenceMap], fidelity: Fidelity
) -> _ShownTriplet | None:
    """What is shown of a triplet; None if it should be boosted and content changed."""
    reference, arms = work.reference, (pair.first_arm, pair.second_arm)
    if pair.triplet is None or pair.triplet.presentation is Presentation.PLAIN:
        pictures = {MADE_TRAP: write_pixels(work.pixels(MADE_TRAP), display=work.display)} if MADE_TRAP in arms else {}
        return _ShownTriplet({"presentation": "plain"}, pictures, (reference, *arms))
    if any(found.spot > fidelity.content_limit for arm, found in differences.items() if arm in arms):
        return None
    others = [arm for arm in arms if arm != reference]
    base = work.pixels(reference)
    crop = _crop_of(base, [work.difference(arm) for arm in others], fidelity)
    tests = (work.pixels(arms[0]), work.pixels(arms[1]))
    boosted = boost(base, tests, crop=crop, factor=fidelity.boost.factor)
    names = tuple(f"{pair.pair_key}/{arm}" for arm in (reference, *arms))
    crops = dict(zip(names, (boosted.reference, *boosted.tests), strict=True))
    values = {
        "presentation": "boosted",
        "factor": fidelity.boost.factor,
        "rate_hz": fidelity.boost.rate_hz,
        "crop_x": crop.x,
        "crop_y": crop.y,
        "crop_width": crop.width,
        "crop_height": crop.height,
        "clipped": boosted.clipped,
    }
    encoded = {name: write_pixels(pixels, display=work.display) for name, pixels in crops.items()}
    area = flash_area(boosted.reference, boosted.tests, zoom=fidelity.boost.zoom)
    return _ShownTriplet(values, encoded, (names[0], names[1], names[2]), area)


def _crop_of(base: Pixels, found: Sequence[DifferenceMap], fidelity: Fidelity) -> Crop:
    maps = [one.map for one in found] or [np.zeros(base.shape[:2], dtype=np.float32)]
    return largest_difference(maps, most=fidelity.boost.crop)


def _with_ids(
    session: sa.orm.Session, study_id: int, pair: PlannedPair, row: _ShownTriplet, work: _Unit
) -> dict[str, Any]:
    """Store the pictures that the row needs, and the row's values with the ids of all."""
    ids = work.images.ids
    new = {name: data for name, data in row.pictures.items() if (*work.unit, name) not in ids}
    beside = None if set(new) - {MADE_TRAP} else work.path(work.reference)
    files = store_prepared(new.values(), target=work.folder, beside=beside)
    for (name, data), file in zip(new.items(), files, strict=True):
        header = clean_png(data, name=name).header
        image = ImageRecord(
            study_id=study_id,
            prompt_id=work.images.prompts[work.unit[0]],
            sample_index=work.unit[1],
            arm=name,
            sha256=file.sha256,
            file=file.name,
            width=header.width,
            height=header.height,
        )
        session.add(image)
        session.flush()
        ids[(*work.unit, name)] = image.id
    reference, first, second = (ids[(*work.unit, name)] for name in row.shown)
    if MADE_TRAP in (pair.first_arm, pair.second_arm) and (*work.unit, MADE_TRAP) not in ids:
        # Its votes name the trap itself, whichever presentation comes first.
        plain = _ShownTriplet({}, {MADE_TRAP: write_pixels(work.pixels(MADE_TRAP), display=work.display)}, row.shown)
        _with_ids(session, study_id, pair, plain, work)
    return {
        **row.values,
        "reference_image_id": ids[(*work.unit, work.reference)],
        "shown_reference_id": reference,
        "shown_first_id": first,
        "shown_second_id": second,
    }


def _check_flashes(made: TripletPictures, fidelity: Fidelity) -> None:
    boost = fidelity.boost
    if boost.small_only and made.large_flashes:
        raise InputError(
            f"rate_hz is {boost.rate_hz:g}, and {made.large_flashes} of {made.boosted} boosted triplets flash on more "
            f"than a quarter of a 10 degree field of vision at zoom {boost.zoom} (WCAG 2.3.1). Take a rate_hz of at "
            "most 3, a smaller crop, zoom or factor, or faster_flicker: true, which each person must agree to"
        )


def _check_enough(made: TripletPictures, fidelity: Fidelity) -> None:
    pools = Counter(pair.pool for pair in made.pairs)
    changed = ", ".join(f"{arm}: {count}" for arm, count in made.changed.items() if count)
    why = f"content changed in these pictures: {changed}" if changed else "nothing is left to show"
    if not pools["task"]:
        raise InputError(f"no triplet is left: {why}. Show plain triplets too, or raise fidelity: content_limit")
    if pools["trap"] < fidelity.traps.each:
        raise InputError(
            f"{pools['trap']} traps are left and each person is to see {fidelity.traps.each}: {why}. Leave traps: arm "
            "out (a trap is then made from the reference), or take a smaller traps: each and least"
        )
