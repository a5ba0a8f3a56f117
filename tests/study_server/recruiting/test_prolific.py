"""Decisions at Prolific: only of an explicit list, checked against Prolific and our database, paid once, in the log."""

from __future__ import annotations

from decimal import Decimal

import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from study_server.recruiting.decisions import read_bonuses, read_list
from study_server.recruiting.platform import Bonus, PlatformError
from study_server.recruiting.prolific import PAGE_SIZE, ProlificApi
from tests.study_server.recruiting.stand_in import TOKEN, prolific
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WORDS = "You missed both attention checks, in which the page asked for a certain key; we are sorry to say that. " * 2


@pytest.fixture
async def there(anyio_backend, settings, database, make_study, monkeypatch):
    """Prolific with four submissions: two finished here (one missed its checks), one half-way, one never came."""
    # Shorter than five minutes, so one missed check may reject.
    platform = {"name": "prolific", "completion_code": "DONE"}
    make_study(platform=platform, instructed=2, votes_per_pair=9, pairs_per_annotator=4)

    def answer(name: str, instruction: str | None) -> str:
        asked = "right" if "RIGHT" in (instruction or "") else "left"
        return {"left": "right", "right": "left"}[asked] if name == "lazy" and instruction else asked

    async with serving(settings) as browser:
        for name in ("good", "lazy", "half"):
            visitor = await Visitor(browser()).enter(f"?PROLIFIC_PID={name}&STUDY_ID=STUDY&SESSION_ID=sub{name}")
            limit = 3 if name == "half" else 100
            await visitor.vote_all(lambda shown, name=name: answer(name, shown["instruction"]), limit=limit)
    with prolific() as state:
        for name in ("good", "lazy", "half", "never"):
            state.add(f"sub{name}", name)
        monkeypatch.setenv("PROLIFIC_TOKEN", TOKEN)
        monkeypatch.setenv("QSCHED_PROLIFIC_API", state.address)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield state


@pytest.fixture
def call(settings, tmp_path):
    def run_it(*words, rows=None, text=None):
        more = []
        if rows is not None:
            file = tmp_path / "list.csv"
            file.write_text("\n".join(rows) + "\n")
            more = [str(file)]
        first, *rest = words
        arguments = ["study", "prolific", first, "s", *more, *rest, "--db", settings.database_url]
        return CliRunner().invoke(app, arguments, input=text)

    return run_it


def changes(state):
    return [path for method, path in state.calls if method == "POST"]


def test_the_status_shows_both_sides_and_what_does_not_fit(there, call):
    there.submissions["subgood"]["participant_id"] = "another"
    done = call("status")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    assert "our link named another person (good)" in words
    assert "not finished here (active)" in words and "never came here" in words
    assert changes(there) == []


def test_approving_needs_a_list_a_confirmation_and_what_awaits_review(there, call, database):
    assert "nothing was changed" in call("approve", "--dry-run", rows=["subgood", "subhalf"]).output
    assert call("approve", rows=["subgood"], text="n\n").exit_code == 1 and changes(there) == []
    unknown = call("approve", "--yes", rows=["subgood", "subother"])
    assert isinstance(unknown.exception, InputError) and "the first subother; nothing was done" in str(
        unknown.exception
    )
    done = call("approve", rows=["platform_id,submission", "good,subgood", "half,subhalf"], text="y\n")
    assert done.exit_code == 0 and "approve subhalf: not finished here (active)" in done.output
    assert [one["status"] for one in there.submissions.values()].count("APPROVED") == 2
    assert "1 are approved already" in call("approve", "--yes", rows=["subgood"]).output
    there.submissions["sublazy"]["status"] = "RETURNED"
    late = call("approve", "--yes", rows=["sublazy"])
    assert "the list has 1 returned" in str(late.exception)
    log = query(database, "SELECT action, detail FROM owner_actions WHERE action LIKE 'Prolific%'")
    assert log == [("Prolific submissions approved", "2 of study STUDY")]


def test_a_failed_check_rejects_only_as_prolifics_rule_allows_and_with_words(there, call):
    checks = ("--category", "FAILED_CHECK", "--message", WORDS, "--yes")
    short = call("reject", "--category", "FAILED_CHECK", "--message", "too bad", rows=["sublazy"])
    assert "Prolific wants 100 or more" in str(short.exception)
    good = call("reject", *checks, rows=["sublazy", "subgood"])
    assert "the first subgood: one missed attention check" in str(good.exception)
    assert changes(there) == [], "all or nothing"
    done = call("reject", *checks, rows=["sublazy"])
    assert done.exit_code == 0 and "sublazy is rejected" in done.output
    assert there.messages == [WORDS.strip()]


def test_people_are_asked_to_return_what_they_did_not_finish(there, call):
    done = call("return", "--reason", "Did not finish the study.", "--yes", rows=["subhalf"])
    assert done.exit_code == 0 and there.submissions["subhalf"]["return_requested"]
    assert "nothing was changed" in call("return", "--reason", "x", "--yes", rows=["subhalf"]).output


def test_a_list_of_bonuses_is_paid_once(there, call, database):
    rows = ["submission,amount", "subgood,1.50", "sublazy,0.25"]
    assert "2 bonuses, 1.75 together" in call("bonus", "--dry-run", rows=rows).output and changes(there) == []
    done = call("bonus", rows=rows, text="y\n")
    assert "1.75 and fees 0.44, VAT 0.00: 2.19" in done.output, "pence are not pounds"
    assert there.paid == ["subgood", "sublazy"]
    again = call("bonus", "--yes", rows=[rows[0], "subhalf,0.50", *reversed(rows[1:])])
    assert "2 of 3 submissions were paid a bonus before" in str(again.exception) and len(there.paid) == 2
    there.silent_pay = True
    lost = call("bonus", "--yes", "--again", rows=rows)
    assert "whether batch batch1 was paid is not known" in str(lost.exception)
    assert sum(path.endswith("/pay/") for path in changes(there)) == 2, "a payment is never repeated by itself"
    assert len(query(database, "SELECT 1 FROM owner_actions WHERE action = 'Prolific bonuses paid'")) == 2


def test_errors_of_prolific_pass_on_in_one_sentence(there, database_url):
    with pytest.raises(PlatformError, match=r"Prolific refuses \(401\): No valid token was provided\."):
        ProlificApi("wrong", address=there.address).submissions("STUDY")
    api = ProlificApi(TOKEN, address=there.address)
    with pytest.raises(PlatformError, match=r"\(400\): csv_bonuses: unknown ids \['gone'\]"):
        api.set_up_bonuses("STUDY", [Bonus("gone", Decimal("1"))])
    there.busy = 2
    for number in range(PAGE_SIZE + 1):
        there.add(f"more{number}", "p")
    assert len(api.submissions("STUDY")) == PAGE_SIZE + 5, "every page, and again after 429"
    with pytest.raises(InputError, match="PROLIFIC_TOKEN is not set"):
        ProlificApi.of_environment({})


def test_several_studies_in_peoples_links_are_named_and_not_guessed(there, call, database):
    """A link can be forged: whoever writes another STUDY_ID into it must not decide which study is asked for."""
    with database.transaction() as tx:
        tx.command("UPDATE platform_sessions SET external_study = 'FORGED' WHERE external_session = 'subhalf'")
    refused = call("status")
    assert "STUDY (2 people), FORGED (1 people); name yours with --study-id" in str(refused.exception)
    assert call("status", "--study-id", "STUDY").exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("a\na\n", "listed twice"),
        ("../x\n", "not a submission id"),
        ("a,b\nc,d\n", "a column `submission`"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path, text, words, database_url):
    file = tmp_path / "list"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_list(file)


@pytest.mark.parametrize("amount", ["-1", "0", "1.505", "NaN", "a", "1e400000000"])
def test_an_amount_that_is_none_is_refused(tmp_path, amount, database_url):
    file = tmp_path / "bonuses.csv"
    file.write_text(f"submission,amount\nsub,{amount}\n")
    with pytest.raises(InputError, match=r"bonuses\.csv:2"):
        read_bonuses(file)
