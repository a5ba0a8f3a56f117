"""schemathesis reads the published description and tries what it allows and what it forbids, on both databases.

No answer may be a 5xx, or another status, type or shape than described. For more than the short run of the suite:

    QSCHED_FUZZ_EXAMPLES=300 pytest tests/load/test_fuzzing.py
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from study_server.admin import exporting
from study_server.api.tokens import create_token
from study_server.db.database import Database
from study_server.db.migrate import upgrade
from study_server.export import export_votes
from study_server.settings import ServerSettings
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from tests.conftest import write_image_set
from tests.study_server.conftest import SECRET, postgres  # noqa: F401 - a fixture
from tests.study_server.live import listening
from tests.study_server.visiting import Visitor, query

pytestmark = [pytest.mark.load, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("QSCHED_FUZZ_EXAMPLES", "2"))
# Not asked for: a rule between keys (exactly one of two names, a design that hangs together) is not in the description,
# so what fits it may still be refused, with 409 or 422.
UNASKED = "positive_data_acceptance"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def settings(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")()
    return ServerSettings(
        database_url=url,
        data_folder=tmp_path / "images",
        secret_key=SECRET,
        allow_simulated=True,
        requests_per_second=1_000_000,
        request_burst=1_000_000,
    )


async def prepare(address: str) -> dict[str, Any]:
    """Two annotators with some votes, and what the second one's page knows."""
    async with httpx.AsyncClient(base_url=address) as first, httpx.AsyncClient(base_url=address) as second:
        await (await Visitor(first, "owned").enter("?PROLIFIC_PID=anna&SESSION_ID=one")).vote_all(limit=4)
        visitor = await Visitor(second, "voted").enter()
        state = await visitor.begin()
        cookies = dict(second.cookies)
    return {
        "csrf": visitor.csrf,
        "cookies": cookies,
        "tab_token": state["tab_token"],
        "assignment": state["queue"][0]["token"],
    }


async def export_here(database: Database, *words: str) -> None:
    """What an export's process does, without the seconds that a process takes to start."""
    _, _, file, _, slug = words
    await asyncio.to_thread(export_votes, database, study=slug, path=Path(file))


def test_every_answer_is_one_that_the_description_allows(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "run_command", export_here)
    folder = write_image_set(tmp_path / "set", prompts=4, size=16)
    database = Database(settings)
    upgrade(database)
    for slug in ("owned", "voted"):
        design = StudyDesign(slug=slug, title="A study", images=str(folder), votes_per_pair=2)
        create_study(database, design, set_folder=folder, data_folder=settings.data_folder, progress=lambda _: None)
    token, _ = create_token(database, "fuzz", scopes=["read", "manage", "people"], days=1)
    with listening(settings) as address:
        known = asyncio.run(prepare(address))
        known["pseudonym"] = query(database, "SELECT pseudonym FROM annotators ORDER BY id")[0][0]
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "run",
                f"{address}/openapi.json",
                "--phases=coverage,fuzzing",
                f"--max-examples={EXAMPLES}",
                "--seed=1",
                "--no-shrink",
                "--continue-on-failure",
                "--checks=all",
                f"--exclude-checks={UNASKED}",
                "--header",
                f"Authorization: Bearer {token}",
                "--request-timeout=60",
            ],
            cwd=tmp_path,  # it keeps what it found in the folder in which it runs
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.load.fuzzing_hooks",
                "QSCHED_FUZZ_KNOWN": json.dumps(known),
            },
            capture_output=True,
            text=True,
            timeout=3_600,
            check=False,
        )
    database.close()
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None and int(cases[1]) > 200, done.stdout[-3_000:]
