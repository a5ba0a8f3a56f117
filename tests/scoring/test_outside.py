"""Scorers from outside the package: the documented example, entry points, and contracts that are not kept."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.scoring import ScoringError, load_scorer, outside
from qsched.scoring.registry import check_names, load_metrics, parse_weights
from tests.conftest import write_image_set

DOCS = Path(__file__).parents[2] / "docs" / "add-a-scorer.md"
BROKEN = """
import numpy as np
from qsched.scoring import ScorerInfo
from qsched.scoring.protocol import BatchedScorer
from qsched.scoring.reference_metrics import ReferenceMetric

def info(name="mine", kind="image"):
    return ScorerInfo(name, kind, "1", "0..1", True, None, 4, "cpu")

class Short:
    info = info()
    def score(self, images, prompts, *, names=None):
        return [0.5]
    def count_unread(self, prompts):
        return 0

class Nameless(Short):
    info = "mine"

class Thief(Short):
    info = info("clipscore")

class Undefined(Short):
    def score(self, images, prompts, *, names=None):
        return [float("nan") for _ in images]

class NoScorer:
    info = info()

class Weighed(Short):
    def __init__(self, weights="none"):
        self.info = info(f"weighed {weights}")

class Fails(Short):
    def __init__(self):
        raise OSError("no such weights")

class Brighter(ReferenceMetric):
    def __init__(self):
        self.info = info("brighter", "reference")
    def _score_pair(self, image, reference):
        return float(np.asarray(image, float).mean() - np.asarray(reference, float).mean())
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The class of the page, as a reader would save it."""
    code = re.search(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "colourful.py").write_text(code[1], encoding="utf-8")
    return tmp_path / "colourful.py"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    return tmp_path / "broken.py"


def test_the_example_of_the_page_scores_an_image_set(example, tmp_path):
    folder = write_image_set(tmp_path / "set", arms=("a", "b"), size=16)
    done = CliRunner().invoke(
        app, ["score", str(folder), "--metrics", f"{example}:Colourful,psnr", "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "out" / "metrics.json").read_text())
    (info,) = [one for one in table["scorers"] if one["name"] == "colourful"]
    assert re.fullmatch(r"1; colourful\.py sha256 [0-9a-f]{16}", info["version"])
    grey, red = Image.new("RGB", (8, 8), (90, 90, 90)), Image.new("RGB", (8, 8), (255, 0, 0))
    scores = load_scorer(f"{example}:Colourful").score([grey, red], ["", ""])
    assert scores == [0.0, pytest.approx(0.3 * np.hypot(255, 127.5))]


def test_a_metric_against_the_twin_goes_into_the_gate_under_its_own_name(broken, tmp_path):
    folder = write_image_set(tmp_path / "set", arms=("a", "b"), size=16)
    done = CliRunner().invoke(app, ["gate", str(folder), "--limit", f"{broken}:Brighter>=-50", "--share", "0.5"])
    assert done.exit_code == 0, done.output
    assert "6 of 6 prompts are within brighter >= -50" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Nameless", "its `info` is str, not a qsched.scoring.ScorerInfo"),
        ("Thief", "calls itself 'clipscore', the name of one of ours"),
        ("NoScorer", "derive it from BatchedScorer"),
        ("Fails", "cannot be made: OSError: no such weights"),
        ("Absent", "has no class or function 'Absent'"),
        ("Brighter", "here a scorer of pictures and prompts is needed"),
    ],
)
def test_what_is_not_a_scorer_is_refused_in_words(broken, name, words):
    with pytest.raises(InputError, match=re.escape(words)):
        load_scorer(f"{broken}:{name}")


def test_what_cannot_be_found_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match=r"gone\.py does not exist"):
        load_scorer(f"{tmp_path / 'gone.py'}:Class")
    with pytest.raises(InputError, match="nowhere_at_all cannot be imported"):
        load_scorer("nowhere_at_all:Class")
    (tmp_path / "bad.py").write_text("import (")
    with pytest.raises(InputError, match="does not load: SyntaxError"):
        load_scorer(f"{tmp_path / 'bad.py'}:Class")


def test_two_scorers_of_one_name_are_refused(broken):
    """Values are kept by name: both columns had the values of the one that came last."""
    with pytest.raises(InputError, match="two scorers call themselves 'mine'"):
        load_metrics(f"{broken}:Short,{broken}:Undefined", weights={})
    check_names([load_scorer(f"{broken}:Short").info] * 2)  # the same scorer twice, as judge and beside it


@pytest.mark.parametrize(("name", "words"), [("Short", "1 scores came back for 2"), ("Undefined", "the score is nan")])
def test_scores_that_break_the_contract_end_with_the_pictures_name(broken, name, words):
    picture = Image.new("RGB", (8, 8))
    with pytest.raises(ScoringError, match=words):
        load_scorer(f"{broken}:{name}").score([picture, picture], ["", ""])


def test_weights_go_to_the_class_that_takes_them(broken):
    name = f"{broken}:Weighed"
    (scorer,), _ = load_metrics(name, weights=parse_weights([f"{name}=/data/w"]))
    assert scorer.info.name == "weighed /data/w"
    with pytest.raises(InputError, match="takes no weights"):
        load_scorer(f"{broken}:Short", weights="/data/w")


def test_an_installed_name_is_found(monkeypatch, broken):
    point = EntryPoint("ours", f"{broken}:Short", outside.GROUP)
    monkeypatch.setattr(outside, "entry_points", lambda group: [point] if group == outside.GROUP else [])
    assert load_scorer("ours").info.name == "mine"
