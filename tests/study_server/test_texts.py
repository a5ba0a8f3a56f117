"""The owner's words in several languages: what is shown, what is stored, what may be added."""

from __future__ import annotations

import polars as pl
import pytest

from study_server.export.display import export_display
from study_server.studies.changes import design_changes
from study_server.studies.design import StudyDesign
from study_server.studies.languages import language_notes
from study_server.studies.texts import read_text, write_text
from tests.study_server.visiting import Visitor, query, serving

WORDS = {
    "languages": ("en", "de"),
    "questions": ({"id": "overall", "text": {"en": "Which is better?", "de": "Welches ist besser?"}},),
    "demographics": (
        {
            "id": "glasses",
            "label": {"en": "Do you wear glasses?", "de": "Tragen Sie eine Brille?"},
            "kind": "choice",
            "choices": ({"en": "yes", "de": "ja"}, {"en": "no", "de": "nein"}),
        },
    ),
}


@pytest.fixture
def database_url(tmp_path):
    """Nothing here depends on the kind of database."""
    return f"sqlite:///{tmp_path / 'study.db'}"


def design(**values) -> StudyDesign:
    return StudyDesign(slug="s", **{"title": "t", "images": "i", **values})


async def test_a_person_reads_their_language_and_the_answer_says_which(settings, database, make_study, tmp_path):
    make_study(**WORDS)

    async with serving(settings) as browser:
        client = browser()
        client.headers["accept-language"] = "de"
        consent = (await client.get("/s/s")).text
        assert "Tragen Sie eine Brille?" in consent and '<option value="yes" dir="auto">ja</option>' in consent
        # The title and the consent text are English only: marked for screen readers, and said in words.
        assert '<p dir="auto" lang="en">You will see pairs' in consent
        assert "in einer anderen Sprache: English" in consent
        visitor = await Visitor(client).enter(d_glasses="yes")
        await visitor.begin()
        assert visitor.state["study"]["questions"] == [
            {"id": "overall", "text": "Welches ist besser?", "language": "de"}
        ]
        await visitor.vote("left")
        english = await Visitor(browser()).enter()
        await english.begin()
        await english.vote("left")
    assert query(database, "SELECT demographics FROM sessions ORDER BY id LIMIT 1") == [('{"glasses": "yes"}',)]
    export_display(database, study="s", path=tmp_path / "display.parquet")
    assert pl.read_parquet(tmp_path / "display.parquet")["language"].to_list() == ["de", "en"]


def test_the_owner_is_told_which_texts_fall_back():
    assert language_notes(design(**WORDS)) == ["readers of de get these texts in en: title, consent.text"]
    assert language_notes(design()) == []
    # The default consent text is English, whatever the study's language.
    assert language_notes(design(languages=("de",), questions=({"id": "q", "text": "Welches?"},))) == [
        "readers of de get these texts in en: consent.text"
    ]


@pytest.mark.parametrize(
    ("title", "problem"),
    [
        ({"en": "A", "fr": "B"}, "title is written in fr, and languages offers en, de"),
        ({"de": "B"}, "title lacks en, the first of languages"),
        ({}, "names no language"),
    ],
)
def test_a_text_that_nobody_could_read_is_refused(title, problem):
    with pytest.raises(ValueError, match=problem):
        design(languages=("en", "de"), title=title)


def test_a_running_study_takes_more_languages_and_no_other_words():
    before = design(questions=({"id": "q", "text": "Which?"},))
    more = design(languages=("en", "de"), questions=({"id": "q", "text": {"en": "Which?", "de": "Welches?"}},))
    other = design(languages=("en", "de"), questions=({"id": "q", "text": {"en": "What?", "de": "Welches?"}},))
    assert [change.refusal for change in design_changes(before, more)] == [None, None]
    assert [change.key for change in design_changes(before, other) if change.refusal] == ["questions"]


@pytest.mark.parametrize("text", ["{better} has its shadow", '{"quoted"} is no JSON', {"en": "a", "de": "b"}, ""])
def test_a_text_comes_back_from_the_database_as_it_was(text):
    assert read_text(write_text(text)) == text


def test_the_report_prints_the_wordings_of_the_study_card(tmp_path):
    import json

    from analysis.report.wording import read_wording
    from qsched.errors import InputError

    card = tmp_path / "study-card.json"
    both = {"en": {"text": "Which?", "answers": 12}, "de": {"text": "Welches?", "answers": 3}}
    card.write_text(json.dumps({"task": {"wording": {"overall": both, "match": both}}}))
    assert read_wording(str(card), question="match") == "Which? [en, 12 answers] Welches? [de, 3 answers]"
    assert read_wording("Which?", question=None) == "Which?"
    with pytest.raises(InputError, match="name one of them with --question"):
        read_wording(str(card), question=None)
