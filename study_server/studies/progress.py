"""How far studies are: counts that cost the same however many votes there are.

A pair's `load` counts its valid votes and its live leases together, so the valid votes are the sum of the loads
less the leases, and no vote has to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from qsched.records.image_set import first_problem
from study_server.db import Statement, Tx
from study_server.errors import NotFound
from study_server.studies.cache import triplet_groups
from study_server.studies.design import StudyDesign
from study_server.studies.dropping_sets import most_rankings

STUDIES = Statement("SELECT id, slug FROM studies ORDER BY id")
STUDIES_PAGE = Statement("SELECT id, slug FROM studies WHERE id > :after ORDER BY id LIMIT :limit")
STUDY = Statement("SELECT id, title, status, design FROM studies WHERE slug = :slug")
PAIRS = Statement("""
    SELECT COALESCE(SUM(CASE WHEN pool = 'task' AND NOT disabled THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN disabled THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(load), 0),
           COALESCE(SUM(CASE WHEN pool = 'decided' OR disabled THEN load ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN pool = 'reserve' AND NOT disabled THEN 1 ELSE 0 END), 0)
    FROM pairs WHERE study_id = :study
""")
# CROSS JOIN: SQLite then walks the leases, of which there are as many as people, and looks up their pairs.
LEASED = Statement("""
    SELECT COUNT(*) FROM assignments a [[sqlite: CROSS | postgresql: ]] JOIN pairs p ON p.id = a.pair_id
    WHERE a.state = 'leased' AND a.counted AND p.study_id = :study
""")
ARMS = Statement("SELECT COUNT(DISTINCT arm) FROM images WHERE study_id = :study")
SESSIONS = Statement("SELECT COUNT(*) FROM sessions WHERE study_id = :study AND NOT preview")


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study with its counts. `problem` says why the stored design cannot be read; the target is then None.

    pairs         task pairs that are handed out
    valid_votes   filled slots of all pairs; `leased` ones are out with annotators
    """

    slug: str
    title: str
    status: str
    pairs: int
    target_votes: int | None
    valid_votes: int
    sessions: int
    disabled: int = 0
    leased: int = 0
    problem: str | None = None

    @property
    def share(self) -> float | None:
        """Valid votes as a share of the target, at most 1; None without a target."""
        return None if not self.target_votes else min(1.0, self.valid_votes / self.target_votes)


def read_studies(tx: Tx) -> list[StudyRow]:
    """Every study with its counts, oldest first."""
    return [read_study(tx, slug)[1] for _, slug in tx.all(STUDIES)]


def studies_page(tx: Tx, *, after: int, limit: int) -> list[tuple[int, StudyRow]]:
    """The studies with a number above `after`, with their numbers."""
    return [read_study(tx, slug) for _, slug in tx.all(STUDIES_PAGE, after=after, limit=limit)]


def read_study(tx: Tx, slug: str) -> tuple[int, StudyRow]:
    """The number of a study in this database, and its counts; NotFound for an unknown slug."""
    found = tx.one(STUDY, slug=slug)
    if found is None:
        raise NotFound(f"no study {slug!r}; `qsched study list` shows them")
    number, title, status, design = found
    shown, disabled, load, ended, waiting = map(int, tx.one(PAIRS, study=number) or (0,) * 5)
    target, problem = _target(tx, number, design, shown, ended, waiting)
    leased = int(tx.scalar(LEASED, study=number))
    return int(number), StudyRow(
        slug=slug,
        title=title,
        status=status,
        pairs=shown,
        target_votes=target,
        valid_votes=load - leased,
        sessions=int(tx.scalar(SESSIONS, study=number)),
        disabled=disabled,
        leased=leased,
        problem=problem,
    )


def _target(tx: Tx, study: int, stored: str, pairs: int, ended: int, waiting: int) -> tuple[int | None, str | None]:
    """The votes that a stored design asks for, at most under a stopping rule, or why it cannot be read."""
    try:
        design = StudyDesign.model_validate_json(stored)
    except ValidationError as error:
        return None, first_problem(error)
    groups = triplet_groups(tx, study, design)
    asked = sum(group.pairs * group.votes for group in groups) if groups else pairs * design.votes_per_pair
    if design.ranking is not None and design.stopping is not None:
        # Every set that may be asked for is planned, many more than are shown. None of them waits once no arm is open.
        others = len(design.arms) - 1 if design.arms else int(tx.scalar(ARMS, study=study)) - 1
        capacity = asked + ended + (waiting * design.votes_per_pair if pairs else 0)
        return most_rankings(design.stopping, capacity, others=others, pictures=design.ranking.pictures), None
    return design.votes_total or asked + ended, None
