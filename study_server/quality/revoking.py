"""Take back personal links that nobody has used: a sheet that was lost, a person who is not invited any more.

Links are stored nowhere; a revoked one is stored by its name, which the owner's list has. A link that was used belongs
to a person with answers, whom an owner excludes or forgets.

Whose data were deleted while their votes stay must not vote again as somebody else: a hash of their name on the
platform is kept beside the revoked links, and nothing joins it to the votes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qsched.records.owner_api import LINK_NAME, MOST_LINKS
from study_server.assignment.records import AssignmentContext
from study_server.db import Statement, Tx
from study_server.errors import BadRequest
from study_server.studies.actions import record_action
from study_server.studies.study import Study

USED = Statement("""
    SELECT 1 FROM platform_identities WHERE study_id = :study AND platform = 'personal' AND external_id = :name
""")
REVOKE = Statement("""
    INSERT INTO revoked_links (study_id, name, revoked_ms) VALUES (:study, :name, :now)
    ON CONFLICT (study_id, name) DO NOTHING RETURNING name
""")
NAMES = Statement("SELECT platform, external_id FROM platform_identities WHERE annotator_id = :annotator")
IS_REVOKED = Statement("SELECT 1 FROM revoked_links WHERE study_id = :study AND name = :name")


@dataclass(frozen=True, slots=True)
class Revoked:
    """How many links were revoked now, were used already and go on, or were revoked before."""

    revoked: int
    used: int
    before: int


def link_names(lines: Iterable[str]) -> list[str]:
    """The names in the lines of a list or of links.csv (name,link); BadRequest for a line without one."""
    names = []
    for line in lines:
        first = line.partition(",")[0].strip()
        if not first or first == "name":
            continue
        if not re.fullmatch(LINK_NAME, first):
            raise BadRequest(f"{first[:80]!r} is not the name of a personal link (12 letters and digits)")
        names.append(first)
    if not 1 <= len(names) <= MOST_LINKS:
        raise BadRequest(f"{len(names)} names; give 1 to {MOST_LINKS}, one per line, as links.csv has them")
    return list(dict.fromkeys(names))


def revoke_links(tx: Tx, context: AssignmentContext, *, names: Sequence[str], by: str) -> Revoked:
    """From now on nobody can begin with these links; those that were used go on."""
    study = context.study
    used = revoked = 0
    for name in names:
        if tx.one(USED, study=study.id, name=name) is not None:
            used += 1
        elif tx.one(REVOKE, study=study.id, name=name, now=context.now) is not None:
            revoked += 1
    if revoked:
        record_action(tx, "personal links revoked", actor=by, study=study.slug, detail=str(revoked))
    return Revoked(revoked, used, len(names) - used - revoked)


def record_links_made(tx: Tx, *, by: str, slug: str, count: int) -> None:
    """Note in the log that personal links were made: how many, not which."""
    record_action(tx, "personal links made", actor=by, study=slug, detail=str(count))


def is_revoked(tx: Tx, *, study_id: int, name: str) -> bool:
    """Whether an owner took back the link of this name."""
    return tx.one(IS_REVOKED, study=study_id, name=name) is not None


def remember_withdrawn(tx: Tx, context: AssignmentContext, *, annotator: int) -> None:
    """From now on nobody can begin by the names that the platform has for this person."""
    for platform, name in tx.all(NAMES, annotator=annotator):
        mark = _mark(context.study, platform, name)
        tx.run(REVOKE, study=context.study.id, name=mark, now=context.now)


def has_withdrawn(tx: Tx, study: Study, *, platform: str, name: str) -> bool:
    """Whether the data of the person of this name were deleted while their votes stayed."""
    return is_revoked(tx, study_id=study.id, name=_mark(study, platform, name))


def _mark(study: Study, platform: str, name: str) -> str:
    """No name of a link: those have 12 letters and digits."""
    return "withdrawn " + hashlib.sha256(f"{study.uid}/{platform}/{name}".encode()).hexdigest()
