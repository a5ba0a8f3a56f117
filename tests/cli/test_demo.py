"""The newcomer's path in small: what `make demo` runs, with fewer annotators."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from qsched.cli.demo import DemoError
from qsched.cli.main import app


@pytest.mark.slow
def test_the_demo_ends_with_a_report_that_says_its_votes_are_simulated(tmp_path):
    small = ["--out", str(tmp_path), "--annotators", "6", "--votes-each", "12"]
    done = CliRunner().invoke(app, ["demo", *small])
    assert done.exit_code == 0, done.output[-3000:]
    report = json.loads((tmp_path / "demo-report" / "winrates.json").read_text())
    assert {row["arm"] for row in report["strengths"]} == {"fp32", "w3a8", "w3a8+qsched", "w3a8+qsched-bias"}
    assert sum(row["log_strength"] for row in report["strengths"]) == pytest.approx(0, abs=1e-9)
    page = (tmp_path / "demo-report" / "report.html").read_text()
    assert "simulated" in page.lower()
    assert "sensitivity_median" in page
    assert (tmp_path / "demo" / "contact_sheet.html").exists()
    certificate = json.loads((tmp_path / "demo-certificate" / "certificate.json").read_text())
    assert certificate["status"] == "registered"
    assert [clause["name"] for clause in certificate["clauses"]] == ["mean", "content"]
    assert certificate["simulated_votes"] == certificate["votes_used"] > 100
    assert "Visible difference from the reference" in page
    assert certificate["clauses"][0]["finding"].split(",")[0] in page


def test_a_second_demo_does_not_delete_the_votes_of_people(tmp_path):
    from pydantic import SecretStr

    from study_server.db import Database
    from study_server.db.migrate import upgrade
    from study_server.settings import ServerSettings

    database = tmp_path / "demo.db"
    url = f"sqlite:///{database}"
    opened = Database(ServerSettings(database_url=url, data_folder=tmp_path, secret_key=SecretStr("s" * 40)))
    upgrade(opened)
    with opened.transaction() as tx:
        tx.command(
            "INSERT INTO studies (id, uid, slug, title, status, design, set_id, set_path, created_ms) "
            "VALUES (1, 'u', 's', 't', 'open', '{}', 'x', 'x', 0)"
        )
        tx.command("INSERT INTO annotators (id, study_id, pseudonym, created_ms) VALUES (1, 1, 'a', 0)")
        tx.command(
            "INSERT INTO sessions (study_id, annotator_id, pseudonym, simulated, state, consent_version, started_ms, "
            "plan) VALUES (1, 1, 'b', 0, 'active', '1', 0, '')"
        )
    opened.close()
    before = database.read_bytes()
    error = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)]).exception
    assert isinstance(error, DemoError)
    assert "1 sessions of people" in str(error) and "another --out" in str(error)
    assert database.read_bytes() == before
