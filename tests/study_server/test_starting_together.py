"""Processes that start at the same moment on one database: one migrates and imports, the others find it done."""

from __future__ import annotations

import subprocess
import sys

import pytest

from study_server.db.database import Database
from study_server.db.lock import exclusive_setup
from tests.study_server.visiting import query

START = """
import sys
from pathlib import Path
from pydantic import SecretStr
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.settings import ServerSettings
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign

url, images, data = sys.argv[1:]
database = Database(ServerSettings(database_url=url, data_folder=Path(data), secret_key=SecretStr("s" * 40)))
sys.stdin.readline()
upgrade(database)
design = StudyDesign(slug="s", title="t", images=images)
made = create_study(database, design, set_folder=Path(images), data_folder=Path(data), progress=lambda n: None)
print(made.created, made.pairs)
"""


@pytest.fixture
def empty_url(request, tmp_path):
    """A database without tables: on PostgreSQL not a copy of the migrated one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url = request.getfixturevalue("postgres")()
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.mark.parametrize("empty_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_four_servers_that_start_together_make_one_whole_study(empty_url, small_image_set, tmp_path):
    command = [sys.executable, "-c", START, empty_url, str(small_image_set), str(tmp_path / "data")]
    servers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    results = [server.communicate("go\n", timeout=120) for server in servers]
    assert [server.returncode for server in servers] == [0] * 4, results
    assert sorted(out.split()[0] for out, _ in results) == ["False", "False", "False", "True"]
    assert {out.split()[1] for out, _ in results} == {"18"}
    files = [path for path in (tmp_path / "data").rglob("*.png")]
    assert len(files) == 18


def test_the_lock_ends_with_a_killed_process(database, settings):
    code = START.split("database = ")[0] + (
        "from study_server.db.lock import exclusive_setup\n"
        "import os, signal\n"
        'd = Database(ServerSettings(database_url=url, data_folder=Path(data), secret_key=SecretStr("s" * 40)))\n'
        "with exclusive_setup(d):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, settings.database_url, "x", "x"]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    with exclusive_setup(database):
        assert isinstance(database, Database) and query(database, "SELECT COUNT(*) FROM studies") == [(0,)]
