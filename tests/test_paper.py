"""`make paper`: cheap figures and pages come out as quoted, and each expensive one has its command."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from tools import paper


def test_pages_are_what_their_results_make() -> None:
    assert [path.name for path, _ in paper.changed_pages()] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", paper.RUNS)
def test_cheap_figures_come_out_as_quoted(name: str) -> None:
    assert paper.run_faults(name) == []


def test_a_figure_that_comes_out_differently_is_noticed(monkeypatch) -> None:
    (line, figures), *_ = paper.RUNS["plan"]
    monkeypatch.setitem(paper.RUNS, "plan", ((line, (*figures, "458")),))
    assert paper.run_faults("plan") == [
        "run:plan does not have 458",
        f"python {line} does not print 458, which run:plan has",
    ]


@pytest.mark.parametrize("path", sorted(paper.RESULTS.iterdir()), ids=lambda path: path.name)
def test_every_result_has_a_command_and_the_command_is_there(path) -> None:
    if path in paper.PAGES or path == paper.QUOTED:
        return
    command = paper.command_of(path.name)
    assert command is not None, f"{path.name}: add it to MEASURED of tools/paper.py"
    script = re.search(r"python (?:-m )?(\S+)", command)
    assert script is not None
    file = script[1] if script[1].endswith(".py") else script[1].replace(".", "/") + ".py"
    assert (paper.ROOT / file).is_file()


def test_no_pattern_is_left_without_a_file() -> None:
    names = [path.name for path in paper.RESULTS.iterdir()]
    assert [p for p in paper.MEASURED if not any(fnmatch(name, p) for name in names)] == []
