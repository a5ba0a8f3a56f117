"""From votes and a scored image set to metrics in JND; what does not belong together is refused."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from analysis.certificate.metric_maps import map_lines, map_metrics, read_set_metrics, write_maps
from analysis.triplets import TrapRule, read_triplets, screen
from qsched.errors import InputError
from qsched.records.metric_jnd import MetricMaps
from qsched.simulation.observers import ObserverPopulation, answer_triplets, draw_observers

PROMPTS, PEOPLE, EACH = 60, 20, 6
ASSUMED = {"people_sd": 0.3, "confidence": 0.95}
ANSWERS = ("left", "not sure", "right")


def write_votes(path, *, traps: bool = True):
    """Plain triplets whose damage is 20 flip^1.2, and traps that nearly everybody gets right."""
    rng = np.random.default_rng(5)
    population = ObserverPopulation()
    observers = draw_observers(PEOPLE, population=population, rng=rng)
    flip = np.exp(rng.normal(np.log(0.06), 0.7, PROMPTS))
    rows = []
    for prompt in range(PROMPTS):
        for _ in range(EACH):
            person, on_left = int(rng.integers(PEOPLE)), bool(rng.random() < 0.5)
            damage = 20 * flip[prompt] ** 1.2
            left, right = (damage, 0.0) if on_left else (0.0, damage)
            rows.append(vote(rng, observers, population, person, f"p{prompt}", left, right, "w4a4", on_left, "task"))
    for person in range(PEOPLE if traps else 0):
        for number in range(10):
            on_left = bool(rng.random() < 0.5)
            left, right = (8.0, 0.0) if on_left else (0.0, 8.0)
            rows.append(vote(rng, observers, population, person, f"p{number}", left, right, "trap", on_left, "trap"))
    pl.DataFrame(rows).write_csv(path)
    return flip


def vote(rng, observers, population, person, prompt, left, right, arm, on_left, kind):
    answer = answer_triplets(
        observers,
        person=np.array([person]),
        left=np.array([left]),
        right=np.array([right]),
        boosted=np.zeros(1, dtype=bool),
        gain=np.ones(1),
        population=population,
        rng=rng,
    )
    return {
        "prompt_id": prompt,
        "reference_arm": "fp32",
        "left_arm": arm if on_left else "fp32",
        "right_arm": "fp32" if on_left else arm,
        "presentation": "plain",
        "answer": ANSWERS[int(answer[0])],
        "annotator": f"a{person}",
        "kind": kind,
        "simulated": True,
    }


def write_scores(folder, flip, *, baseline: str = "fp32", missing: int = 0):
    folder.mkdir()
    infos = [
        {"name": "flip", "kind": "reference", "version": "flip 1", "higher_is_better": False},
        {"name": "psnr", "kind": "reference", "version": "psnr 1", "higher_is_better": True},
        {"name": "clipscore", "kind": "text", "version": "c", "higher_is_better": True},
        {"name": "pyiqa:odd", "kind": "reference", "version": "o", "higher_is_better": True},
    ]
    table = {"set_id": "s", "baseline": baseline, "scorers": infos}
    (folder / "metrics.json").write_text(json.dumps(table))
    noise = np.random.default_rng(0).normal(0, 4, len(flip))
    rows = [
        {
            "prompt_id": f"p{n}",
            "sample_index": 0,
            "arm": "w4a4",
            "flip": value,
            "psnr": 30 - 20 * np.log10(value / 0.06) + noise[n],
            "pyiqa:odd": 1.0,
            "clipscore": 0.3,
        }
        for n, value in enumerate(flip[missing:])
    ]
    (folder / "metrics_images.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def screened(tmp_path):
    flip = write_votes(tmp_path / "t.csv")
    return screen(read_triplets(tmp_path / "t.csv"), TrapRule()), flip


def test_each_metric_is_mapped_the_best_first_and_the_map_is_the_truth(screened, tmp_path):
    votes, flip = screened
    found, notes = map_metrics(votes, read_set_metrics(write_scores(tmp_path / "set", flip)), **ASSUMED)
    assert [one.metric for one in found.maps] == ["flip", "psnr"]
    assert any("pyiqa:odd" in note and "not known" in note for note in notes)
    assert found.simulated_votes == found.votes and 0 < found.lapse < 0.15
    best = found.of("flip")
    at = 0.06
    middle, upper = best.damage(at)
    true = 20 * at**1.2
    assert middle == pytest.approx(true, rel=0.5) and upper > true
    limit = best.limit_at(1.0)
    assert 20 * limit**1.2 <= 1.0, "a careful limit is below the true one"
    path = write_maps(found, tmp_path / "out")
    assert MetricMaps.model_validate_json(path.read_text()) == found
    assert "1 JND at" in map_lines(found)[0]


def test_votes_and_metrics_that_do_not_belong_together_are_refused(screened, tmp_path):
    votes, flip = screened
    with pytest.raises(InputError, match="--baseline fp32"):
        map_metrics(votes, read_set_metrics(write_scores(tmp_path / "a", flip, baseline="x")), **ASSUMED)
    with pytest.raises(InputError, match=r"which metrics_images.jsonl lacks"):
        map_metrics(votes, read_set_metrics(write_scores(tmp_path / "b", flip, missing=3)), **ASSUMED)
    with pytest.raises(InputError, match="qsched score"):
        read_set_metrics(tmp_path / "nowhere")
    write_votes(tmp_path / "no.csv", traps=False)
    bare = screen(read_triplets(tmp_path / "no.csv"), TrapRule(least=0))
    with pytest.raises(InputError, match="no plain traps"):
        map_metrics(bare, read_set_metrics(write_scores(tmp_path / "c", flip)), **ASSUMED)
