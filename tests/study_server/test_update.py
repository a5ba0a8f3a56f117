"""A changed study.yaml: compared, applied if it leaves the meaning of votes alone, refused by name otherwise."""

from __future__ import annotations

import pytest

from qsched.errors import InputError
from study_server.errors import NotFound
from study_server.studies import cache
from study_server.studies.changes import HARMLESS, MAY_GROW, NOT_COMPARED, design_changes
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from study_server.studies.update import design_history, update_study
from tests.study_server.visiting import Visitor, query, serving

SET_ID = "drawn-drawn"


def changed(design, **values):
    return StudyDesign.model_validate(design.model_dump() | values)


def test_a_study_is_not_gone_on_with_under_another_design(database, settings, make_study, small_image_set):
    design = make_study()
    other = changed(design, consent={"version": "2", "text": "Another text."}, seconds_per_vote=9)
    with pytest.raises(InputError, match=r"these keys differ: consent, seconds_per_vote.*qsched study update"):
        create_study(
            database, other, set_folder=small_image_set, data_folder=settings.data_folder, progress=lambda n: None
        )
    moved = changed(design, images="../elsewhere")
    made = create_study(
        database, moved, set_folder=small_image_set, data_folder=settings.data_folder, progress=lambda n: None
    )
    assert not made.created


async def test_harmless_changes_are_live_in_the_running_server_and_recorded(
    database, settings, make_study, monkeypatch
):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    design = make_study(consent={"version": "1", "text": "The first text."})

    async with serving(settings) as browser:
        assert "The first text." in (await browser().get("/s/s")).text
        await Visitor(browser()).enter("?simulated=1")
        new = changed(design, consent={"version": "2", "text": "The second text."}, votes_per_pair=3)
        changes = update_study(database, new, set_id=SET_ID)
        assert [change.key for change in changes] == ["votes_per_pair", "consent"]
        page = (await browser().get("/s/s")).text
        assert "The second text." in page and "The first text." not in page
        visitor = await Visitor(browser()).enter("?simulated=1")
        await visitor.vote_all(lambda _: "left", limit=1)
    assert query(database, "SELECT consent_version FROM sessions ORDER BY id") == [("1",), ("2",)]
    first, second = design_history(database, "s")
    assert (first.version, first.keys, first.sessions) == (1, (), 1)
    assert (second.version, second.keys, second.sessions) == (2, ("votes_per_pair", "consent"), 1)
    assert second.consent_version == "2"


def test_more_votes_are_really_handed_out(database, settings, make_study):
    design = make_study(votes_per_pair=1, votes_total=10, comparisons="adaptive")
    assert query(database, "SELECT SUM(remaining) FROM vote_budgets") == [(10,)]
    update_study(database, changed(design, votes_per_pair=2, votes_total=21), set_id=SET_ID)
    assert query(database, "SELECT SUM(remaining) FROM vote_budgets") == [(21,)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"questions": [{"id": "overall", "text": "Which is uglier?"}]}, "could not be pooled"),
        ({"arms": ["fp32", "w4a4"]}, "could not be pooled"),
        ({"votes_per_pair": 1}, "it can only grow"),
        ({"votes_total": 9}, "cannot be added"),
        ({"consent": {"version": "1", "text": "Quietly another text."}}, "give it a new one"),
        ({"languages": ["de"]}, "would lose their language"),
    ],
)
def test_what_would_change_the_data_is_refused_with_the_reason_and_nothing_changes(
    database, make_study, values, reason
):
    design = make_study(languages=("en", "de"))
    before = query(database, "SELECT design, title FROM studies")
    with pytest.raises(InputError, match=reason) as caught:
        update_study(database, changed(design, title="A new title", **values), set_id=SET_ID)
    assert next(iter(values)) in str(caught.value)
    assert query(database, "SELECT design, title FROM studies") == before
    assert len(design_history(database, "s")) == 1


def test_another_image_set_and_an_unknown_study_are_named(database, make_study):
    design = make_study()
    with pytest.raises(InputError, match="another slug"):
        update_study(database, design, set_id="other")
    with pytest.raises(NotFound, match="'nobody'"):
        update_study(database, changed(design, slug="nobody"), set_id=SET_ID)
    assert update_study(database, design, set_id=SET_ID) == []


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_every_key_of_the_design_is_classed_and_a_new_one_is_refused_by_default():
    assert set(StudyDesign.model_fields) >= HARMLESS | MAY_GROW | NOT_COMPARED
    one = StudyDesign(slug="s", title="t", images="x")
    for key in set(StudyDesign.model_fields) - HARMLESS - MAY_GROW - NOT_COMPARED:
        other = one.model_copy(update={key: "something else"})
        (change,) = design_changes(one, other)
        assert change.key == key and change.refusal is not None


def test_a_default_that_changed_since_the_study_was_made_is_named_with_its_old_value(database, make_study):
    """The level of stopping rules was 0.05; both values shown whole and cut off at 60 signs looked the same."""
    rule = {"baseline": "fp32", "horizon": 200}
    old = make_study(votes_per_pair=40, stopping={**rule, "level": 0.05})
    named = old.model_dump(exclude={"stopping"})
    with pytest.raises(InputError, match=r"stopping: {'level': 0.05} -> {'level': 0.03}: .* Write level: 0.05 there"):
        update_study(database, StudyDesign.model_validate({**named, "stopping": rule}), set_id=SET_ID)
    with pytest.raises(InputError, match=r"{'level': 0.05} -> {'level': 0.01}: it changes what is shown"):
        update_study(
            database, StudyDesign.model_validate({**named, "stopping": {**rule, "level": 0.01}}), set_id=SET_ID
        )


def test_a_change_deep_in_a_list_is_shown_and_not_cut_off():
    asked = [
        {"id": name, "text": f"Which picture of the two is {name}, do you think?"} for name in ("better", "sharper")
    ]
    changed = [asked[0], {**asked[1], "text": "Which is sharper?"}]
    before, after = (StudyDesign(slug="s", title="T", images="set", questions=one) for one in (asked, changed))
    (change,) = design_changes(before, after)
    assert (change.key, change.after) == ("questions", "[{'text': 'Which is sharper?'}]")
    assert change.before.startswith("[{'text': 'Which picture of the two is sharper")
