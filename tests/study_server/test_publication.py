"""A study as a folder for others: complete, checked, and with nothing in it that leads to a person."""

from __future__ import annotations

import hashlib
import json

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from analysis.stats.agreement import agreement
from analysis.votes.read import read_votes
from qsched.cli.main import app
from qsched.errors import InputError
from qsched.records import image_id_for, iter_rows
from study_server.owner import act_on_study
from study_server.publication.folder import publish
from study_server.quality.exclusion import exclude
from study_server.studies.actions import COMMAND_LINE
from study_server.studies.creation import create_study
from study_server.studies.design import StudyDesign
from tests.conftest import ARMS, write_image_set
from tests.study_server.visiting import Visitor, query, serving

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SECRETS = ("pid-7", "sub-7", "DONE77", "lighthouse keeper", "the cat walked in")
VIEW = {"input": "key", "viewport": {"w": 1280, "h": 720, "dpr": 1.5}}
LOOK = {"layout": "side", "scale": 2, "zoomed": True, "swaps": 3}


@pytest.fixture
async def answered(settings, database, make_study):
    """A study with three people: one excluded, one who reported a pair, one whose page sent how the pair was shown."""
    make_study(
        votes_per_pair=3,
        questions=[{"id": "overall", "text": "Which one?"}, {"id": "match", "text": "Which fits?"}],
        demographics=[{"id": "job", "label": "Your job?"}],
        platform={"name": "prolific", "completion_code": "DONE77"},
        instructed=1,
        pairs_per_annotator=None,
    )
    async with serving(settings) as browser:
        first = await Visitor(browser()).enter("?PROLIFIC_PID=pid-7&SESSION_ID=sub-7", d_job="lighthouse keeper")
        await first.begin()
        report = {"problem": "cannot_judge", "detail": "the cat walked in", "tab_token": first.tab}
        pair = first.queue.pop()["token"]
        await first.post("api/report", {**report, "assignment": pair, "idempotency_key": "k" * 12})
        ballot = first.ballot(first.queue[0], **VIEW, view=LOOK, hidden_ms=77)
        assert (await first.post("api/votes", ballot)).is_success
        await first.begin()
        await first.vote_all()
        for name in ("pid-8", "pid-9"):
            await (await Visitor(browser()).enter(f"?PROLIFIC_PID={name}", d_job="x")).vote_all(lambda _: "right")
    gone = query(database, "SELECT pseudonym FROM annotators ORDER BY id DESC")[0][0]
    act_on_study(database, "s", exclude, pseudonym=gone, reason="missed the check", by=COMMAND_LINE)
    return database


def everything(folder) -> str:
    """The text of every file; tables as rows, since parquet is compressed."""
    texts = [str(pl.read_parquet(path).rows()) for path in folder.glob("*.parquet")]
    return "".join(texts + [path.read_text() for path in folder.iterdir() if path.suffix != ".parquet"])


async def test_the_folder_is_complete_and_leads_to_nobody(answered, settings, tmp_path):
    folder = tmp_path / "out"
    done = CliRunner().invoke(app, ["study", "publish", "s", "--out", str(folder), "--db", settings.database_url])
    assert done.exit_code == 0, (done.output, done.exception)
    names = {"votes.parquet", "display.parquet", "sessions.parquet", "reports.parquet"}
    assert {path.name for path in folder.iterdir()} == names | {"README.md", "study-card.json", "SHA256SUMS"}
    text = everything(folder)
    hidden = [
        settings.secret_key.get_secret_value(),
        *(row[0] for row in query(answered, "SELECT token_hash FROM sessions")),
    ]
    hidden += [row[0] for row in query(answered, "SELECT withdraw_code FROM sessions")]
    assert not [secret for secret in (*SECRETS, "pid-8", *hidden) if secret in text]
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


async def test_the_display_table_goes_row_for_row_with_the_votes(answered, tmp_path):
    folder = publish(answered, "s", tmp_path / "out", agree=lambda _: None).folder
    votes, display = (pl.read_parquet(folder / f"{name}.parquet") for name in ("votes", "display"))
    keys = ["session", "pair_id", "kind", "question", "answered_at"]
    assert votes.select(keys).equals(display.select(keys)) and votes.select(keys).is_unique().all()
    with_view = display.filter(pl.col("swaps").is_not_null())
    assert with_view.height == 2, "two questions of one pair"
    row = with_view.row(0, named=True)
    assert (row["input"], row["viewport_width"], row["pixel_ratio"], row["scale"], row["swaps"], row["hidden_ms"]) == (
        "key",
        1280,
        1.5,
        2.0,
        3,
        77,
    )
    assert row["zoomed"] is True and row["layout"] == "side"


async def test_the_card_counts_what_the_file_and_the_database_hold(answered, tmp_path):
    done = publish(answered, "s", tmp_path / "out", agree=lambda _: None)
    card = json.loads((done.folder / "study-card.json").read_text())
    votes = pl.read_parquet(done.folder / "votes.parquet")
    assert card["votes"]["exported"] == votes.height == done.votes.written
    assert card["votes"]["rows_in_database"] == query(answered, "SELECT COUNT(*) FROM votes")[0][0]
    task = votes.filter(pl.col("kind") == "task")
    assert card["votes"]["task_labels"] == dict(task["choice"].value_counts().sort("choice").iter_rows())
    assert card["people"]["sessions"] == 3 and card["people"]["excluded_people"] == {"missed the check": 1}
    assert card["task"]["questions"] == {"overall": "Which one?", "match": "Which fits?"}
    assert card["agreement"] is None and card["quality"]["attention_checks"]["of"] == 4
    page = (done.folder / "README.md").read_text()
    header = yaml.safe_load(page.split("---")[1])
    assert {config["data_files"] for config in header["configs"]} == set(done.tables.values())
    assert "1 person was excluded" in page and "Not computed." in page


async def test_agreement_is_that_of_the_analysis(answered, settings, tmp_path):
    folder = tmp_path / "out"
    words = ["study", "publish", "s", "--out", str(folder), "--db", settings.database_url]
    assert CliRunner().invoke(app, words).exit_code == 0
    card = json.loads((folder / "study-card.json").read_text())
    expected = agreement(read_votes(pl.read_parquet(folder / "votes.parquet").filter(pl.col("kind") == "task")))
    assert card["agreement"]["items_with_two_or_more"] == expected.n_items > 0
    assert card["agreement"]["krippendorff_alpha_nominal"] == expected.alpha_nominal.value


async def test_answers_about_people_go_out_only_if_asked_for_and_no_folder_is_written_over(answered, tmp_path):
    done = publish(answered, "s", tmp_path / "out", agree=lambda _: None, with_demographics=True)
    rows = pl.read_parquet(done.folder / "demographics.parquet")
    assert rows["answer"].to_list() == ["lighthouse keeper", "x", "x"]
    with pytest.raises(InputError, match="is not empty"):
        publish(answered, "s", tmp_path / "out", agree=lambda _: None)


def test_a_fidelity_study_is_published_as_triplets(database, settings, small_image_set, tmp_path):
    design = StudyDesign(slug="f", title="Faces", images=str(small_image_set), design="fidelity")
    create_study(
        database, design, set_folder=small_image_set, data_folder=settings.data_folder, progress=lambda _: None
    )
    done = publish(database, "f", tmp_path / "out", agree=lambda _: None)
    assert done.tables["votes"] == "triplets.parquet"
    assert "Annotators saw" in (done.folder / "README.md").read_text()


def test_the_card_counts_the_pairs_that_nobody_saw(database, settings, tmp_path):
    images = write_image_set(tmp_path / "set", prompts=3, arms=("a", "b", "c"), size=16)
    rows = [row for row in iter_rows(images) if row.arm != "c"]
    for row in [row for row in rows if row.arm == "a"][:2]:  # c becomes a copy of a
        copy = image_id_for(sha256=row.sha256, arm="c", prompt_id=row.prompt_id, sample_index=0)
        (images / "images" / f"{copy}.png").write_bytes((images / row.file_name).read_bytes())
    same = {row.prompt_id: row for row in rows if row.arm == "a"}
    lines = []
    for row in iter_rows(images):
        if row.arm == "c" and row.prompt_id in ("p0", "p1"):
            (images / row.file_name).unlink()
            sha256 = same[row.prompt_id].sha256
            copy = image_id_for(sha256=sha256, arm="c", prompt_id=row.prompt_id, sample_index=0)
            row = row.model_copy(update={"sha256": sha256, "image_id": copy})
        lines.append(row.model_dump_json() + "\n")
    (images / "images.jsonl").write_text("".join(lines))
    design = StudyDesign(slug="s", title="t", images=str(images))
    data = settings.data_folder
    made = create_study(database, design, set_folder=images, data_folder=data, progress=lambda _: None)
    assert made.identical == 2
    done = publish(database, "s", tmp_path / "out", agree=lambda _: None)
    card = json.loads((done.folder / "study-card.json").read_text())
    assert card["task"]["pairs_left_out"] == {"identical": 2} and card["task"]["pairs"] == 7
    page = (done.folder / "README.md").read_text()
    assert "2 further pairs of the image set were left out before anybody saw them: 2 identical." in page


@pytest.mark.parametrize("values", [{}, {"design": "ranking", "ranking": {"pictures": 3}}])
def test_the_card_names_arms_that_were_decided_and_arms_that_lie_third_in_a_set(database, make_study, tmp_path, values):
    make_study(**values)
    with database.transaction() as tx:
        tx.command("UPDATE pairs SET pool = 'decided'")  # as the stopping rule leaves them
    done = publish(database, "s", tmp_path / "out", agree=lambda _: None)
    assert json.loads((done.folder / "study-card.json").read_text())["task"]["arms"] == sorted(ARMS)


def test_a_study_without_votes_has_a_card_too(database, make_study, tmp_path):
    make_study()
    done = publish(database, "s", tmp_path / "out", agree=lambda _: None)
    assert done.votes.written == 0 and "Of 0 sessions, 0 were finished" in (done.folder / "README.md").read_text()
    assert pl.read_parquet(done.folder / "display.parquet").height == 0
