"""Every measured number of README and docs has its source, and a changed digit is noticed."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import coverage
from tools import quoted_numbers as quoted

MARKED = [
    block for page in quoted.pages() for block in quoted.blocks(page, page.read_text("utf-8")) if block.mark is not None
]
PAGE = quoted.ROOT / "docs" / "made-up.md"
RUN = {"speed": {"command": "qsched bench", "date": "2026-11-29", "words": "one machine", "numbers": [2.5, "0.81"]}}


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A page of one's own as the only one, with a file of results and an entry of quoted.json; gives its faults."""
    (tmp_path / "quoted.json").write_text(json.dumps(RUN), "utf-8")
    (tmp_path / "bench.json").write_text(json.dumps({"seconds": 0.0824, "share": 0.953}), "utf-8")
    monkeypatch.setattr(quoted, "RESULTS", tmp_path)
    monkeypatch.setattr(quoted, "QUOTED", tmp_path / "quoted.json")
    monkeypatch.setattr(quoted, "pages", lambda: [PAGE])
    return lambda text: quoted.faults({PAGE: text})


def stamped(text: str) -> str:
    """The text with a fresh stamp in its first mark."""
    (block,) = quoted.blocks(PAGE, text)
    return text.replace(" -->", f"; {quoted.stamp_of(block)} -->", 1)


def test_every_measured_number_has_its_source_and_no_source_has_changed():
    assert quoted.faults() == []


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_changed_digit_of_any_marked_block_is_noticed(place):
    assert len(MARKED) > 100
    for block in MARKED:
        digits = list(re.finditer(r"\d", block.text))
        at = digits[0 if place == "first" else -1].start()
        changed = block.text[:at] + str((int(block.text[at]) + 1) % 10) + block.text[at + 1 :]
        other = quoted.Block(block.page, block.line, changed, block.sources, block.stamp, block.mark)
        assert quoted.stamp_of(other) != block.stamp, block.place


def test_every_run_is_quoted_and_says_what_was_done_when_and_on_what():
    used = {source.removeprefix("run:") for block in MARKED for source in block.sources if source.startswith("run:")}
    runs = json.loads(quoted.QUOTED.read_text("utf-8"))
    assert set(runs) == used
    for name, run in runs.items():
        assert set(run) == {"command", "date", "words", "numbers"}, name
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", run["date"]) and run["command"] and run["words"] and run["numbers"], (
            name
        )


def test_a_measured_number_without_a_source_is_a_fault(made_up):
    assert made_up("# Speed\nA vote takes 2.5 s.\n") == ["docs/made-up.md:2: measured numbers without a source"]


def test_numbers_with_their_source_and_stamp_are_no_fault(made_up):
    assert made_up(stamped("<!-- numbers: run:speed -->\nA vote takes 2.5 s, in 81 % of cases.\n")) == []
    assert made_up(stamped("<!-- numbers: bench.json -->\n| | ms |\n|---|---|\n| ours | 82.4 |\n")) == []


def test_a_number_that_its_source_does_not_have_is_a_fault_even_if_stamped(made_up):
    (fault,) = made_up(stamped("<!-- numbers: bench.json -->\nIt takes 82.4 ms and covers 95.4 %.\n"))
    assert fault == "docs/made-up.md:2: 95.4: not in bench.json"


@pytest.mark.parametrize("source", ["no-such.json", "run:no-such"])
def test_a_source_that_does_not_exist_is_a_fault(made_up, source):
    (fault,) = made_up(f"<!-- numbers: {source}; 01234567 -->\nIt takes 2.5 s.\n")
    assert "its source cannot be read" in fault


def test_a_new_run_of_the_benchmark_makes_the_stamp_stale(made_up, tmp_path):
    page = stamped("<!-- numbers: bench.json -->\nIt covers 95 %.\n")
    (tmp_path / "bench.json").write_text(json.dumps({"share": 0.954}), "utf-8")
    (fault,) = made_up(page)
    assert "changed since it was stamped" in fault


@pytest.mark.parametrize(
    "text",
    [
        "Python 3.11 or newer, nginx 1.28 and WCAG 2.2, on 2026-11-29.",
        "FLUX.1 [schnell] and arXiv 2509.01624, listening on 127.0.0.1.",
        "Keys can be switched off (2.1.4), see `--share 0.95`.",
        "    qsched power --win-rate 0.58",
        "```\ntook 2.5 s\n```",
        "Three questions, 12 people and 2 arms.",
    ],
)
def test_versions_dates_papers_and_code_are_not_measurements(made_up, text):
    assert made_up(text + "\n") == []


@pytest.mark.parametrize(
    "text", ["It covers .95 of them.", "814 votes per second", "1,161 MiB", "97 % of studies", "82 µs"]
)
def test_decimals_shares_times_and_sizes_are_measurements(made_up, text):
    assert len(made_up(text + "\n")) == 1


def test_the_page_of_coverage_is_made_from_its_results():
    made = coverage.document(json.loads((quoted.RESULTS / "coverage.json").read_text("utf-8")))
    page = (quoted.ROOT / "docs" / "coverage.md").read_text("utf-8")
    assert re.sub(r"; [0-9a-f]{8} -->", " -->", page) == made
