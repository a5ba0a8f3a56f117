"""The studies as the server keeps them in memory: design and counts, looked up by slug."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from pydantic import ValidationError

from qsched.records.image_set import first_problem
from study_server.db import Reader, Statement, Tx
from study_server.errors import DesignUnreadable, NotFound, NotSaved
from study_server.studies.design import StudyDesign
from study_server.studies.study import Study, TripletGroup

FRESH_SECONDS = 5.0

STUDY = Statement(
    "SELECT id, uid, slug, title, status, design FROM studies WHERE slug = :slug AND status <> 'importing'"
)
POOLS = Statement("""
    SELECT pool, COUNT(*) FROM pairs WHERE study_id = :study AND disabled = FALSE GROUP BY pool
""")
GROUPS = Statement("""
    SELECT c.id, c.first_arm, c.second_arm, COUNT(p.id)
    FROM comparisons c JOIN pairs p ON p.comparison_id = c.id AND p.pool = 'task' AND p.disabled = FALSE
    WHERE c.study_id = :study GROUP BY c.id, c.first_arm, c.second_arm ORDER BY c.id
""")
STUDIES = Statement("SELECT slug, title, status, design FROM studies WHERE status <> 'importing' ORDER BY id")


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read, when (seconds of the monotonic clock), and the stored design that it was made from."""

    read_at: float
    study: Study
    status: str
    stored: str


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study on the server's public list."""

    slug: str
    title: str
    status: str


def listed_studies(tx: Tx) -> list[ListedStudy]:
    """The studies at `/`: those that want to be there and that everybody with the link may take part in."""
    found = []
    for slug, title, status, stored in tx.all(STUDIES):
        # Not read as a StudyDesign: one that cannot be read must not hide the others.
        design = json.loads(stored)
        if design.get("listed", True) and design.get("platform", {}).get("name", "open") == "open":
            found.append(ListedStudy(slug, title, status))
    return found


class StudyCache:
    """Looks studies up by slug; after FRESH_SECONDS the database is asked again.

    A study is known by its random uid: a new study of an old slug is read anew, and so is a changed design.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, _Known] = {}

    async def get(self, slug: str) -> Study:
        """The study of that slug; NotFound without one."""
        return (await self.get_with_status(slug))[0]

    def forget(self, slug: str) -> None:
        """Ask the database next time: the study was changed."""
        self._known.pop(slug, None)

    async def get_with_status(self, slug: str) -> tuple[Study, str]:
        """The study and its status, at most FRESH_SECONDS old (votes read the status in their transaction)."""
        known = self._known.get(slug)
        if known is not None and time.monotonic() - known.read_at < FRESH_SECONDS:
            return known.study, known.status
        try:
            found = await self._reader.run(lambda tx: _load(tx, slug, known))
        except NotSaved:
            if known is None:
                raise
            # The last design holds meanwhile; a vote then learns from the writer whether it is saved.
            return known.study, known.status
        if found is None:
            self._known.pop(slug, None)
            raise NotFound("there is no such study; check the link")
        self._known[slug] = found
        return found.study, found.status


def find_study(tx: Tx, slug: str) -> Study:
    """The study of that slug as the server knows it, for the owner's commands; NotFound without one."""
    found = _load(tx, slug, None)
    if found is None:
        raise NotFound(f"no study {slug!r} in this database; `qsched study list` shows them")
    return found.study


def _load(tx: Tx, slug: str, known: _Known | None) -> _Known | None:
    row = tx.one(STUDY, slug=slug)
    if row is None:
        return None
    number, uid, slug, title, status, stored = row
    now = time.monotonic()
    if known is not None and (known.study.uid, known.stored) == (uid, stored):
        return _Known(now, known.study, status, stored)
    pools: dict[str, int] = dict(tx.all(POOLS, study=number))
    design = _design(slug, stored)
    study = Study(
        number,
        uid,
        slug,
        title,
        design,
        task_pairs=pools.get("task", 0),
        practice_pairs=pools.get("practice", 0),
        gold_pairs=pools.get("gold", 0),
        trap_pairs=pools.get("trap", 0),
        bias_pairs=pools.get("bias", 0),
        groups=triplet_groups(tx, number, design),
    )
    return _Known(now, study, status, stored)


def triplet_groups(tx: Tx, study: int, design: StudyDesign) -> tuple[TripletGroup, ...]:
    """The groups of a study whose triplets have numbers of their own; none of any other study."""
    own = None if design.fidelity is None else design.fidelity.votes
    if own is None:
        return ()
    return tuple(
        TripletGroup(number, pairs, own.of_group(presentation, arm) or design.votes_per_pair)
        for number, presentation, arm, pairs in tx.all(GROUPS, study=study)
    )


def _design(slug: str, stored: str) -> StudyDesign:
    try:
        return StudyDesign.model_validate_json(stored)
    except ValidationError as error:
        raise DesignUnreadable(
            f"the stored design of study {slug} cannot be read: {first_problem(error)}; it was made by another version "
            "of qsched, or changed by hand"
        ) from error
