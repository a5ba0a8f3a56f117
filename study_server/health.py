"""Monitoring: whether the server is alive, whether it is ready, and its numbers."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from qsched.locations import Location
from study_server.db import Statement, Tx
from study_server.errors import NotFound, NotSaved, PicturesMissing
from study_server.media.importing import stored_path
from study_server.media.store import study_folder
from study_server.studies.progress import StudyRow, read_studies
from study_server.web.bodies import ErrorBody, ResponseBody
from study_server.web.context import Server, server_of

router = APIRouter()
UNWELL: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody, "description": "what is wrong"}}
# One picture of each study that people may see.
ONE_PICTURE = Statement("""
    SELECT st.slug, st.data_path, i.file FROM studies st JOIN images i ON i.id =
        (SELECT MIN(id) FROM images WHERE study_id = st.id)
    WHERE st.status IN ('open', 'paused')
""")


class Health(ResponseBody):
    """The server is up, its database answers, and a picture of each study can be read."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", responses=UNWELL)
async def healthz(request: Request) -> Health:
    """200 if the database answers and the pictures are there, else 503."""
    server = server_of(request)
    rows = await server.reader.run(lambda tx: tx.all(ONE_PICTURE))
    await asyncio.to_thread(_look_at_pictures, rows, server.settings.data_folder)
    return Health()


@router.get("/readyz", responses=UNWELL)
async def readyz(request: Request) -> Health:
    """As /healthz, and the writer commits; 503 as soon as the server is asked to stop."""
    if request.app.state.stopping:
        raise NotSaved("the server is stopping")
    await server_of(request).writer.run(_nothing, None)
    return await healthz(request)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """The server's numbers for Prometheus, for whoever has the token of QSCHED_METRICS_TOKEN."""
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    server = server_of(request)
    token = server.settings.metrics_token
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token is None or not hmac.compare_digest(token.get_secret_value().encode(), given.encode()):
        raise NotFound("there is no such page")  # whoever has no token learns nothing
    began = time.perf_counter()
    studies = await server.owner_reader.run(read_studies)
    answered = time.perf_counter() - began
    text = await asyncio.to_thread(_exposition, server, studies, answered)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _nothing(_tx: Tx) -> None:
    """A transaction without effect."""


def _look_at_pictures(rows: Iterable[tuple[str, str | None, str]], data_folder: Location) -> None:
    for slug, data_path, name in rows:
        path = stored_path(study_folder(data_folder, slug, data_path), name)
        if not _is_readable(path):
            raise PicturesMissing(f"a picture of study {slug} cannot be read")


def _is_readable(path: Location) -> bool:
    if isinstance(path, Path):
        return os.access(path, os.R_OK)
    try:
        return path.is_file()
    except OSError:
        return False


def _exposition(server: Server, studies: list[StudyRow], answered: float) -> bytes:
    from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"qsched_{name}", words, labels, registry=registry)

    gauge("writer_waiting", "jobs that wait for the writer").set(server.writer.waiting)
    gauge("database_seconds", "time in which the database counted the studies").set(answered)
    valid = gauge("valid_votes", "valid votes", "study")
    target = gauge("target_votes", "valid votes that the design asks for", "study")
    leased = gauge("leased_pairs", "pairs that are out with annotators", "study")
    disabled = gauge("pairs_taken_out", "pairs that are not handed out", "study")
    sessions = gauge("sessions", "sessions", "study")
    status = gauge("study_open", "1 for an open study", "study")
    for study in studies:
        valid.labels(study.slug).set(study.valid_votes)
        target.labels(study.slug).set(study.target_votes or 0)
        leased.labels(study.slug).set(study.leased)
        disabled.labels(study.slug).set(study.disabled)
        sessions.labels(study.slug).set(study.sessions)
        status.labels(study.slug).set(study.status == "open")
    return generate_latest(registry)
