"""GET /s/{slug}/seals: the heads of the hash chain, so that anyone can check the study against them later."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request

from qsched.records.evidence import sha256
from study_server.auditing import queries
from study_server.auditing.sealing import read_seals
from study_server.web.bodies import ResponseBody
from study_server.web.calls import ERRORS
from study_server.web.context import server_of

router = APIRouter()
MOST_SEALS = 1_000


class SealAnswer(ResponseBody):
    """The head after the first `votes` votes, and since when it is fixed."""

    votes: int
    head: str
    at: str


class SealsAnswer(ResponseBody):
    """The newest seals, and the hash of what was preregistered before the first vote."""

    study: str
    preregistration_sha256: str | None
    seals: tuple[SealAnswer, ...]


@router.get("/s/{slug}/seals", responses={code: ERRORS[code] for code in (404, 503)})
async def seals(slug: str, request: Request) -> SealsAnswer:
    """Keep a copy: a study that is opened later must agree with every head that was published."""
    server = server_of(request)
    study = await server.studies.get(slug)
    row = await server.reader.run(lambda tx: tx.one(queries.PUBLIC_CHAIN, study=study.id))
    found = await server.reader.run(lambda tx: read_seals(tx, study.id, newest=MOST_SEALS))
    preregistration = None if row is None or row[0] is None else sha256(row[0])
    return SealsAnswer(
        study=study.slug,
        preregistration_sha256=preregistration,
        seals=tuple(
            SealAnswer(
                votes=seal.votes,
                head=seal.head,
                at=datetime.fromtimestamp(seal.sealed_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            )
            for seal in found
        ),
    )
