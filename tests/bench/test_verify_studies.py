"""What `bench verify` says of a certificate, its clauses and its table of changed content that somebody altered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from qsched.bench.identity import begin_folder
from qsched.bench.places import Places
from qsched.bench.spec import read_benchmark
from qsched.bench.verify_studies import (
    StudyRules,
    certificate_problems,
    check_study,
    content_problems,
    registration_problems,
)
from qsched.records import iter_rows
from tests.bench.test_run import NAMES, PEOPLE, begin
from tests.bench.test_verify import RULES, Writes, change, write
from tests.conftest import write_image_set

ARM = NAMES[2]
FIDELITY = (
    PEOPLE.replace("fp32, w3a8, {", "fp32, {").partition("studies:")[0]
    + """\
studies:
  - name: fidelity
    models: [tiny-sdxl]
    study:
      title: Which differs more?
      design: fidelity
      fidelity: {reference: fp32, clauses: [{arm: w3a8+qsched, mean: {limit: 2}}]}
"""
)
DESIGN: dict[str, Any] = {
    "fidelity": {
        "reference": "fp32",
        "content_limit": 0.1,
        "clauses": [{"arm": ARM, "mean": {"limit": 2.0}}],
        "traps": {"share": 0.7, "least": 4, "each": 4},
    }
}
CERTIFICATE: dict[str, object] = {
    "status": "registered",
    "registration_sha256": "5" * 64,
    "registration": {"arm": ARM},
    "clauses": [{"name": "mean", "verdict": "not shown", "numbers": {"upper": 2.5}}],
}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A benchmark with the pictures of a model and a fidelity study of one arm, which has a certificate."""
    file = begin(tmp_path, FIDELITY)
    places = Places(tmp_path / "out", read_benchmark(file))
    begin_folder(places, source=file)
    model, study = places.benchmark.models[0], places.benchmark.studies[0]
    write_image_set(places.images(model), prompts=2, arms=("fp32", ARM), size=16)
    at = places.study(study, model)
    write(at.votes_to_be, "votes")
    values = {"study": at.slug, "registered_at": "2026-01-01T00:00:00Z", "arm": ARM, "mean": {"limit": 2.0}}
    write(at.registration(ARM), yaml.safe_dump({**values, "traps": {"share": 0.7, "least": 4}}))
    Writes("certificate.json", CERTIFICATE)(("certify", "--out", str(at.certificate(ARM))))
    return places


def found(places: Places, document: dict[str, object] = CERTIFICATE, **more: Any) -> list[str]:
    """What is wrong with certificate and registration, where `certify` makes the document."""
    model, study = places.benchmark.models[0], places.benchmark.studies[0]
    again = Writes("certificate.json", json.loads(json.dumps(document)), **more)
    registration = registration_problems(places.study(study, model), ARM, DESIGN)
    return [*certificate_problems(places, model, study, runner=again), *registration]


def test_a_certificate_is_made_again_from_the_evidence_and_compared(places: Places) -> None:
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    page, document = (at.certificate(ARM) / name for name in ("certificate.html", "certificate.json"))
    assert found(places) == []
    model, study = places.benchmark.models[0], places.benchmark.studies[0]
    again = Writes("certificate.json", CERTIFICATE, code=3)
    assert list(certificate_problems(places, model, study, runner=again)) == [], "3: nothing is shown"
    assert again.ran[0][:2] == ("certify", str(at.votes_to_be)), "there is no evidence"
    change(document, "not shown", "shown")
    assert found(places) == [
        "certificates/w3a8+qsched_calibrated/certificate.json is not what the votes make: 1 value changed, first "
        "clauses.0.verdict"
    ]
    change(document, "shown", "not shown")
    change(document, "2.5", "2.49999")
    assert "clauses.0.numbers.upper" in found(places)[0]
    change(document, "2.49999", "2.5000000001")
    assert found(places) == [], "another version of numpy"
    change(page, "a page", "another page")
    assert found(places)[0].endswith("does not say what certificate.json says"), (
        "a digit that nobody sees excuses nothing"
    )
    change(page, "another page", "a page")
    change(document, "2.5000000001", "2.5")
    change(page, "a page", "another page")
    assert found(places)[0].endswith("certificate.html does not say what certificate.json says")
    page.unlink()
    assert found(places)[0].endswith("certificate.html is missing")
    assert "exit code 2" in found(places, code=2)[0]
    document.unlink()
    assert found(places)[0].startswith("there are votes, and no certificates/")


def test_a_certificate_of_another_version_is_not_called_changed_without_saying_so(places: Places) -> None:
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    page, document = (at.certificate(ARM) / name for name in ("certificate.html", "certificate.json"))
    ours = {**CERTIFICATE, "versions": {"qsched": "0.2.0", "numpy": "2.4.0"}}
    assert found(places, ours) == [], "a certificate from before it named versions"
    write(document, json.dumps({**CERTIFICATE, "versions": {"qsched": "0.1.0", "numpy": "2.4.0"}}))
    assert found(places, ours) == [], "versions alone are no change of what the votes make"
    why = "; it was made with qsched 0.1.0 (here 0.2.0): verify with the same to see whether that is why"
    change(page, "a page", "the words of that version")
    assert found(places, ours)[0].endswith(f"certificate.html does not say what certificate.json says{why}")
    change(document, "2.5", "2.6")
    assert found(places, ours)[0].endswith(f"1 value changed, first clauses.0.numbers.upper{why}")
    write(document, json.dumps(CERTIFICATE))
    assert found(places, ours)[0].endswith(
        "; it does not say which version of qsched made it (here 0.2.0), so that may be why"
    )
    write(document, json.dumps({**ours}))
    assert found(places, ours)[0].endswith("does not say what certificate.json says"), (
        "the same versions excuse nothing"
    )


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("limit: 2.0", "limit: 3.0", "mean"),
        ("least: 4", "least: 1", "traps"),
        ("arm: w3a8", "confidence: 0.5\narm: w3a8", "confidence"),
        ("study: small", "study: other", "study"),
        ("mean:", "meant:", "no clauses of"),
    ],
)
def test_clauses_that_were_not_those_of_the_design_are_named(places: Places, old: str, new: str, field: str) -> None:
    """A certificate follows from its registration, so whoever wants another verdict changes that."""
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    change(at.registration(ARM), old, new)
    (problem,) = found(places)
    assert problem.startswith("registrations/w3a8+qsched_calibrated.yaml: ") and field in problem


def test_a_certificate_without_a_registration_is_of_the_time_at_which_it_was_made(places: Places) -> None:
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    at.registration(ARM).unlink()
    then, now = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    theirs = {**CERTIFICATE, "registration_sha256": None, "registration": {"arm": ARM, "registered_at": then}}
    Writes("certificate.json", theirs, page=f"a page of {then}")(("certify", "--out", str(at.certificate(ARM))))
    ours = {**theirs, "registration": {"arm": ARM, "registered_at": now}}
    assert found(places, ours, page=f"a page of {now}") == []
    change(at.certificate(ARM) / "certificate.html", "a page", "all is shown: a page")
    assert found(places, ours, page=f"a page of {now}")[0].endswith("does not say what certificate.json says")
    change(at.certificate(ARM) / "certificate.json", then, "<b>Everything is shown.</b>")
    assert found(places, ours)[0].endswith("certificate.json does not say when it was made"), "words in place of a time"
    write(at.certificate(ARM) / "certificate.json", "{}")
    assert "does not say when" in found(places, theirs)[0], "a sentence, no traceback"
    write(at.folder / "certificates" / "w2a8" / "certificate.json", "{}")
    assert "certificates/w2a8 is of no arm that the study has clauses of" in found(places, theirs)


def test_the_table_of_changed_content_follows_from_the_pictures(places: Places) -> None:
    model = places.benchmark.models[0]
    at = places.study(places.benchmark.studies[0], model)
    rows = sorted((row.prompt_id, row.arm) for row in iter_rows(places.images(model)) if row.arm == ARM)
    head = "prompt_id,sample_index,arm,changed,flip_mean,flip_spot\n"
    text = head + "".join(f"{prompt},0,{arm},false,0.02,0.05\n" for prompt, arm in rows)
    write(at.content, text)
    rules = StudyRules(lambda values, stored: [], lambda reference, picture: (0.02, 0.05))
    reading = StudyRules(
        rules.design_problems, lambda one, other: (0.02, 0.05 + 0 * len(one.read_bytes() + other.read_bytes()))
    )

    def problems() -> list[str]:
        return list(content_problems(places, model, at, rules, design=DESIGN))

    assert problems() == []
    write(at.content, text.replace("false", "true", 1))
    assert "against its own value and the limit of 0.1" in problems()[0]
    write(at.content, text.replace("0.05", "0.04"))
    assert problems()[0].endswith("is 0.05, and not 0.04")
    write(at.content, text.rpartition("\n")[0].rpartition("\n")[0] + "\n")
    assert problems()[0].startswith("content.csv and the pictures differ, first in ")
    write(at.content, text.replace("0.02,0.05", "0.02,nan", 1))
    assert "against its own value and the limit of 0.1" in problems()[0], "no word follows from no number"
    twice = text.replace("flip_spot", "flip_spot,changed").replace("false,0.02,0.05", "false,0.02,0.3,true")
    write(at.content, twice)
    assert problems()[0].startswith("content.csv has a column twice"), "certify reads the first one"
    write(at.content, text)
    (places.images(model) / next(row for row in iter_rows(places.images(model)) if row.arm == ARM).file_name).unlink()
    (problem,) = content_problems(places, model, at, reading, design=DESIGN)
    assert problem.endswith("No such file or directory")
    write(at.content, "a\n1\n")
    assert problems()[0].startswith("content.csv is not what `qsched votes content` writes")


def test_votes_without_evidence_still_have_to_make_the_certificate(places: Places) -> None:
    at = places.study(places.benchmark.studies[0], places.benchmark.models[0])
    model, study, again = (
        places.benchmark.models[0],
        places.benchmark.studies[0],
        Writes("certificate.json", CERTIFICATE),
    )
    alone = check_study(places, model, study, runner=again, rules=RULES)
    assert alone.problems == () and alone.notes[0].startswith("there is no evidence")
    assert again.ran[0][:2] == ("certify", str(at.votes_to_be))
    change(at.certificate(ARM) / "certificate.json", "not shown", "shown")
    (problem,) = check_study(places, model, study, runner=again, rules=RULES).problems
    assert "is not what the votes make" in problem


def test_a_design_that_people_did_not_vote_by_is_a_problem_and_a_broken_evidence_no_traceback(places: Places) -> None:
    model, study, again = (
        places.benchmark.models[0],
        places.benchmark.studies[0],
        Writes("certificate.json", CERTIFICATE),
    )
    at = places.study(study, model)
    write(at.evidence / "manifest.json", "{}")
    write(at.evidence / "pairs.jsonl", "")
    write(at.evidence / "triplets.parquet", "other votes")
    write(places.folder / "submission.json", "{}")
    broken = check_study(places, model, study, runner=again, rules=RULES)
    assert "designs.jsonl" in broken.problems[-1] and "is not the table of the evidence" in broken.problems[0]
    assert broken.problems[1] == "submission.json states other hashes of this study than its files have"
    write(at.evidence / "designs.jsonl", json.dumps({"version": 1, "design": json.dumps(DESIGN)}))
    other = StudyRules(lambda values, stored: [f"{values['slug']}: another design"], RULES.difference)
    found = check_study(places, model, study, runner=again, rules=other)
    assert found.problems[-1] == "small-fidelity-tiny-sdxl: another design"
