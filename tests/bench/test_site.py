"""What a folder shows, and the pages made of it: from files of the kinds that the commands write."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

from qsched.bench.compare import compare_folders
from qsched.bench.identity import begin_folder
from qsched.bench.places import Places
from qsched.bench.results import read_results
from qsched.bench.scatter import APART, Mark, scatter, spread_marks
from qsched.bench.site import write_site
from qsched.bench.spec import read_benchmark
from qsched.errors import InputError
from tests.bench.test_run import NAMES
from tests.bench.test_spec import WHOLE
from tests.conftest import write_image_set

EVIL = 'a "disc" of <b>colour</b> & light'


def pair(a: str, b: str, rate: float, log_odds: float) -> dict[str, object]:
    return {
        "arm_a": a,
        "arm_b": b,
        "n_votes": 40,
        "n_annotators": 8,
        "win_rate": rate,
        "low": rate - 0.1,
        "high": rate + 0.1,
        "log_odds": log_odds,
        "log_odds_se": 0.2,
        "log_odds_low": log_odds - 0.4,
        "log_odds_high": log_odds + 0.4,
    }


def strength(arm: str, value: float) -> dict[str, object]:
    return {"arm": arm, "log_strength": value, "quasi_se": 0.3, "df": None}


def folder_of(tmp_path: Path, *, rate: float = 0.7, log_odds: float = 0.8, name: str = "one") -> Path:
    """A benchmark of one model with three arms: the baseline beats w3a8, and the repair beats the baseline."""
    text = WHOLE.replace("  - {name: flux, backbone: tiny-flux, steps: 2}\n", "")
    source = tmp_path / "benchmark.yaml"
    source.write_text(text, encoding="utf-8")
    places = Places(tmp_path / name, read_benchmark(source))
    begin_folder(places, source=source)
    model = places.benchmark.models[0]
    write_image_set(places.images(model), prompts=4, arms=NAMES)
    at = places.study(places.benchmark.studies[0], model)
    at.report.mkdir(parents=True)
    (at.folder / "votes.csv").write_text(name)
    strata = {
        "by": "category",
        "strata": [{"name": "even", "strengths": [strength("fp32", 0.5), strength("w3a8", -0.5)]}],
    }
    pairs = [
        pair("fp32", "w3a8", rate, log_odds),
        pair("w3a8+qsched:calibrated", "fp32", 0.6, 0.4),
        pair("w3a8+qsched:calibrated", "w3a8", 0.9, 2.0),
    ]
    winrates = {"command": f"winrates {at.folder}/votes.csv", "simulated": True, "pairwise": pairs, "strata": strata}
    (at.report / "winrates.json").write_text(json.dumps(winrates))
    return places.folder


def test_rates_are_those_of_the_arm_against_the_baseline_whoever_was_named_first(tmp_path: Path) -> None:
    found = read_results(folder_of(tmp_path))
    base, stock, repaired = found.models[0].arms
    assert base.is_baseline and not base.preferences
    # winrates.json has fp32 70 % against w3a8: from w3a8's side 30 % [20 %, 40 %].
    one = stock.preferences[0]
    assert [one.rate.value, one.rate.low, one.rate.high] == pytest.approx([0.3, 0.2, 0.4])
    assert one.contrast is not None
    assert [one.contrast.value, one.contrast.low, one.contrast.high] == pytest.approx([-0.8, -1.2, -0.4])
    assert repaired.arm == "w3a8+qsched" and repaired.preferences[0].rate.value == pytest.approx(0.6)
    even = one.by_category["even"]
    half = 1.959964 * math.hypot(0.3, 0.3)
    assert even.value == pytest.approx(1 / (1 + math.e)) and even.low is not None
    assert even.low == pytest.approx(1 / (1 + math.exp(1 + half)), rel=1e-4)
    assert found.simulated_votes and found.models[0].missing == ()


def test_the_pages_stand_alone_and_show_every_pair(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    page = write_site(folder)
    text = page.read_text()
    assert "Simulated votes." in text and "30.0 %" in text and "20.0 % to 40.0 %" in text
    assert "with a 95 % interval over people" in text and "makes the same pictures" not in text
    assert "--out one/models/tiny-sdxl/images" in text and str(tmp_path) not in text, (
        "where it lies is nobody's business"
    )
    assert text.index("2. w3a8+qsched") < text.index("3. w3a8"), "ranked by win rate, after the baseline"
    for address in re.findall(r'(?:src|href)="([^"#]+)"', text):
        assert "://" not in address and (page.parent / address).is_file(), address
    for sheet in sorted((page.parent / "pairs").glob("*.html")):
        words = sheet.read_text()
        assert words.count("<section>") == 4
        for address in re.findall(r'src="([^"]+)"', words):
            assert (sheet.parent / address).is_file()
    assert json.loads((page.parent / "data" / "results.json").read_text())["models"][0]["model"] == "tiny-sdxl"
    names = [path.name for path in page.parent.rglob("*")]
    assert not [name for name in names if name.startswith("votes")], "votes are for submissions"
    assert write_site(folder) == page, "it can be made again"
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="no leaderboard"):
        write_site(folder, other)


def test_a_repair_that_changes_nothing_and_another_confidence_are_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    manifest = folder / "models" / "tiny-sdxl" / "images" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["arms"][2]["same_as"] = "w3a8"
    manifest.write_text(json.dumps(values))
    benchmark = folder / "benchmark.yaml"
    benchmark.write_text(benchmark.read_text() + "report: {confidence: 0.9}\n")
    text = write_site(folder).read_text()
    assert "w3a8+qsched makes the same pictures as w3a8: what differs" in text and "with a 90 % interval" in text


def test_a_part_that_is_missing_is_named_instead_of_shown_as_zero(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    places = Places(folder, read_benchmark(folder / "benchmark.yaml"))
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    (at.folder / "votes.csv").unlink()
    found = read_results(folder)
    assert found.models[0].missing == ("study preference has no votes yet",)
    assert all(not arm.preferences for arm in found.models[0].arms)
    assert "Not complete: study preference has no votes yet" in write_site(folder).read_text()


def test_a_comparison_has_the_difference_of_contrasts_and_refuses_the_same_votes(tmp_path: Path) -> None:
    before = folder_of(tmp_path)
    after = folder_of(tmp_path, rate=0.5, log_odds=-0.4, name="two")
    found = compare_folders(before, after)
    assert found.same_benchmark
    stock, repaired = found.changes
    d = stock.difference
    assert d is not None and d.low is not None
    assert (stock.arm, d.value) == ("w3a8", pytest.approx(1.2))
    assert d.low == pytest.approx(1.2 - 2.0 * math.hypot(0.2, 0.2)) and stock.verdict == "better than before"
    assert repaired.verdict == "no change shown" and "simulated votes" in repaired.notes
    for change in compare_folders(before, before).changes:
        assert change.difference is None and change.verdict.startswith("the same votes")


def test_a_win_rate_is_not_given_for_a_contrast_that_there_is_none_of(tmp_path: Path) -> None:
    """Both are numbers about one half and zero; whoever reads the JSON cannot know which it is."""
    before, after = folder_of(tmp_path), folder_of(tmp_path, name="two")
    path = next(after.glob("studies/*/*/report/winrates.json"))
    values = json.loads(path.read_text())
    values["pairwise"][0]["log_odds"] = None
    path.write_text(json.dumps(values))
    stock = compare_folders(before, after).changes[0]
    assert stock.before is not None and stock.after is None
    assert stock.verdict == "no interval: one of the two has no estimate"


def test_marks_of_one_place_are_set_apart_and_labels_are_escaped() -> None:
    marks = [Mark(str(n), n > 1, 7.0, 0.4 + n / 50, 0.3, 0.6) for n in range(1, 5)]
    for log in (True, False):
        placed, low, high = spread_marks(marks, log=log)
        assert min(b - a for a, b in pairwise(placed)) >= 0.9 * APART * (high - low)
        assert low <= min(placed) and max(placed) <= high
        drawing = scatter(marks, x_label="size", y_label=EVIL, log=log)
        assert "<b>" not in drawing and "&lt;b&gt;" in drawing and "NaN" not in drawing
        assert drawing == scatter(marks, x_label="size", y_label=EVIL, log=log), "the same bytes again"
