"""What `bench verify` says of a submission that somebody made to pass, or broke."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from qsched.bench import verify
from qsched.bench.identity import begin_folder, read_identity
from qsched.bench.places import Places, StudyPlaces
from qsched.bench.spec import read_benchmark
from qsched.bench.steps import _is_scored
from qsched.bench.submit import SUBMISSION, SUMS, copy_study, hashes_of
from qsched.bench.verify_scores import SCORES, VALUES, computed_again, score_problems
from tests.bench.test_run import NAMES, begin
from tests.conftest import write_image_set

RESULTS = {
    "n_votes": 40,
    "n_annotators": 8,
    "simulated": True,
    "n_simulated": 40,
    "strengths": [],
    "pairwise": [],
    "strata": None,
    "excluded": {},
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def forge(folder: Path) -> None:
    write(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in hashes_of(folder)))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A benchmark with the pictures of its first model."""
    file = begin(tmp_path)
    places = Places(tmp_path / "out", read_benchmark(file))
    begin_folder(places, source=file)
    write_image_set(places.images(places.benchmark.models[0]), prompts=4, arms=NAMES)
    return places


@pytest.mark.parametrize(("field", "value"), [("simulated", False), ("n_simulated", 0), ("n_annotators", 800)])
def test_simulated_votes_cannot_be_made_votes_of_people(tmp_path: Path, field: str, value: object) -> None:
    at = StudyPlaces(tmp_path, is_fidelity=False, simulated=True, slug="x")
    write(at.evidence / "report" / "winrates.json", json.dumps(RESULTS))
    write(at.report / "winrates.json", json.dumps(RESULTS))
    assert list(verify._report_problems(at)) == []
    write(at.report / "winrates.json", json.dumps({**RESULTS, field: value}))
    assert list(verify._report_problems(at)) == [
        f"{field} of report/winrates.json are not what the preregistered plan makes"
    ]
    write(at.report / "winrates.json", "{}")
    assert len(list(verify._report_problems(at))) == 1, "a field that is missing is a problem, no traceback"


@pytest.fixture
def scored(places: Places) -> Places:
    """The same, with PSNR."""
    from qsched.scoring.image_set.report import write_set_scores
    from qsched.scoring.image_set.scores import score_set
    from qsched.scoring.registry import load_metrics

    images = places.images(places.benchmark.models[0])
    scorers, references = load_metrics("psnr", weights={})
    write_set_scores(images, score_set(images, scorers=scorers, references=references))
    return Places(places.folder, places.benchmark.model_copy(update={"metrics": ("psnr",)}))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_scores_follow_from_their_values_and_those_from_the_pictures(scored: Places) -> None:
    model = scored.benchmark.models[0]
    images = scored.images(model)
    assert list(score_problems(scored, model)) == []
    assert computed_again(scored, model) == (["psnr"], [])
    whole = {name: (images / name).read_text("utf-8") for name in (SCORES, VALUES)}
    mean = json.loads(whole[SCORES])["arms"][1]["metrics"][0]["mean"]
    change(images / SCORES, f'"mean": {mean!r}', f'"mean": {mean + 0.1!r}')
    (problem,) = score_problems(scored, model)
    assert problem == f"1 number of {SCORES} does not follow from {VALUES}: w3a8.0.mean"

    # Whoever changes the values too changes them all alike.
    rows = [json.loads(line) for line in whole[VALUES].splitlines()]
    better = [{**row, **({"psnr": row["psnr"] + 0.1} if row["arm"] == "w3a8" else {})} for row in rows]
    (images / VALUES).write_text("".join(json.dumps(row) + "\n" for row in better), encoding="utf-8")
    found = list(score_problems(scored, model))
    assert found[-1].startswith("psnr of the picture ") and f"and {VALUES} says" in found[-1]

    (images / VALUES).write_text(whole[VALUES].partition("\n")[2], encoding="utf-8")
    assert "and the pictures differ, first in" in next(iter(score_problems(scored, model)))
    (images / VALUES).write_text("[]\n", encoding="utf-8")
    assert "are not what `qsched score` writes" in next(iter(score_problems(scored, model)))
    for broken in ('{"scorers": ["psnr"]}', '{"scorers": null}', "{"):
        (images / SCORES).write_text(broken, encoding="utf-8")
        assert len(verify._score_check(scored, model).problems) == 1, "a sentence, no traceback"


def test_scores_against_another_arm_or_with_another_nfe_are_not_those_of_the_benchmark(scored: Places) -> None:
    """Everything follows from the values then, and the leaderboard would show it as against the first arm."""
    from qsched.scoring.image_set.report import write_set_scores
    from qsched.scoring.image_set.scores import score_set
    from qsched.scoring.registry import load_metrics

    model = scored.benchmark.models[0]
    images = scored.images(model)
    change(images / SCORES, '"nfe_per_image": ', '"nfe_per_image": 1')
    (problem,) = score_problems(scored, model)
    assert "another number of evaluations for fp32 than the pictures" in problem
    scorers, references = load_metrics("psnr", weights={})
    write_set_scores(images, score_set(images, scorers=scorers, references=references, baseline="w3a8"))
    (problem,) = score_problems(scored, model)
    assert problem == f"{SCORES} compares the arms with w3a8, and the benchmark with fp32"
    assert not _is_scored(scored, model), "`bench run` scores again"
    write(scored.folder / SUBMISSION, "{}")
    forge(scored.folder)
    names = [check.name for check in verify.verify_submission(scored.folder, runner=lambda _: 3)]
    assert "tiny-sdxl: scores (psnr computed again)" in names, "nobody asked for them, and the leaderboard shows them"


def test_scores_that_are_missing_are_named(scored: Places) -> None:
    model = scored.benchmark.models[0]
    assert _is_scored(scored, model)
    other = Places(scored.folder, scored.benchmark.model_copy(update={"metrics": ("ssim",)}))
    assert not _is_scored(other, model), "as many, and not the same"
    wider = Places(scored.folder, scored.benchmark.model_copy(update={"metrics": ("psnr", "clipscore")}))
    assert next(iter(score_problems(wider, model))) == f"{SCORES} lacks clipscore, which the benchmark asks for"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torch", "qsched.scoring.image_set.scores"):
            patch.setitem(sys.modules, name, None)
        found = verify._score_check(scored, model)
    assert not found.problems and "needs torch" in found.notes[0], "all else is checked without it"
    (scored.images(model) / SCORES).unlink()
    found = verify._score_check(scored, model)
    assert (found.name, found.problems) == ("tiny-sdxl: scores", ()) and "there are none" in found.notes[0]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"first_arm": []}', "3"])
def test_a_broken_line_of_the_evidence_is_a_problem(places: Places, line: str) -> None:
    model = places.benchmark.models[0]
    at = places.study(places.benchmark.studies[0], model)
    write(at.evidence / "pairs.jsonl", line + "\n")
    (problem,) = verify._pair_problems(places, model, at)
    assert problem.startswith("evidence/pairs.jsonl:1: not a pair")


def test_a_submission_without_the_pictures_that_it_names_does_not_pass(places: Places) -> None:
    stated = {
        "benchmark_sha256": read_identity(places.folder).benchmark_sha256,
        "models": {"tiny-sdxl": {}, "flux": {}},
    }
    write(places.folder / SUBMISSION, json.dumps(stated))
    forge(places.folder)
    found = verify.verify_submission(places.folder, runner=lambda _: 3)
    assert found[2].problems == ("the pictures of flux are not here",)
    shutil.rmtree(places.folder / "models")
    forge(places.folder)
    (problem,) = [
        one for check in verify.verify_submission(places.folder, runner=lambda _: 3) for one in check.problems
    ]
    assert problem == "no model has pictures"


@pytest.mark.parametrize("text", ["{}", '{"models": []}', '{"models": {"tiny-sdxl": 3}}'])
def test_a_submission_file_without_its_models_is_a_problem(places: Places, text: str) -> None:
    write(places.folder / SUBMISSION, text)
    found = list(verify._picture_problems(places, places.benchmark.models[0]))
    assert f"{SUBMISSION} names other weights than the set" in found


def test_what_a_stopped_study_left_gives_way_to_the_votes_that_are_taken_over(places: Places, tmp_path: Path) -> None:
    """Ours was preregistered and killed before its votes; merging then ended with a traceback, half done."""
    study, model = places.benchmark.studies[0], places.benchmark.models[0]
    ours, theirs = places.study(study, model), Places(tmp_path / "theirs", places.benchmark).study(study, model)
    write(ours.evidence / "seals.jsonl", "ours")
    write(ours.folder / "registrations" / "w3a8.yaml", "ours")
    write(theirs.evidence / "pairs.jsonl", "theirs")
    write(theirs.folder / "registrations" / "w3a8.yaml", "theirs")
    write(theirs.folder / "votes.csv", "theirs")
    copy_study(theirs, ours)
    assert [path.name for path in ours.evidence.iterdir()] == ["pairs.jsonl"]
    assert (ours.folder / "registrations" / "w3a8.yaml").read_text() == "theirs"


def test_the_pictures_of_another_lab_are_decoded(places: Places) -> None:
    """Its manifest says that our encoder made them, and the hash is that of whatever bytes are there."""
    write(places.folder / SUBMISSION, "{}")
    model = places.benchmark.models[0]
    asked = []

    def verify_set(folder, *, decode=False):
        asked.append(decode)
        return original(folder, decode=decode)

    original = verify.verify_set
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "verify_set", verify_set)
        list(verify._picture_problems(places, model))
    assert asked == [True]
