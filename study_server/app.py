"""`create_app(settings)`: the application; its lifespan owns every resource."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from study_server.assignment.slots import expire_leases
from study_server.clock import now_ms
from study_server.db import Database, Reader
from study_server.db.database import DRIVER_ERRORS
from study_server.db.migrate import upgrade
from study_server.errors import NotSaved, StudyError
from study_server.media.store import ImageStore
from study_server.participation import routes as participation
from study_server.participation.pages import MessagePage
from study_server.resources import PACKAGE
from study_server.settings import ServerSettings
from study_server.studies.cache import ALIVE, StudyCache
from study_server.voting import pictures
from study_server.voting import routes as voting
from study_server.web.catalogue import load_catalogue
from study_server.web.context import Server, server_of
from study_server.web.headers import API_HEADERS, SecurityHeaders
from study_server.web.limits import RateLimit
from study_server.web.security import Keyring, fingerprint
from study_server.web.templating import Pages
from study_server.writing import AssignmentContexts, ProcessWriter, ThreadWriter, Writer

log = logging.getLogger(__name__)
STATIC = PACKAGE / "static"
# Words of the message page; anything else is a plain error.
MESSAGE_KINDS = {401: "session_expired", 403: "csrf", 404: "not_found", 410: "closed", 429: "rate_limited"}
# Measured with benchmarks/server.py: more threads wait for each other's interpreter lock, more processes for a core.
POSTGRESQL_THREADS = 3
POSTGRESQL_PROCESSES = 2
CHECKPOINT_SECONDS = 2.0


class StudyApp(FastAPI):
    """FastAPI whose layers the pair page's API does not pass: they cost a vote a tenth of its time."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith("/s/"):
            slug, _, rest = scope["path"].removeprefix("/s/").partition("/")
            endpoint = voting.ENDPOINTS.get(rest)
            if endpoint is not None:
                scope["app"], scope["path_params"] = self, {"slug": slug}
                response = await _endpoint_answer(Request(scope, receive, send), endpoint)
                response.raw_headers.extend(API_HEADERS)
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def _endpoint_answer(request: Request, endpoint: voting.Endpoint) -> Response:
    try:
        return await endpoint(request)
    except Exception as error:
        if not isinstance(error, StudyError):
            log.exception("%s failed", request.url.path)
        return await _answer_error(request, error)


def create_app(settings: ServerSettings) -> FastAPI:
    """The study server. Nothing is opened before its lifespan starts."""
    static_root = f"/static/{static_version(STATIC)}"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(settings)
        await asyncio.to_thread(upgrade, database)
        server = open_server(settings, database, static_root=static_root)
        app.state.server = server
        await server.writer.start()
        sweeper = asyncio.create_task(_sweep(server))
        checkpointer = asyncio.create_task(_checkpoint(server))
        try:
            yield
        finally:
            for task in (sweeper, checkpointer):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await server.writer.stop()
            server.reader.close()
            database.close()

    app = StudyApp(title="Q-Sched study server", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend([*voting.ROUTES, *pictures.ROUTES])
    app.include_router(participation.router)
    app.add_api_route("/healthz", healthz, methods=["GET"])
    app.mount(static_root, StaticFiles(directory=STATIC, check_dir=False))
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
    app.add_middleware(SecurityHeaders, versioned_static=static_root + "/")
    app.add_exception_handler(StudyError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(Exception, _answer_error)
    return app


def open_server(settings: ServerSettings, database: Database, *, static_root: str) -> Server:
    """Every resource of a process, not yet started."""
    reader = Reader(database)
    load_catalogue()
    return Server(
        settings=settings,
        database=database,
        writer=_make_writer(settings, database, reader),
        reader=reader,
        studies=StudyCache(reader),
        images=ImageStore(reader, settings.data_folder),
        keys=Keyring(settings.secret_key.get_secret_value()),
        pages=Pages(static_root=static_root, secure_cookies=settings.secure_cookies),
        calls=RateLimit(per_second=settings.requests_per_second, burst=settings.request_burst),
        arrivals=RateLimit(per_second=settings.arrivals_per_minute / 60, burst=settings.arrivals_per_minute),
    )


def _make_writer(settings: ServerSettings, database: Database, reader: Reader) -> Writer:
    if settings.writer == "process":
        return ProcessWriter(settings, processes=1 if settings.is_sqlite else POSTGRESQL_PROCESSES)
    return ThreadWriter(database, AssignmentContexts(reader), threads=1 if settings.is_sqlite else POSTGRESQL_THREADS)


def static_version(folder: Path) -> str:
    """A name that changes with the content of the static files."""
    digest = b""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest += str(path.relative_to(folder)).encode() + path.read_bytes()
    return fingerprint(digest)


async def healthz(request: Request) -> JSONResponse:
    """200 where the database answers, else 503."""
    await server_of(request).reader.run(lambda tx: tx.one(ALIVE))
    return JSONResponse({"status": "ok"})


async def _sweep(server: Server) -> None:
    """Free what absent people hold, every few seconds."""
    while True:
        await asyncio.sleep(server.settings.sweep_seconds)
        try:
            freed = await server.writer.run(expire_leases, None, now=now_ms())
        except NotSaved:
            log.warning("leases were not swept: the database does not answer")
            continue
        if freed:
            log.info("%d leases ran out", freed)


async def _checkpoint(server: Server) -> None:
    """Keep SQLite's write-ahead log short, off the path of any vote."""
    while server.settings.is_sqlite:
        await asyncio.sleep(CHECKPOINT_SECONDS)
        try:
            await asyncio.to_thread(server.database.checkpoint)
        except DRIVER_ERRORS as error:
            log.warning("the write-ahead log was not checkpointed: %s", error)


async def _answer_error(request: Request, error: Exception) -> Response:
    """An error as JSON for scripts and as a page for people."""
    if isinstance(error, StudyError):
        status, code, message = error.status, error.code, str(error)
    elif isinstance(error, HTTPException):
        status, message = error.status_code, str(error.detail)
        code = "not_found" if status == 404 else "http"
    else:
        status, code, message = 500, "error", "something went wrong on the server; try again"
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    path = request.url.path
    if "/api/" in path or path.endswith("/screening") or path == "/healthz" or path.startswith("/i/"):
        return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)
    kind = MESSAGE_KINDS.get(status, "error")
    page = server_of(request).pages.render(
        request, MessagePage(kind, detail=message if status in (422, 503) else None), status=status
    )
    page.headers.update(headers)
    return page
