"""The values of the pictures of a set: every distinct picture is scored once.

Equal pictures get equal values by construction. Scored twice, in other batches, they could differ in the last bits,
and a table would rank two arms that nobody can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from qsched.locations import Location
from qsched.records import ImageRow
from qsched.scoring.image_set.pictures import open_picture
from qsched.scoring.protocol import Scorer
from qsched.scoring.reference_metrics import ReferenceMetric
from qsched.threads import in_order, threads_for

BATCH = 64
Values = dict[str, dict[str, float]]  # image id -> metric -> value


def pair_key(row: ImageRow) -> tuple[str, int]:
    """What the pictures of a pair have in common: prompt and noise."""
    return row.prompt_id, row.sample_index


def score_rows(
    folder: Location,
    rows: list[ImageRow],
    base_rows: list[ImageRow],
    scorers: Sequence[Scorer],
    references: Sequence[ReferenceMetric],
    on_progress: Callable[[int, int], None] | None,
) -> Values:
    """Metric values by image id.

    A picture whose twin is missing has no reference metrics; nor has one of the baseline, its own twin. Every file is
    read, also that of a picture that was scored already: a score belongs to the bytes that a row names.
    """
    twins = {pair_key(row): row for row in base_rows}
    by_picture: dict[tuple[str, str], dict[str, float]] = {}
    by_pair: dict[tuple[str, str], dict[str, float]] = {}
    values: Values = {row.image_id: {} for row in rows}
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = dict(zip((row.image_id for row in batch), _open(folder, batch), strict=True))
        fresh = {(row.sha256, row.prompt): row for row in batch if (row.sha256, row.prompt) not in by_picture}
        names = [_label(row) for row in fresh.values()]
        for scorer in scorers:
            pictures = [images[row.image_id] for row in fresh.values()]
            scores = scorer.score(pictures, [row.prompt for row in fresh.values()], names=names)
            for key, score in zip(fresh, scores, strict=True):
                by_picture.setdefault(key, {})[scorer.info.name] = score
        pairs = [(row, twins[pair_key(row)]) for row in batch if twins.get(pair_key(row), row) is not row]
        fresh_pairs = {(a.sha256, b.sha256): (a, b) for a, b in pairs if (a.sha256, b.sha256) not in by_pair}
        if references:
            against = _open(folder, [twin for _, twin in fresh_pairs.values()])
            ours = [images[row.image_id] for row, _ in fresh_pairs.values()]
            names = [_label(row) for row, _ in fresh_pairs.values()]
            for metric in references:
                scores = metric.score_against(ours, against, names=names)
                for key, score in zip(fresh_pairs, scores, strict=True):
                    by_pair.setdefault(key, {})[metric.info.name] = score
        for row in batch:
            values[row.image_id].update(by_picture.get((row.sha256, row.prompt), {}))
        for row, twin in pairs:
            values[row.image_id].update(by_pair.get((row.sha256, twin.sha256), {}))
        if on_progress is not None:
            on_progress(min(start + BATCH, len(rows)), len(rows))
    return values


def _open(folder: Location, rows: Sequence[ImageRow]) -> list[Image.Image]:
    return list(in_order(partial(open_picture, folder), rows, threads=threads_for(folder)))


def _label(row: ImageRow) -> str:
    return f"{row.file_name} ({row.arm}, {row.prompt_id})"
