"""What `bench verify` says of a submission that somebody made to pass, or broke."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from qsched.bench import verify, verify_pictures, verify_studies
from qsched.bench.identity import begin_folder, read_identity
from qsched.bench.places import Places, StudyPlaces
from qsched.bench.spec import read_benchmark
from qsched.bench.steps import _is_scored, is_of_other_weights
from qsched.bench.submit import SUBMISSION, SUMS, copy_study, hashes_of
from qsched.bench.verify_render import render_again
from qsched.bench.verify_scores import SCORES, VALUES, computed_again, score_problems
from qsched.bench.verify_studies import StudyRules
from qsched.records import iter_rows, read_manifest
from qsched.records.image_set import GENERATE_PAIRS
from tests.bench.test_run import NAMES, begin
from tests.conftest import write_image_set

RESULTS = {
    "n_votes": 40,
    "n_annotators": 8,
    "n_prompts": 5,
    "claims": [{"verdict": "undetected", "text": "No difference was detected."}],
    "simulated": True,
    "n_simulated": 40,
    "strengths": [],
    "pairwise": [],
    "strata": None,
    "excluded": {},
}


VERSIONS = {"numpy": "2.4.0", "qsched": "0.1.0"}
#: People voted by the benchmark's own design, and no picture differs from another.
RULES = StudyRules(lambda values, stored: [], lambda reference, picture: (0.0, 0.0))


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


class Writes:
    """A runner that writes one document where the command says, as `winrates` or `certify` would."""

    def __init__(self, name: str, document: dict[str, object], *, code: int = 0, page: str = "a page") -> None:
        self.name, self.document, self.code, self.page = name, document, code, page
        self.ran: list[tuple[str, ...]] = []

    def __call__(self, command: tuple[str, ...]) -> int:
        self.ran.append(command)
        if "--out" not in command:
            return 3  # the audit
        folder = Path(command[command.index("--out") + 1])
        write(folder / self.name, json.dumps(self.document))
        write(folder / "certificate.html", self.page)
        return self.code


@pytest.mark.parametrize(
    ("field", "value"), [("simulated", False), ("n_simulated", 0), ("n_annotators", 800), ("claims", [])]
)
def test_simulated_votes_cannot_be_made_votes_of_people(tmp_path: Path, field: str, value: object) -> None:
    at, again = StudyPlaces(tmp_path, is_fidelity=False, simulated=True, slug="x"), Writes("winrates.json", RESULTS)
    write(at.report / "winrates.json", json.dumps(RESULTS))
    assert list(verify_studies.report_problems(at, ("--baseline", "fp32"), again)) == []
    assert again.ran[0][1] == str(at.evidence / "votes.parquet") and "--baseline" in again.ran[0]
    write(at.report / "winrates.json", json.dumps({**RESULTS, field: value}))
    assert list(verify_studies.report_problems(at, (), again)) == [
        f"{field} of report/winrates.json are not what the benchmark's plan makes of the votes"
    ]
    theirs, again.document = {"versions": {"numpy": "1.26.0", "qsched": "0.1.0"}}, {**RESULTS, "versions": VERSIONS}
    write(at.report / "winrates.json", json.dumps({**RESULTS, **theirs, field: value}))
    (problem,) = verify_studies.report_problems(at, (), again)
    assert problem.endswith(
        "it was made with numpy 1.26.0 (here 2.4.0): verify with the same to see whether that is why"
    )
    write(at.report / "winrates.json", json.dumps({**RESULTS, field: value}))
    (problem,) = verify_studies.report_problems(at, (), again)
    assert problem.endswith(
        f"it does not say which version of qsched made it (here {VERSIONS['qsched']}), so that may be why"
    )
    write(at.report / "winrates.json", "{}")
    assert len(list(verify_studies.report_problems(at, (), again))) == 1, "a field that is missing is no traceback"
    again.code = 2
    assert "(exit code 2)" in next(iter(verify_studies.report_problems(at, (), again)))


def test_a_plan_that_is_not_the_benchmarks_is_a_problem(tmp_path: Path) -> None:
    """Narrow intervals follow from the votes too, with a lower confidence."""
    at, wanted = StudyPlaces(tmp_path, is_fidelity=False, simulated=True, slug="x"), ("--confidence", "0.95")
    assert list(verify_studies._plan_problems(at, wanted)) == [], "not preregistered: the audit says so"
    write(at.evidence / "preregistration.json", json.dumps({"plan": list(wanted)}))
    assert list(verify_studies._plan_problems(at, wanted)) == []
    write(at.evidence / "preregistration.json", json.dumps({"plan": ["--confidence", "0.5"]}))
    (problem,) = verify_studies._plan_problems(at, wanted)
    assert problem.startswith("the preregistered plan is ['--confidence', '0.5']")


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
    names = [check.name for check in verify.verify_submission(scored.folder, runner=lambda _: 3, rules=RULES)]
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
    (problem,) = verify_studies.pair_problems(places, model, at)
    assert problem.startswith("evidence/pairs.jsonl:1: not a pair")


def test_each_picture_of_a_set_that_people_ranked_is_one_of_the_image_set(places: Places) -> None:
    model = places.benchmark.models[0]
    at = places.study(places.benchmark.studies[0], model)
    rows = [row for row in iter_rows(places.images(model)) if row.prompt_id == "p0"]
    assert len(rows) == 3
    pair: dict[str, object] = {"pair_id": "a", "prompt_id": "p0", "sample_index": 0}
    for side, row in zip(("first", "second", "third"), rows, strict=True):
        pair |= {f"{side}_arm": row.arm, f"{side}_sha256": row.sha256}
    write(at.evidence / "pairs.jsonl", json.dumps(pair) + "\n")
    assert list(verify_studies.pair_problems(places, model, at)) == []
    write(at.evidence / "pairs.jsonl", json.dumps({**pair, "third_sha256": rows[0].sha256}) + "\n")
    (problem,) = verify_studies.pair_problems(places, model, at)
    assert problem == f"pair a: its picture of {rows[2].arm} is not in the image set"


def test_a_set_that_another_tool_made_does_not_pass_unsaid(places: Places) -> None:
    """Its steps are stated by nobody: whoever had more of them could write another tool into the manifest."""
    model = places.benchmark.models[0]
    (note,) = verify_pictures.picture_notes(places, model)
    assert note.endswith("so that nothing shows steps, guidance and seeds")
    manifest = places.images(model) / "manifest.json"
    stated = json.loads(manifest.read_text("utf-8"))
    write(manifest, json.dumps({**stated, "provenance": {**stated["provenance"], "tool": GENERATE_PAIRS}}))
    assert verify_pictures.picture_notes(places, model) == ()


def test_a_submission_without_the_pictures_that_it_names_does_not_pass(places: Places) -> None:
    stated = {
        "benchmark_sha256": read_identity(places.folder).benchmark_sha256,
        "models": {"tiny-sdxl": {}, "flux": {}},
    }
    write(places.folder / SUBMISSION, json.dumps(stated))
    forge(places.folder)
    found = verify.verify_submission(places.folder, runner=lambda _: 3, rules=RULES)
    assert found[2].problems == ("the pictures of flux are not here",)
    shutil.rmtree(places.folder / "models")
    forge(places.folder)
    (problem,) = [
        one
        for check in verify.verify_submission(places.folder, runner=lambda _: 3, rules=RULES)
        for one in check.problems
    ]
    assert problem == "no model has pictures"


@pytest.mark.parametrize("text", ["{}", '{"models": []}', '{"models": {"tiny-sdxl": 3}}'])
def test_a_submission_file_without_its_models_is_a_problem(places: Places, text: str) -> None:
    write(places.folder / SUBMISSION, text)
    found = list(verify_pictures.picture_problems(places, places.benchmark.models[0]))
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

    original = verify_pictures.verify_set
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_pictures, "verify_set", verify_set)
        list(verify_pictures.picture_problems(places, model))
    assert asked == [True]


def test_pictures_of_other_texts_under_the_same_ids_are_found(places: Places) -> None:
    """The manifest may say what it likes of its prompts: each row has to have the text of prompts.json."""
    model = places.benchmark.models[0]
    write(places.folder / SUBMISSION, "{}")
    rows = places.images(model) / "images.jsonl"
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    ours = {row["prompt_id"]: {"prompt": row["prompt"], "category": row["category"]} for row in found}
    write(places.prompts, json.dumps({name: {k: v for k, v in one.items() if v} for name, one in ours.items()}))
    assert list(verify_pictures._prompt_problems(places, model)) == []
    write(rows, "".join(json.dumps({**row, "prompt": f"{row['prompt']}, sharp"}) + "\n" for row in found))
    (problem,) = verify_pictures._prompt_problems(places, model)
    assert problem.endswith("its prompt is not the one of prompts.json")


def test_another_number_of_steps_or_another_model_under_the_name_is_found(places: Places) -> None:
    model = places.benchmark.models[0]
    manifest = read_manifest(places.images(model))
    made = {"tool": GENERATE_PAIRS, "backbone_source": "tiny-sdxl", "base_dtype": "fp32", "guidance_scale": 0.0}
    honest = manifest.model_copy(update={"provenance": made, "steps": 4})
    assert list(verify_pictures._setting_problems(model, honest)) == []
    eight = honest.model_copy(update={"steps": 8, "provenance": {**made, "backbone_source": "tiny-flux"}})
    assert list(verify_pictures._setting_problems(model, eight)) == [
        "steps is 8, and the benchmark's is 4",
        "backbone is tiny-flux, and the benchmark's is tiny-sdxl",
    ]
    other = honest.model_copy(update={"provenance": {**made, "backbone_weights": "f" * 64}})
    assert is_of_other_weights(model, other) and not is_of_other_weights(model, honest)


def test_a_submission_holds_its_own_files(places: Places, tmp_path: Path) -> None:
    write(places.folder / SUBMISSION, "{}")
    write(tmp_path / "secret", "a file of whoever verifies")
    (places.folder / "models" / "notes.txt").symlink_to(tmp_path / "secret")
    forge(places.folder)
    first = verify.verify_submission(places.folder, runner=lambda _: 3, rules=RULES)[0]
    assert first.problems == ("models/notes.txt is a link; a submission holds its own files",)


def test_some_pictures_are_made_again_where_the_model_is_here(places: Places) -> None:
    model, ran = places.benchmark.models[0], []

    def generate(command: tuple[str, ...], *, arms: tuple[str, ...] = NAMES) -> int:
        ran.append(command)
        write_image_set(Path(command[command.index("--out") + 1]), prompts=4, arms=arms)
        return 0

    again = render_again(places, model, prompts=2, draw=Random(1), runner=generate)
    assert (again.words, again.problems) == ("12 of 12 pictures made again are the same", ())
    assert ran[0][0] == "generate-pairs" and ran[0][ran[0].index("--prompts") + 1] != str(places.prompts)
    # The picture of the baseline under the name of an arm.
    row = next(row for row in iter_rows(places.images(model)) if row.arm == "w3a8")
    Image.new("RGB", (row.width, row.height), "red").save(places.images(model) / row.file_name)
    again = render_again(places, model, prompts=2, draw=Random(1), runner=generate)
    assert again.words.startswith("11 of 12 pictures made again are the same, the least alike has a PSNR of ")
    assert f"the picture of w3a8 for prompt {row.prompt_id} is another one" in again.problems[0]
    (places.images(model) / row.file_name).write_bytes(b"no picture")
    broken = render_again(places, model, prompts=2, draw=Random(1), runner=generate)
    assert "cannot be read as a picture" in broken.problems[-1], "a sentence, no traceback"
    rows = places.images(model) / "images.jsonl"
    write(rows, "".join(line for line in rows.read_text().splitlines(keepends=True) if '"w3a8"' not in line))
    broken = render_again(places, model, prompts=2, draw=Random(1), runner=generate)
    assert broken.problems[-1].startswith("the set has no picture of w3a8 for prompt ")
    assert "exit code 2" in render_again(places, model, prompts=1, draw=Random(1), runner=lambda _: 2).problems[0]
    away = model.model_copy(update={"backbone": "no/where"})
    assert render_again(places, away, prompts=1, draw=Random(1), runner=generate).notes == (
        "the model no/where is not here",
    )
