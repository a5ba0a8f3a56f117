"""`qsched serve`: prepare the database and the study, listen, run uvicorn."""

from __future__ import annotations

import gc
import ipaddress
import json
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from qsched.errors import InputError
from qsched.records import read_manifest
from study_server.admin.accounts import list_accounts
from study_server.app import create_app
from study_server.db.database import Database
from study_server.media.inspection import check_pictures
from study_server.owner import default_database, describe, make_settings, open_database, read_design
from study_server.running.protocol import BoundedProtocol
from study_server.running.workers import run_workers
from study_server.settings import ServerSettings
from study_server.studies.creation import create_study
from study_server.studies.yaml_file import lines_of

GRACE_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What `qsched serve` was asked for."""

    image_set: Path | None
    database_url: str | None
    host: str
    port: int
    votes_per_pair: int | None
    data: Path | None
    allow_simulated: bool
    workers: int
    secure_cookies: bool
    accel_prefix: str | None
    say: Callable[[str], None]


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
        slug = None
        if request.image_set is not None and named is not None:
            design, folder = named
            with lines_of(request.image_set):
                made = create_study(
                    database,
                    design,
                    set_folder=folder,
                    data_folder=settings.data_folder,
                    progress=lambda _: None,
                    # Nobody wrote the design of a bare image set: it goes on as it is unless an option says otherwise.
                    compare=request.image_set.is_file() or request.votes_per_pair is not None,
                )
            slug = made.slug
            request.say(describe(made))
            for line in _about_votes(database, slug):
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
    _serve(settings, sock, request.workers)


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


def _serve(settings: ServerSettings, sock: socket.socket, workers: int) -> None:
    if workers == 1:
        _run(settings, sock)
        return
    secret = {"secret_key": settings.secret_key.get_secret_value()}
    if settings.owner_key is not None:
        secret["owner_key"] = settings.owner_key.get_secret_value()
    settings_json = settings.model_dump(mode="json") | secret
    run_workers(serve_worker, json.dumps(settings_json), sock, workers=workers)


def serve_worker(settings_json: str, sock: socket.socket) -> None:
    """One worker process, with the settings that its parent hands it (through a pipe, not the environment)."""
    _run(ServerSettings.model_validate_json(settings_json), sock)


def _run(settings: ServerSettings, sock: socket.socket) -> None:
    app = create_app(settings)
    server = _Server(_server_config(app), app)
    # What the imports left is not looked through again: a full collection of it stops every answer for 40 ms. Here and
    # not in the app, whose host may build many.
    gc.collect()
    gc.freeze()
    # Each statement of the writer's thread gives the interpreter lock away and may have to wait this long for it while
    # the event loop is busy. Python's 5 ms is longer than a vote takes.
    sys.setswitchinterval(0.005)
    server.run([sock])


class _Server(uvicorn.Server):
    """Tells the application at once that it is to stop, so that pages that stay open for news do not hold it up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.stopping = True
        super().handle_exit(sig, frame)


def _server_config(app: FastAPI) -> uvicorn.Config:
    # No access log: it would hold addresses.
    return uvicorn.Config(
        app,
        access_log=False,
        server_header=False,
        log_level="info",
        timeout_keep_alive=75,
        http=BoundedProtocol,
        ws="none",
        # Half a request must not keep a server that was told to stop.
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
