"""A ranking study with a stopping rule: sets of the arms that are left, down to two pictures, and looks at them."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import combinations

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.auditing.looks import take_looks_again
from analysis.auditing.read import read_evidence
from analysis.report.subjects.looks import find_looks
from analysis.winrates import app as winrates_app
from qsched.cli.main import app as cli
from qsched.cli.study import _check_lines
from qsched.records.rankings import NUMBERS, write_ranking
from qsched.records.stopping import looks_beside, read_looks
from study_server.admin.counting import AnswersCount, count_at_once
from study_server.assignment.policy import draw_places
from study_server.auditing.evidence import write_evidence
from study_server.auditing.preregistering import read_pairs
from study_server.db.statements import Statement
from study_server.export import export_votes
from study_server.looking import studies_to_look_at
from study_server.studies.cache import find_study
from study_server.studies.comparisons import MisfitError
from study_server.studies.design import StudyDesign
from study_server.studies.estimate import estimate_study
from study_server.studies.looks import read_stopping
from study_server.studies.ownership import list_studies
from study_server.studies.triplets import plan_study
from tests.conftest import ARMS
from tests.study_server.stored_votes import store_person, store_vote
from tests.study_server.test_auditing import run_audit
from tests.study_server.test_looks import look
from tests.study_server.visiting import Visitor, query, serving

BASE, SAME, WORSE = ARMS
RULE = {"baseline": BASE, "margin": 0.2, "looks": 2, "horizon": 200}
DESIGN = {"design": "ranking", "ranking": {"pictures": 3}, "votes_per_pair": 20, "stopping": RULE}


def rank(database, people: int, *, start: int = 0) -> None:
    """Rankings by whole people of every set that is handed out, as the server stores them; WORSE is mostly last."""
    rng = random.Random(start)
    worth = {BASE: 0.0, SAME: 0.0, WORSE: -2.5}
    with database.transaction() as tx:
        sets = tx.all(
            Statement(
                "SELECT p.id, f.arm, s.arm, t.arm FROM pairs p JOIN images f ON f.id = p.first_image_id "
                "JOIN images s ON s.id = p.second_image_id LEFT JOIN ranked_sets k ON k.pair_id = p.id "
                "LEFT JOIN images t ON t.id = k.third_image_id WHERE p.pool = 'task' ORDER BY p.id"
            )
        )
        for who in range(start, start + people):
            store_person(tx, 1000 + who)
            for number, *row in sets:
                arms = [arm for arm in row if arm is not None]
                seen = {n: worth[arm] - rng.expovariate(1.0) for n, arm in enumerate(arms)}
                order = tuple((n,) for n in sorted(seen, key=lambda n: -seen[n]))
                first_left = rng.random() < 0.5
                places = draw_places(len(arms), first_on_left=first_left, rng=rng)
                choice = write_ranking(order, NUMBERS)
                store_vote(tx, who=1000 + who, pair=number, choice=choice, first_left=first_left, places=places)


def pools(database) -> dict[tuple[str, int], int]:
    """Number of sets by pool and number of pictures."""
    rows = query(
        database,
        "SELECT p.pool, CASE WHEN k.pair_id IS NULL THEN 2 WHEN k.fourth_image_id IS NULL THEN 3 ELSE 4 END, COUNT(*) "
        "FROM pairs p LEFT JOIN ranked_sets k ON k.pair_id = p.id GROUP BY 1, 2",
    )
    return {(pool, pictures): number for pool, pictures, number in rows}


def test_every_set_of_the_baseline_and_other_arms_is_planned_and_the_large_ones_come_first():
    arms = [f"a{n}" for n in range(6)]
    rule = {"baseline": "a0", "horizon": 800, "looks": 4}
    design = StudyDesign(slug="s", title="t", images="x", design="ranking", votes_per_pair=30, stopping=rule)
    images = [(f"p{n}", 0, arm) for n in range(20) for arm in arms]
    sets = plan_study(design, arms=arms, images=images)
    sizes = Counter((one.pool, len(one.all_arms)) for one in sets)
    assert sizes == {("task", 4): 20 * 10, ("reserve", 3): 20 * 10, ("reserve", 2): 20 * 5}
    assert len({one.pair_key for one in sets}) == len(sets) and all("a0" in one.all_arms for one in sets)
    for choice in combinations(arms[1:], 3):
        assert sum(set(choice) < set(one.all_arms) for one in sets if one.pool == "task") == 20
    round_one = sets[:20]
    assert len({one.prompt_key for one in round_one}) == 20
    assert {Counter(arm for one in round_one for arm in one.all_arms)[arm] for arm in arms[1:]} == {12}
    assert plan_study(design, arms=arms, images=images) == sets


def test_a_rule_that_sets_cannot_carry_out_is_refused(make_study):
    with pytest.raises(MisfitError, match=r"on 6 prompts x 2 votes = 12"):
        make_study(**DESIGN | {"votes_per_pair": 2})
    with pytest.raises(MisfitError, match="name one arm in"):
        make_study(**DESIGN | {"stopping": RULE | {"baseline": SAME}})
    arms = [f"a{n:02}" for n in range(20)]
    design = StudyDesign(
        slug="s", title="t", images="x", design="ranking", stopping={"baseline": "a00", "horizon": 200}
    )
    with pytest.raises(MisfitError, match="1159"):
        plan_study(design, arms=arms, images=[("p0", 0, arm) for arm in arms])


async def test_the_last_open_arm_is_ranked_beside_the_baseline_alone(database, settings, make_study, tmp_path):
    make_study(**DESIGN)
    assert pools(database) == {("task", 3): 6, ("reserve", 2): 12}
    (row,) = list_studies(database)
    # Two other arms until look 1 at 100 votes, 2 x 2 votes in a ranking of three; then one of them alone to 200.
    assert row.target_votes == 100 * 2 // 4 + 100
    assert "look 1 is due at 100 valid votes of each open arm" in look(database)
    rank(database, 8)  # 8 x 6 rankings of three: 96 votes of each arm
    assert "fewest that one has, with votes on screens, are 96" in look(database)
    rank(database, 2, start=8)
    said = look(database)
    assert f"{WORSE}  " in said and f"worse than {BASE}" in said, said
    assert "look 1: 150 votes of 9 people on 6 prompts" in said, "as many as it needed"
    assert pools(database) == {("decided", 3): 6, ("task", 2): 6, ("reserve", 2): 6}
    with database.snapshot() as tx:
        assert studies_to_look_at(tx) == []
        stopping = read_stopping(tx, find_study(tx, "s"))
    assert stopping.undecided == (SAME,) and stopping.is_carried_out and not stopping.exhausted
    # A newcomer is shown two pictures, and puts them in order.
    async with serving(settings) as browser:
        visitor = Visitor(browser())
        await visitor.enter()
        await visitor.begin()
        shown = 0
        while visitor.queue:
            item = visitor.queue[0]
            assert item["others"] == []
            wrong = visitor.ballot(item) | {"answers": {}, "rankings": {"overall": "a>b>c"}}
            assert (await visitor.post("api/votes", wrong)).status_code == 422
            ballot = visitor.ballot(item) | {"answers": {}, "rankings": {"overall": "b>a"}}
            answer = await visitor.post("api/votes", ballot)
            assert answer.status_code == 200, answer.text
            shown += 1
            visitor.queue.pop(0)
            body = answer.json()
            visitor.queue += [one for one in (body["next"], *body["more"]) if one]
    assert shown == 6
    newest = query(
        database,
        "SELECT v.choice, a.places FROM votes v JOIN assignments a ON a.id = v.assignment_id "
        "ORDER BY v.id DESC LIMIT 6",
    )
    assert all(choice == f"{places[1]}>{places[0]}" for choice, places in newest), "b>a: the one that lay second"
    summary = export_votes(database, study="s", path=tmp_path / "all.parquet")
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert summary.written == 10 * 6 * 3 + 6 == table.height
    assert set(table.tail(6)["choice"]) == {"right"}
    assert {frozenset(row) for row in table.tail(6).select("left_arm", "right_arm").iter_rows()} == {
        frozenset((BASE, SAME))
    }
    with database.snapshot() as tx:
        answers = count_at_once(tx, AnswersCount(find_study(tx, "s")))
        counts = {(one.first, one.second): one.votes for one in answers.rows}
    assert counts == {(BASE, SAME): 66, (BASE, WORSE): 60, (SAME, WORSE): 60}


def test_a_ranking_study_with_dropping_is_audited_and_reported_by_its_looks(database, make_study, tmp_path):
    make_study(**DESIGN)
    with database.snapshot() as tx:
        before = read_pairs(tx, 1)
    rank(database, 10)
    look(database)
    with database.snapshot() as tx:
        assert read_pairs(tx, 1) == before, "what was preregistered does not change with the looks"
    rank(database, 14, start=10)
    said = look(database)
    assert "look 2: " in said and ("every arm is decided" in said or "the last look is over" in said), said
    assert ("task", 2) not in pools(database)

    folder = tmp_path / "evidence"
    write_evidence(database, study="s", folder=folder)
    code, audit = run_audit(folder)
    assert code == 3 and "passed planned looks are what the votes make" in audit, audit
    looks = json.loads((folder / "votes.looks.json").read_text())
    looks["looks"][0]["through"] -= 1
    (folder / "votes.looks.json").write_text(json.dumps(looks))
    (problem,) = take_looks_again(read_evidence(folder)).problems
    assert problem.startswith("look 1: it was due with vote")

    file, url = tmp_path / "votes.parquet", database.url.render_as_string(False)
    outcome = CliRunner().invoke(cli, ["votes", "export", str(file), "--study", "s", "--db", url])
    assert outcome.exit_code == 0, outcome.output
    found = read_looks(looks_beside(file))
    assert find_looks(None, [str(file)])[1] == (found,) and found.arms == 2
    done = CliRunner().invoke(winrates_app, [str(file), "--out", str(tmp_path / "report"), "--formats", "svg"])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "arms is decided" in page or "arms are decided" in page


def test_smaller_sets_are_handed_out_though_the_process_was_stopped_after_the_look(database, make_study, monkeypatch):
    make_study(**DESIGN)
    rank(database, 10)
    with monkeypatch.context() as patch:
        patch.setattr("qsched.cli.study_look._carry_out", lambda *_: None)
        look(database)
    assert pools(database) == {("task", 3): 6, ("reserve", 2): 12}
    with database.snapshot() as tx:
        stopping = read_stopping(tx, find_study(tx, "s"))
        assert stopping.next_set == (BASE, SAME) and not stopping.exhausted
        assert studies_to_look_at(tx) == ["s"]
    look(database)
    assert pools(database) == {("decided", 3): 6, ("task", 2): 6, ("reserve", 2): 6}


def test_the_most_rankings_that_a_rule_may_ask_for_are_priced_and_are_the_target(database, make_study):
    images = [(f"p{n}", 0, arm) for n in range(6) for arm in ARMS]

    def designed(**more):
        return StudyDesign(**{"slug": "s", "title": "t", "images": "x", **DESIGN, **more})

    def priced(**more):
        design = designed(**more)
        return estimate_study(design, plan_study(design, arms=ARMS, images=images))

    found = priced()
    said = dict(_check_lines(designed(), found))
    assert said["sets of 3 pictures"] == "6 with at most 20 rankings, at most 150 valid rankings together"
    assert said["looks"].startswith("2, at 100, 200 votes of each open arm")
    assert found.valid_votes == 150, "a small set of the last open arm is one vote"
    assert found.votes_per_comparison == 116, "no more than all sets of three can take: 120 x 2.9 / 3"
    anytime = {"stopping": RULE | {"bounds": "anytime"}}
    assert priced(**anytime).valid_votes == (6 + 12) * 20, "such a study goes on while there are sets"
    make_study(**DESIGN | anytime)
    assert list_studies(database)[0].target_votes == (6 + 12) * 20
