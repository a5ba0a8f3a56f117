"""The owner's commands start without the web server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from study_server.db.database import Database
from study_server.studies.ownership import list_studies

WEB = ("uvicorn", "fastapi", "starlette", "jinja2", "alembic")
SCRIPT = """
import sys
from qsched.cli.main import main
sys.argv = ["qsched", "study", "list", "--db", {url!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(len(sys.modules), *(name for name in {web!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_study_list_imports_neither_the_web_server_nor_the_migrations(database: Database, settings, make_study):
    make_study()
    assert [row.slug for row in list_studies(database)] == ["s"]
    script = SCRIPT.format(url=settings.database_url, web=WEB)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    count, *imported = done.stderr.split()
    assert imported == []
    # 928 modules when `qsched study list` went through the web server; SQLAlchemy, pydantic and rich are what is left.
    assert int(count) < 900
    assert "A test" in done.stdout
