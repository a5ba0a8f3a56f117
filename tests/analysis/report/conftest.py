"""Small reports for the tests: made once, looked at by many."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.report import Findings, ReportSettings, find, write_report
from analysis.stats import EstimateSettings
from analysis.votes import read_votes
from tests.analysis.report.simulated import simulated_votes, write_image_set

QUICK = EstimateSettings(resamples=200)


@dataclass(frozen=True)
class Report:
    """A written report: its findings, its folder, and its JSON."""

    found: Findings
    folder: Path
    votes: pl.DataFrame

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "winrates.json").read_text(encoding="utf-8")))

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")


MakeReport = Callable[..., Report]


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> MakeReport:
    """make_report(votes, **settings of ReportSettings) -> Report; without figures, which take most of its time, unless
    they are asked for with `drawn`."""

    def make(votes: pl.DataFrame, *, drawn: bool = False, **choices: Any) -> Report:
        folder = tmp_path_factory.mktemp("report")
        path = folder / "votes.parquet"
        votes.write_parquet(path)
        settings = ReportSettings(**{"estimate": QUICK, "formats": ("svg",), **choices})
        found = find(read_votes(path, allow_mixed=True), settings)
        with pytest.MonkeyPatch.context() as patch:
            if not drawn:
                patch.setattr("analysis.report.write.draw_all", lambda sections, **_: {s.anchor: () for s in sections})
            write_report(found, folder / "out")
        return Report(found, folder / "out", votes)

    return make


@pytest.fixture(scope="session")
def report(make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A whole report with categories, pictures and sizes, on simulated annotators who state so."""
    votes = simulated_votes(simulated=True)
    sizes = {"fp32": 23_000_000, "w4a8": 6_100_000, "w4a8+qsched": 6_100_000, "w4a4": 5_000_000}
    folder = write_image_set(tmp_path_factory.mktemp("set") / "set", votes, sizes=sizes)
    return make_report(
        votes, drawn=True, by="category", baseline="fp32", image_set=folder, simulation={"annotators": 24}
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that writes a report of its own is slow: with figures it takes one to three seconds of processor time."""
    for item in items:
        if isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents:
            writes = "make_report" in inspect.signature(item.function).parameters
            if writes or "write_report" in item.function.__code__.co_names:
                item.add_marker(pytest.mark.slow)
