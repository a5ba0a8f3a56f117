"""`qsched serve`: prepare the database and the study, listen, run uvicorn."""

from __future__ import annotations

import gc
import ipaddress
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from uvicorn.supervisors import Multiprocess

from qsched.errors import InputError
from qsched.locations import Location
from qsched.records import read_manifest
from study_server.admin.accounts import list_accounts
from study_server.app import create_app
from study_server.db.connections import count_connections
from study_server.db.database import Database
from study_server.media.inspection import check_pictures
from study_server.owner import default_database, describe, make_settings, open_database, read_design
from study_server.running.logs import LogFormat, log_config
from study_server.running.protocol import BoundedProtocol
from study_server.settings import ServerSettings
from study_server.studies.creation import create_study
from study_server.studies.languages import language_notes
from study_server.studies.yaml_file import lines_of

GRACE_SECONDS = 15
# A vote takes the interpreter some twenty times. While an owner's page is made from thousands of answers it waits this
# long each time; Python's own 5 ms add up to 100.
SWITCH_SECONDS = 0.001
# New objects between two looks for garbage. Each look goes through the requests that are under way, and nearly nothing
# here is garbage that needs it: at Python's 700 it took 5 % of a vote's processor time.
OBJECTS_PER_COLLECTION = 20_000
# A worker that gives no sign of life for this long is ended and replaced. On a busy machine one needs many seconds to
# start; uvicorn's own 5 s would end it, again and again.
SILENT_WORKER_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The options of `qsched serve`."""

    image_set: Location | None
    database_url: str | None
    host: str
    port: int
    votes_per_pair: int | None
    data: Location | None
    allow_simulated: bool
    workers: int
    secure_cookies: bool
    accel_prefix: str | None
    say: Callable[[str], None]
    log_format: LogFormat = "text"


def launch(request: Launch) -> None:
    """Prepare the database and the study, say where it is, and serve until stopped."""
    # Read before a secret or a database is made: a mistyped path must leave nothing behind.
    named = None
    if request.image_set is not None:
        named = read_design(request.image_set, votes_per_pair=request.votes_per_pair)
        read_manifest(named[1])
    settings = make_settings(
        database_url=request.database_url or default_database(),
        data=request.data,
        allow_simulated=request.allow_simulated,
        secure_cookies=request.secure_cookies,
        accel_prefix=request.accel_prefix,
    )
    if request.workers > 1 and settings.is_sqlite:
        raise InputError(f"--workers {request.workers}: SQLite is written by one process; use --db postgresql://...")
    database = open_database(settings)
    try:
        if counted := count_connections(database, workers=request.workers):
            request.say(counted)
        slug = None
        if request.image_set is not None and named is not None:
            design, folder = named
            with lines_of(request.image_set) if isinstance(request.image_set, Path) else nullcontext():
                made = create_study(
                    database,
                    design,
                    set_folder=folder,
                    data_folder=settings.data_folder,
                    progress=lambda _: None,
                    note=request.say,
                    # Nobody wrote the design of a bare image set: it goes on as it is unless an option says otherwise.
                    compare=(isinstance(request.image_set, Path) and request.image_set.is_file())
                    or request.votes_per_pair is not None,
                )
            slug = made.slug
            request.say(describe(made))
            for line in (*language_notes(design), *_about_votes(database, slug)):
                request.say(line)
        check_pictures(database, settings.data_folder)
        if is_single_user(request, database):
            settings = settings.model_copy(update={"owner_key": SecretStr(secrets.token_urlsafe(32))})
    finally:
        database.close()
    sock = _listen(request.host, request.port)
    shown = "127.0.0.1" if request.host in ("0.0.0.0", "::") else request.host
    url = f"http://{shown}:{sock.getsockname()[1]}"
    request.say(f"open {url}/s/{slug}" if slug else f"open {url}/")
    request.say(_owner_line(settings, url))
    _serve(settings, sock, request.workers, log_config(request.log_format))


def _about_votes(database: Database, slug: str) -> list[str]:
    """Where the votes are, and how to export them. A password is never printed, so PostgreSQL's --db is left open."""
    url = database.url.render_as_string(hide_password=True)
    named = url if database.dialect == "sqlite" else "(the same database)"
    return [
        f"votes are kept in the database {url}",
        f"export them with: qsched votes export votes.parquet --study {slug} --db {named}",
    ]


def is_single_user(request: Launch, database: Database) -> bool:
    """Whether a link opens the owner's pages: nobody has an account, and only this machine reaches the server."""
    try:
        local = ipaddress.ip_address(request.host).is_loopback
    except ValueError:
        local = request.host == "localhost"
    return local and not request.secure_cookies and not list_accounts(database)


def _owner_line(settings: ServerSettings, url: str) -> str:
    if settings.owner_key is not None:
        return f"your own pages: {url}/admin/enter?key={settings.owner_key.get_secret_value()}"
    return f"your own pages: {url}/admin (qsched admin create NAME makes an account)"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}; take another --port") from error
    sock.listen(2048)
    sock.set_inheritable(True)
    return sock


def _serve(settings: ServerSettings, sock: socket.socket, workers: int, logs: dict[str, Any]) -> None:
    if workers == 1:
        uvicorn.Server(_server_config(partial(_build_app, settings), logs)).run([sock])
    else:
        config = _server_config(partial(_build_worker_app, settings), logs)
        config.workers = workers
        Multiprocess(config, [sock]).run()


def _build_worker_app(settings: ServerSettings) -> FastAPI:
    """In a worker process, which gets the settings through a pipe and not through its environment."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return _build_app(settings)


def _end_with_parent() -> None:
    """A worker that outlives its parent would hold the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _build_app(settings: ServerSettings) -> FastAPI:
    app = create_app(settings)
    # What the imports left is not looked through again: a full collection of it stops every answer for 40 ms. Here and
    # not in create_app, whose host may build many.
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    sys.setswitchinterval(SWITCH_SECONDS)
    _tell_of_stop(app)
    return app


def _tell_of_stop(app: FastAPI) -> None:
    """Let the application know at once that it is to stop, so that pages that stay open for news do not hold it up.

    uvicorn builds the app after it has set its signal handlers, which go on as they are.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        stop_server = signal.getsignal(number)

        def stop(sig: int, frame: FrameType | None, then: Any = stop_server) -> None:
            app.state.stopping = True
            if callable(then):
                then(sig, frame)

        signal.signal(number, stop)


def _server_config(build: Callable[[], FastAPI], logs: dict[str, Any]) -> uvicorn.Config:
    # No access log: it would hold addresses.
    return uvicorn.Config(
        build,
        factory=True,
        access_log=False,
        server_header=False,
        log_level="info",
        log_config=logs,
        timeout_keep_alive=75,
        http=BoundedProtocol,
        ws="none",
        # Half a request must not keep a server from stopping.
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=SILENT_WORKER_SECONDS,
    )
