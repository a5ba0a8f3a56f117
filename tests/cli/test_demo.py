"""The newcomer's path in small: what `make demo` runs, with fewer annotators."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_ends_with_a_report_that_says_its_votes_are_simulated(tmp_path):
    small = ["--out", str(tmp_path), "--annotators", "6", "--votes-each", "12"]
    command = [sys.executable, "-m", "qsched", "demo", *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((tmp_path / "demo-report" / "winrates.json").read_text())
    assert {row["arm"] for row in report["strengths"]} == {"fp32", "w3a8", "w3a8+qsched"}
    assert sum(row["log_strength"] for row in report["strengths"]) == pytest.approx(0, abs=1e-9)
    page = (tmp_path / "demo-report" / "report.html").read_text()
    assert "simulated" in page.lower()
    assert "sensitivity_median" in page
    assert (tmp_path / "demo" / "contact_sheet.html").exists()
