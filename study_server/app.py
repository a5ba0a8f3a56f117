"""`create_app(settings)`: the application; its lifespan owns every resource."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from qsched import __version__
from qsched.records.evidence import SILENT_MS
from study_server import health
from study_server.admin import routes as admin
from study_server.admin.figures import OwnerFigures
from study_server.admin.losses import KnownLosses
from study_server.api import routes as api
from study_server.assignment.slots import expire_leases
from study_server.auditing import routes as auditing
from study_server.auditing.sealing import seal_all
from study_server.clock import follow_database, now_ms
from study_server.db import Database, Reader
from study_server.db.database import DRIVER_ERRORS
from study_server.db.migrate import upgrade
from study_server.errors import NotSaved, StudyError
from study_server.failures import answer_error, answer_unexpected
from study_server.looking import keep_looking
from study_server.media.store import ImageStore
from study_server.participation import comprehension_routes as comprehension
from study_server.participation import privacy_routes as privacy
from study_server.participation import routes as participation
from study_server.participation.arrivals import Arrivals
from study_server.resources import PACKAGE
from study_server.retention import keep_retention
from study_server.settings import ServerSettings
from study_server.studies.cache import StudyCache
from study_server.voting import pictures
from study_server.voting import routes as voting
from study_server.web.bodies import BodyLimit
from study_server.web.catalogue import load_catalogue
from study_server.web.context import Server
from study_server.web.door import Door
from study_server.web.headers import SecurityHeaders
from study_server.web.limits import HoldingLimit, RateLimit
from study_server.web.security import Keyring, fingerprint
from study_server.web.templating import Pages
from study_server.webhooks.sending import Sender
from study_server.webhooks.watching import watch
from study_server.writing import AssignmentContexts, Writer

log = logging.getLogger(__name__)
STATIC = PACKAGE / "static"
# Measured with benchmarks/server.py: one thread waits for each answer of the database (585 votes per second instead of
# 680), three wait for each other's interpreter lock and choose the same pairs (510).
POSTGRESQL_THREADS = 2
CHECKPOINT_SECONDS = 2.0
# Leases that are freed in one transaction.
LEASES_AT_ONCE = 50
# After a group of leases that are freed, or of votes that are sealed.
GROUP_PAUSE = 0.05
# Far more than machines with a time service differ.
MUCH_MS = 2_000


def create_app(settings: ServerSettings) -> FastAPI:
    """The study server. Nothing is opened before its lifespan starts."""
    static_root = f"/static/{static_version(STATIC)}"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(settings)
        # A restarted worker must not make a new, empty database if the file is gone.
        await asyncio.to_thread(upgrade, database, create=False)
        database.pin()
        await asyncio.to_thread(_follow_clock, database)
        server = open_server(settings, database, static_root=static_root)
        app.state.server = server
        app.state.owner_figures = OwnerFigures(database, server.owner_reader)
        app.state.password_turn = asyncio.Semaphore(1)
        app.state.arrivals = Arrivals()
        app.state.known_losses = KnownLosses()
        app.state.export_turn = asyncio.Semaphore(1)
        app.state.stopping = False
        await server.writer.start()
        tasks = [
            asyncio.create_task(beside)
            for beside in (
                _sweep(server),
                _seal(server),
                _checkpoint(server),
                keep_looking(server),
                app.state.arrivals.keep(server.writer),
                keep_retention(server),
                Sender(server.owner_reader, server.writer).run(),
                watch(server.owner_reader, server.writer, every_s=settings.sweep_seconds),
            )
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await server.writer.stop()
            server.reader.close()
            server.owner_reader.close()
            await app.state.owner_figures.close()
            database.close()

    # The description is published, the pages that show it are not: they would load scripts from elsewhere.
    app = FastAPI(
        title="Q-Sched study server",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect to the address with or without a slash would name the host that the request claims.
        redirect_slashes=False,
        # Nothing here exports OpenTelemetry, and looking for an exporter at each request is 4 % of a vote.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # As routes of the application itself: an included router matches the address twice.
        routes=[
            *voting.router.routes,
            *pictures.router.routes,
            *participation.router.routes,
            *comprehension.router.routes,
            *privacy.router.routes,
            *participation.calls.routes,
            *auditing.router.routes,
            *admin.routes,
            *api.routes,
            *health.router.routes,
        ],
    )
    app.mount(static_root, StaticFiles(directory=STATIC, check_dir=False))
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Door)
    app.add_middleware(SecurityHeaders, versioned_static=static_root + "/")
    for expected in (StudyError, HTTPException, RequestValidationError):
        app.add_exception_handler(expected, answer_error)
    app.add_exception_handler(Exception, answer_unexpected)
    return app


def open_server(settings: ServerSettings, database: Database, *, static_root: str) -> Server:
    """Every resource of a process, not yet started."""
    reader = Reader(database)
    load_catalogue()
    return Server(
        settings=settings,
        database=database,
        writer=Writer(database, AssignmentContexts(reader), threads=1 if settings.is_sqlite else POSTGRESQL_THREADS),
        reader=reader,
        owner_reader=Reader(database, threads=1),
        studies=StudyCache(reader),
        images=ImageStore(reader, settings.data_folder),
        keys=Keyring(settings.secret_key.get_secret_value()),
        pages=Pages(static_root=static_root, secure_cookies=settings.secure_cookies),
        calls=RateLimit(per_second=settings.requests_per_second, burst=settings.request_burst),
        arrivals=RateLimit(per_second=settings.arrivals_per_minute / 60, burst=settings.arrivals_per_minute),
        holders=HoldingLimit(most=settings.holders_per_address, seconds=SILENT_MS / 1000),
        sign_ins=RateLimit(per_second=settings.sign_ins_per_minute / 60, burst=settings.sign_ins_per_minute),
        all_sign_ins=RateLimit(per_second=2, burst=60),
    )


def static_version(folder: Path) -> str:
    """A name that changes with the content of the static files."""
    digest = b""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest += str(path.relative_to(folder)).encode() + path.read_bytes()
    return fingerprint(digest)


def _follow_clock(database: Database) -> None:
    """Go by the database's clock from now on; say so if this machine's is far off, since its own logs go by it."""
    ahead = database.clock_skew_ms()
    follow_database(ahead)
    if abs(ahead) > MUCH_MS:
        log.warning(
            "this machine's clock is %+.1f s off the database's, which is the one that counts; set it "
            "(timedatectl set-ntp true), so that logs and backups show the same times",
            ahead / 1000,
        )


async def _sweep(server: Server) -> None:
    """Free what absent people hold, every few seconds."""
    while True:
        await asyncio.sleep(server.settings.sweep_seconds)
        try:
            await asyncio.to_thread(_follow_clock, server.database)
        except DRIVER_ERRORS as error:
            log.error("leases were not swept: %s", error)
            continue
        try:
            freed = group = await server.writer.run(expire_leases, None, now=now_ms(), limit=LEASES_AT_ONCE)
            while group == LEASES_AT_ONCE:
                await asyncio.sleep(GROUP_PAUSE)
                group = await server.writer.run(expire_leases, None, now=now_ms(), limit=LEASES_AT_ONCE)
                freed += group
        except NotSaved:
            log.warning("leases were not swept: the database does not answer")
            continue
        if freed:
            log.info("%d leases ran out", freed)


async def _seal(server: Server) -> None:
    """Seal new votes every few seconds.

    Not part of the sweep, which would wait: of an older version's study a million votes may be left to seal.
    """
    while True:
        await asyncio.sleep(server.settings.sweep_seconds)
        try:
            while await server.writer.run(seal_all, None, now=now_ms()):
                await asyncio.sleep(GROUP_PAUSE)
        except NotSaved:
            log.warning("votes were not sealed: the database does not answer")


async def _checkpoint(server: Server) -> None:
    """Keep SQLite's write-ahead log short, off the path of any vote."""
    while server.settings.is_sqlite:
        await asyncio.sleep(CHECKPOINT_SECONDS)
        try:
            await asyncio.to_thread(server.database.checkpoint)
        except DRIVER_ERRORS as error:
            log.error("the write-ahead log was not checkpointed: %s", error)
