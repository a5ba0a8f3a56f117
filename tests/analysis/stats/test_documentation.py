"""The documentation's example runs as it is written, and the package's table of contents is right."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import analysis.stats
import analysis.votes
from tests.analysis.conftest import draw_study

DOCS = Path(__file__).resolve().parents[3] / "docs" / "statistics.md"


def test_the_example_of_the_statistics_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = draw_study(arms=3)
    names = {"left": "left_arm", "right": "right_arm", "prompt": "prompt_id"}
    pl.DataFrame({names.get(k, k): v for k, v in study.items()}).write_parquet(tmp_path / "votes.parquet")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(example, str(DOCS), "exec"), found)
    assert found["result"].strengths[0].arm == "arm2"


@pytest.mark.parametrize("package", [analysis.stats, analysis.votes])
def test_what_a_package_exports_exists_has_words_and_is_sorted(package):
    assert list(package.__all__) == sorted(package.__all__)
    for name in package.__all__:
        assert (getattr(package, name).__doc__ or "").strip(), name


def test_the_analysis_loads_without_torch_and_without_the_server():
    import subprocess
    import sys

    heavy = "[m for m in ('torch', 'study_server') if m in sys.modules]"
    code = f"import analysis.stats, analysis.votes, sys; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
