"""Write what a study shows: prompts, images and pairs, by the thousand in short transactions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from qsched.locations import Location
from qsched.records import ImageRow
from qsched.threads import in_order, threads_for
from study_server.db.database import Database
from study_server.db.models import (
    ComparisonRecord,
    ImageRecord,
    PairRecord,
    PromptRecord,
    RankedSetRecord,
    TripletRecord,
    VoteBudgetRecord,
)
from study_server.media.importing import StoredImage, store_images
from study_server.studies.comparisons import ImageKey, PlannedPair
from study_server.studies.design import StudyDesign
from study_server.studies.texts import write_text

ROWS_PER_TRANSACTION = 2000
# This many threads, of all processes, can take from a study's total at the same moment.
BUDGET_ROWS = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WrittenImages:
    """Database ids of prompts and images, the hash of each image's pixels (`looks`), and the server's copies."""

    prompts: dict[str, int]
    ids: dict[ImageKey, int]
    looks: dict[ImageKey, str]
    files: dict[ImageKey, str]


def write_images(
    database: Database,
    study_id: int,
    rows: Sequence[ImageRow],
    source: Location,
    target: Location,
    removed: Counter[str],
    progress: Callable[[int], None],
) -> WrittenImages:
    """Copy the pictures of `rows` to `target`, and write prompts and images. `removed` counts dropped PNG chunks."""
    texts = {row.prompt_id: (row.prompt, row.category) for row in rows}
    prompts: dict[str, int] = {}
    for part in _parts(sorted(texts.items())):
        with database.session() as session:
            inserted = session.execute(
                sa.insert(PromptRecord).returning(PromptRecord.id, PromptRecord.prompt_key),
                [{"study_id": study_id, "prompt_key": k, "prompt": t, "category": c} for k, (t, c) in part],
            )
            prompts.update({key: number for number, key in inserted})
    ids: dict[ImageKey, int] = {}
    looks: dict[ImageKey, str] = {}
    files: dict[ImageKey, str] = {}
    for stored in _parts(_stored(rows, source, target)):
        removed.update(name for item in stored for name in item.removed)
        with database.session() as session:
            inserted_images = session.execute(
                sa.insert(ImageRecord).returning(
                    ImageRecord.id, ImageRecord.prompt_id, ImageRecord.sample_index, ImageRecord.arm
                ),
                [_image_values(study_id, prompts[item.row.prompt_id], item) for item in stored],
            )
            names = {number: key for key, number in prompts.items()}
            ids.update({(names[p], s, arm): number for number, p, s, arm in inserted_images})
        looks.update({(item.row.prompt_id, item.row.sample_index, item.row.arm): item.pixels for item in stored})
        files.update({(item.row.prompt_id, item.row.sample_index, item.row.arm): item.file for item in stored})
        progress(len(ids))
    return WrittenImages(prompts, ids, looks, files)


def _stored(rows: Sequence[ImageRow], source: Location, target: Location) -> Iterator[StoredImage]:
    def unit(row: ImageRow) -> tuple[str, int]:
        return row.prompt_id, row.sample_index

    groups = [list(group) for _, group in itertools.groupby(sorted(rows, key=unit), key=unit)]
    store = partial(store_images, source=source, target=target)
    for stored in in_order(store, groups, threads=max(threads_for(source), threads_for(target))):
        yield from stored


def _image_values(study_id: int, prompt_id: int, item: StoredImage) -> dict[str, Any]:
    row = item.row
    return {
        "study_id": study_id,
        "prompt_id": prompt_id,
        "sample_index": row.sample_index,
        "arm": row.arm,
        "sha256": row.sha256,
        "file": item.file,
        "width": row.width,
        "height": row.height,
    }


def comparison_keys(design: StudyDesign, planned: Sequence[PlannedPair]) -> dict[str, tuple[str, str]]:
    """By a task pair's key the row of `comparisons` that it names: its arms in an adaptive study, its group where
    triplets have their own numbers of votes; empty for other studies."""
    task = [pair for pair in planned if pair.pool == "task"]
    own = None if design.fidelity is None else design.fidelity.votes
    if own is not None:
        return {
            pair.pair_key: own.group(pair.triplet.presentation.value, (pair.first_arm, pair.second_arm))
            for pair in task
            if pair.triplet is not None
        }
    return {pair.pair_key: (pair.first_arm, pair.second_arm) for pair in task} if design.adaptivity is not None else {}


def write_comparisons(database: Database, study_id: int, keys: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Write the rows that `comparison_keys` names; returns their ids by pair."""
    arms = set(keys.values())
    if not arms:
        return {}
    with database.session() as session:
        inserted = session.execute(
            sa.insert(ComparisonRecord).returning(
                ComparisonRecord.id, ComparisonRecord.first_arm, ComparisonRecord.second_arm
            ),
            [{"study_id": study_id, "first_arm": first, "second_arm": second} for first, second in sorted(arms)],
        )
        ids = {(first, second): number for number, first, second in inserted}
    return {pair: ids[key] for pair, key in keys.items()}


def write_budget(database: Database, study_id: int, total: int) -> None:
    """Spread the study's `votes_total` over rows that can be locked separately."""
    rows = min(BUDGET_ROWS, total)
    with database.session() as session:
        session.execute(
            sa.insert(VoteBudgetRecord),
            [{"study_id": study_id, "remaining": total // rows + (n < total % rows)} for n in range(rows)],
        )


def write_pairs(
    database: Database,
    study_id: int,
    planned: Sequence[PlannedPair],
    images: WrittenImages,
    comparisons: Mapping[str, int],
) -> int:
    """Write the pairs in their order, which is the order in which they are handed out; returns their number."""
    for part in _parts(enumerate(planned)):
        with database.session() as session:
            session.execute(
                sa.insert(PairRecord),
                [
                    {
                        "study_id": study_id,
                        "pair_key": pair.pair_key,
                        "rank": rank,
                        "prompt_id": images.prompts[pair.prompt_key],
                        "sample_index": pair.sample_index,
                        "first_image_id": images.ids[(pair.prompt_key, pair.sample_index, pair.first_arm)],
                        "second_image_id": images.ids[(pair.prompt_key, pair.sample_index, pair.second_arm)],
                        "pool": pair.pool,
                        "better": pair.better,
                        "why": write_text(pair.why),
                        "comparison_id": comparisons.get(pair.pair_key),
                    }
                    for rank, pair in part
                ],
            )
    return len(planned)


def write_ranked_sets(database: Database, study_id: int, planned: Sequence[PlannedPair], images: WrittenImages) -> None:
    """The third and fourth pictures of sets that are ranked; nothing for pairs."""
    ranked = [pair for pair in planned if pair.others]
    with database.session() as session:
        keys = sa.select(PairRecord.pair_key, PairRecord.id).where(PairRecord.study_id == study_id)
        ids = {key: number for key, number in session.execute(keys)} if ranked else {}
    for part in _parts(ranked):
        rows = []
        for pair in part:
            found = [images.ids[(pair.prompt_key, pair.sample_index, arm)] for arm in pair.others]
            third, fourth = found[0], found[1] if len(found) > 1 else None
            rows.append({"pair_id": ids[pair.pair_key], "third_image_id": third, "fourth_image_id": fourth})
        with database.session() as session:
            session.execute(sa.insert(RankedSetRecord), rows)


def write_triplets(database: Database, study_id: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """What a fidelity study shows of each pair, by pair key."""
    empty = dict.fromkeys(column.name for column in TripletRecord.__table__.columns)
    with database.session() as session:
        keys = sa.select(PairRecord.pair_key, PairRecord.id).where(PairRecord.study_id == study_id)
        ids = {key: number for key, number in session.execute(keys)} if rows else {}
    for part in _parts(rows.items()):
        with database.session() as session:
            session.execute(sa.insert(TripletRecord), [{**empty, **row, "pair_id": ids[key]} for key, row in part])


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, ROWS_PER_TRANSACTION)):
        yield part
