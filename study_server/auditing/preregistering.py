"""Preregister a study before its first vote: design, pictures, arms and plan of analysis, fixed by their hashes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from qsched import __version__
from qsched.records.evidence import arms_commitment, chain_start, sha256
from study_server.assignment.records import AssignmentContext
from study_server.auditing import queries
from study_server.auditing.sealing import open_chain
from study_server.db import Tx
from study_server.errors import BadRequest, Conflict
from study_server.studies.actions import record_action

#: Options of winrates that name files or outputs: a plan is about the analysis, not about where things are.
#: In the order of queries.TRIPLETS, after the pair's key.
TRIPLET_FIELDS = (
    "reference_arm",
    "reference_sha256",
    "presentation",
    "shown_reference_sha256",
    "shown_first_sha256",
    "shown_second_sha256",
    "factor",
    "rate_hz",
    "crop_x",
    "crop_y",
    "crop_width",
    "crop_height",
    "clipped",
)
#: In the order of queries.RANKED_SETS, after the set's key.
SET_FIELDS = ("third_arm", "third_sha256", "fourth_arm", "fourth_sha256")
_NOT_IN_A_PLAN = ("--out", "--simulation", "--image-set", "--certificate", "--looks")


def preregister(tx: Tx, context: AssignmentContext, *, plan: str, by: str, arms: Sequence[str] = ()) -> str:
    """The text of preregistration.json; Conflict if the study has votes or is preregistered already.

    `plan` are the options of `qsched winrates`, as on a command line. What is published is the text's SHA-256, or the
    text itself: it names no arm but those that the plan names, `arms`; BadRequest if the study lacks one.
    """
    study = context.study
    chain = open_chain(tx, study.id)
    if chain.preregistration is not None:
        raise Conflict(f"study {study.slug} is preregistered already (sha256 {sha256(chain.preregistration)})")
    if tx.one(queries.ANY_VOTE, study=study.id) is not None:
        raise Conflict(f"study {study.slug} has votes; a preregistration fixes what is analysed before the first one")
    row = tx.one(queries.DESIGN, study=study.id)
    assert row is not None
    slug, uid, set_id, design = row
    if study.design.fidelity is not None and plan:
        raise BadRequest(
            f"study {slug} is a fidelity study, whose plan is in its design (clauses and trap rule): leave --plan out"
        )
    pairs = read_pairs(tx, study.id)
    sides = ("first_arm", "second_arm", "third_arm", "fourth_arm")
    known = sorted({pair[side] for pair in pairs for side in sides if side in pair})
    for arm in arms:
        if arm not in known:
            raise BadRequest(f"the plan names arm {arm!r}, which study {slug} lacks; it has {', '.join(known)}")
    document = {
        "schema_version": 1,
        "study": slug,
        "uid": uid,
        "preregistered_at": datetime.fromtimestamp(context.now / 1000, UTC).isoformat(timespec="milliseconds"),
        "software": f"qsched {__version__}",
        "set_id": set_id,
        "design_sha256": sha256(design),
        "pairs": len(pairs),
        "arms_commitment": arms_commitment(chain.salt, pairs),
        "salt_sha256": sha256(chain.salt),
        "chain_start": chain_start(chain.salt),
        "plan": read_plan(plan),
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    tx.run(queries.REGISTER, study=study.id, preregistration=text)
    record_action(tx, "preregistered", actor=by, study=slug, detail=f"sha256 {sha256(text)}")
    return text


def read_plan(plan: str) -> list[str]:
    """The options of a plan; BadRequest for one that names files."""
    try:
        words = shlex.split(plan)
    except ValueError as error:
        raise BadRequest(f"the plan {plan!r} is not a command line: {error}") from error
    if words and not words[0].startswith("-"):
        raise BadRequest(f"the plan begins with {words[0]!r}; write the options of winrates only, as '--baseline fp32'")
    for word in words:
        if word.partition("=")[0] in _NOT_IN_A_PLAN:
            raise BadRequest(f"the plan holds {word}, which names a file; leave it out")
    return words


def read_pairs(tx: Tx, study_id: int) -> list[dict[str, Any]]:
    """Every pair with its arms and pictures; a triplet also with its reference and how it is shown, a set with the
    other pictures that are ranked."""
    names = ("pair_id", "prompt_id", "sample_index", "pool", "first_arm", "second_arm", "first_sha256", "second_sha256")
    triplets = {
        key: {name: value for name, value in zip(TRIPLET_FIELDS, row, strict=True) if value is not None}
        for key, *row in tx.all(queries.TRIPLETS, study=study_id)
    }
    sets = {
        key: {name: value for name, value in zip(SET_FIELDS, row, strict=True) if value is not None}
        for key, *row in tx.all(queries.RANKED_SETS, study=study_id)
    }
    return [
        dict(zip(names, row, strict=True)) | triplets.get(row[0], {}) | sets.get(row[0], {})
        for row in tx.all(queries.PAIRS, study=study_id)
    ]
