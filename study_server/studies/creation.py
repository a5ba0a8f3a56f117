"""Make a study: read the image set, copy its pictures, write prompts, images and pairs.

The study is `importing` until everything is there and only then opens; rows go in by the thousand in short
transactions, so that other studies of the same server keep voting meanwhile.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from qsched.errors import InputError
from qsched.locations import Location, remove_folder
from qsched.records import Manifest, iter_rows, read_manifest, refuse_faulty
from qsched.records.curation import count_words
from study_server.clock import now_ms
from study_server.db.database import Database
from study_server.db.lock import exclusive_setup
from study_server.db.models import (
    DesignVersionRecord,
    ImageRecord,
    PairRecord,
    StudyRecord,
    TripletRecord,
)
from study_server.studies.actions import COMMAND_LINE, record_action
from study_server.studies.changes import design_changes
from study_server.studies.comparisons import study_arms
from study_server.studies.curated import keep_curated
from study_server.studies.design import StudyDesign
from study_server.studies.fidelity import MADE_TRAP
from study_server.studies.hidden import MADE, make_hidden_traps
from study_server.studies.identical import leave_out_identical
from study_server.studies.study_rows import (
    comparison_keys,
    write_budget,
    write_comparisons,
    write_images,
    write_pairs,
    write_ranked_sets,
    write_triplets,
)
from study_server.studies.triplet_pictures import StoredPictures, TripletPictures, prepare_triplets
from study_server.studies.triplets import plan_study, reference_arm


@dataclass(frozen=True, slots=True)
class CreatedStudy:
    """What a creation did; `created` is False if the study was already there.

    identical    pairs left out because their two pictures look the same
    curated      pairs that the set's pairs.csv leaves out, by stratum, in words
    changed      in a fidelity study: pictures with other content than the reference, by arm
    refused      boosted triplets left out for that
    boosted      boosted triplets that are shown, `large_flashes` of them with flashes above WCAG's thresholds
    triplets     whether the pairs are triplets
    """

    slug: str
    created: bool
    pairs: int
    images: int
    removed_chunks: dict[str, int]
    identical: int = 0
    curated: str = ""
    changed: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    boosted: int = 0
    large_flashes: int = 0
    triplets: bool = False


def create_study(
    database: Database,
    design: StudyDesign,
    *,
    set_folder: Location,
    data_folder: Location,
    progress: Callable[[int], None],
    note: Callable[[str], None] = lambda _: None,
    compare: bool = True,
) -> CreatedStudy:
    """Create the study of `design` from the image set in `set_folder`.

    A study of the same slug, image set and design is left as it is; another one of that slug is an error. `progress`
    is called with the number of images copied so far, `note` with a line before work that takes long. Processes that
    create studies in one database take turns: a second server that starts with the same study.yaml finds the study of
    the first. Without `compare` a study of the same slug and image set goes on whatever its design.
    """
    with exclusive_setup(database):
        return _create(database, design, set_folder, data_folder, progress, note, compare=compare)


def _create(
    database: Database,
    design: StudyDesign,
    set_folder: Location,
    data_folder: Location,
    progress: Callable[[int], None],
    note: Callable[[str], None],
    *,
    compare: bool,
) -> CreatedStudy:
    manifest = read_manifest(set_folder)
    existing = _existing(database, design.slug)
    if existing is not None:
        slug, set_id, status = existing
        if status == "importing":
            _remove_half_made(database, slug, data_folder)
        elif set_id == manifest.set_id:
            if compare:
                _refuse_other_design(database, design)
            return CreatedStudy(slug, False, *_counts(database, slug), {})
        else:
            raise InputError(
                f"study {slug!r} exists with the image set {set_id!r}, not {manifest.set_id!r}; "
                f"choose another slug, or delete it: qsched study delete {slug}"
            )
    rows = list(iter_rows(set_folder))
    arms = study_arms(design, [arm.name for arm in manifest.arms])
    refuse_faulty(set_folder, manifest, rows)
    planned = plan_study(
        design,
        arms=[arm.name for arm in manifest.arms],
        images=[(row.prompt_id, row.sample_index, row.arm) for row in rows],
    )
    curated = keep_curated(planned, design=design, folder=set_folder)
    planned = curated.pairs
    by_file = {(row.prompt_id, row.sample_index, row.arm): row.sha256 for row in rows}
    leave_out_identical(planned, looks=by_file, design=design)  # fails before anything is copied
    needed = {arm for pair in planned for arm in pair.all_arms} | set(arms)
    study_id = _begin(database, design, manifest, set_folder, data_folder)
    removed: Counter[str] = Counter()
    target = data_folder / design.slug
    for folder in (data_folder, target):  # each with the mode: `parents` would make those above with another one
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shown = [row for row in rows if row.arm in needed]
    images = write_images(database, study_id, shown, set_folder, target, removed, progress)
    # Two files can differ and look the same, so what counts now is the unpacked pixels.
    to_show = leave_out_identical(planned, looks=images.looks, design=design)
    left_out = dict(Counter(curated.left_out) + Counter(identical=to_show.identical))
    comparisons = write_comparisons(database, study_id, comparison_keys(design, to_show.pairs))
    triplets = TripletPictures(to_show.pairs)
    if design.fidelity is not None:
        note(f"measuring how {len(images.files):,} pictures differ from their reference, and preparing triplets")
        triplets = prepare_triplets(
            database,
            study_id,
            to_show.pairs,
            fidelity=design.fidelity,
            reference=reference_arm(design, design.fidelity, [arm.name for arm in manifest.arms]),
            images=StoredPictures(images.prompts, images.ids, images.files),
            folder=target,
            progress=progress,
        )
    else:
        make_hidden_traps(
            database,
            study_id,
            to_show.pairs,
            arms=arms,
            prompts=images.prompts,
            ids=images.ids,
            files=images.files,
            folder=target,
        )
    n_pairs = write_pairs(database, study_id, triplets.pairs, images, comparisons)
    write_triplets(database, study_id, triplets.rows)
    write_ranked_sets(database, study_id, triplets.pairs, images)
    if design.votes_total is not None:
        write_budget(database, study_id, design.votes_total)
    # Once for all copies: a study that is open has its pictures on disk.
    os.sync()
    with database.session() as session:
        values = {"status": "open", "left_out": json.dumps(left_out)}
        session.execute(sa.update(StudyRecord).where(StudyRecord.id == study_id).values(values))
        detail = f"pairs left out: {count_words(left_out)}" if left_out else None
        record_action(session, "study created", actor=COMMAND_LINE, study=design.slug, detail=detail)
    return CreatedStudy(
        design.slug,
        True,
        n_pairs,
        len(images.files),
        dict(removed),
        to_show.identical,
        curated.words,
        changed=triplets.changed,
        refused=triplets.refused,
        boosted=triplets.boosted,
        large_flashes=triplets.large_flashes,
        triplets=design.fidelity is not None,
    )


def _existing(database: Database, slug: str) -> tuple[str, str, str] | None:
    with database.session() as session:
        row = session.execute(
            sa.select(StudyRecord.slug, StudyRecord.set_id, StudyRecord.status).where(StudyRecord.slug == slug)
        ).one_or_none()
        return None if row is None else (row[0], row[1], row[2])


def _refuse_other_design(database: Database, design: StudyDesign) -> None:
    with database.session() as session:
        stored = session.scalars(sa.select(StudyRecord.design).where(StudyRecord.slug == design.slug)).one()
    changes = design_changes(StudyDesign.model_validate_json(stored), design)
    if changes:
        keys = ", ".join(change.key for change in changes)
        raise InputError(
            f"study {design.slug!r} exists with another design; these keys differ: {keys}. `qsched study update FILE` "
            "applies what may change in a running study and says what may not; a new study needs another slug. A study "
            "that was served from a bare image set goes on as it is without --votes-per-pair"
        )


def _counts(database: Database, slug: str) -> tuple[int, int]:
    with database.session() as session:
        study = sa.select(StudyRecord.id).where(StudyRecord.slug == slug).scalar_subquery()
        pairs = session.scalar(sa.select(sa.func.count()).where(PairRecord.study_id == study))
        # The crops and traps of a fidelity study are pictures that the server made itself.
        columns = (TripletRecord.shown_reference_id, TripletRecord.shown_first_id, TripletRecord.shown_second_id)
        crops = sa.union(*(sa.select(column).where(TripletRecord.presentation == "boosted") for column in columns))
        own = ImageRecord.study_id == study, ImageRecord.arm.not_in((MADE_TRAP, *MADE)), ImageRecord.id.not_in(crops)
        images = session.scalar(sa.select(sa.func.count()).where(*own))
        return pairs or 0, images or 0


def _remove_half_made(database: Database, slug: str, data_folder: Location) -> None:
    with database.session() as session:
        session.execute(sa.delete(StudyRecord).where(StudyRecord.slug == slug))
    remove_folder(data_folder / slug)


def _begin(database: Database, design: StudyDesign, manifest: Manifest, folder: Location, data_folder: Location) -> int:
    with database.session() as session:
        study = StudyRecord(
            uid=secrets.token_hex(16),
            slug=design.slug,
            title=design.first(design.title),
            status="importing",
            design=design.model_dump_json(),
            set_id=manifest.set_id,
            set_path=str(folder.resolve()),
            created_ms=now_ms(),
            data_path=str(data_folder.resolve() / design.slug),
        )
        session.add(study)
        session.flush()
        session.add(DesignVersionRecord(study_id=study.id, version=1, design=study.design, changed_ms=study.created_ms))
        return study.id
