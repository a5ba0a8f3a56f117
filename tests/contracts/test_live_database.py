"""The report from the database of a server that is running: SQLite and PostgreSQL, as a user would ask for it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from analysis import winrates
from tests.study_server.visiting import Visitor, query, serving


@pytest.mark.slow
async def test_the_report_reads_the_votes_of_a_running_server(
    settings, make_study, database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    make_study(votes_per_pair=3)
    out = tmp_path / "report"
    # A password in the URL must reach neither the page nor the files nor the shell.
    url = settings.database_url
    asked = url if isinstance(url, str) else url.get_secret_value()
    if asked.startswith("postgresql"):
        asked = re.sub(r"//([^:@/]+)(:[^@/]*)?@", r"//\1:s3cret-word@", asked)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "winrates.py",
            asked,
            "--out",
            str(out),
            "--resamples",
            "100",
            "--formats",
            "svg",
            "--min-response-ms",
            "0",
            "--sequential",
            "--penalty",
            "ridge:0.1",
        ],
    )

    def choose(assignment: dict[str, str]) -> str:
        return ("left", "right", "tie")[sum(map(ord, assignment["token"])) % 3]

    async with serving(settings) as browser:
        for number in range(3):
            visitor = await Visitor(browser()).enter(f"?PROLIFIC_PID=person{number}")
            await visitor.vote_all(choose)
        with pytest.raises(SystemExit) as stop:
            await asyncio.to_thread(winrates.main)
    assert not stop.value.code, capsys.readouterr().err
    stored = query(database, "SELECT COUNT(*) FROM votes_table WHERE kind = 'task'")[0][0]
    document = json.loads((out / "winrates.json").read_text(encoding="utf-8"))
    assert document["n_votes"] == stored > 0 and document["n_annotators"] == 3
    assert document["study"] == "s" and len(document["sequential"]) >= 1
    shown = capsys.readouterr()
    for text in (shown.out, shown.err, (out / "report.html").read_text(encoding="utf-8"), json.dumps(document)):
        assert "s3cret-word" not in text and "person1" not in text
