"""study.yaml: each mistake is named with its line; the commented file and the defaults agree."""

from __future__ import annotations

import re
import shutil

import pytest

from qsched.errors import InputError, RowError
from study_server.resources import PACKAGE
from study_server.studies.comparisons import plan_pairs
from study_server.studies.design import StudyDesign
from study_server.studies.estimate import estimate_study
from study_server.studies.ownership import list_studies
from study_server.studies.picture_sizes import measure_pairs
from study_server.studies.yaml_file import read_study_file
from tests.study_server.visiting import query

HEAD = "slug: s\ntitle: A study\nimages: set\n"
ARMS = ("fp32", "w4a4", "w4a4+qsched")
IMAGES = [(f"p{n}", 0, arm) for n in range(6) for arm in ARMS]


def write(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (HEAD + "votes_per_par: 3\n", 4, "unknown key 'votes_per_par'; did you mean 'votes_per_pair'?"),
        (HEAD + "wallpaper: 3\n", 4, "unknown key 'wallpaper'; the keys here are adaptive, allow_skip"),
        (HEAD + "votes_per_pair: many\n", 4, "votes_per_pair: Input should be a valid integer"),
        (HEAD + "votes_per_pair: 0\n", 4, "greater than or equal to 1"),
        (HEAD + "screening:\n  touch: true\n  zoom: 3\n", 6, "unknown key 'screening.zoom'"),
        (HEAD + "questions:\n  - {id: a, text: x}\n  - {id: A!, text: y}\n", 6, "questions.1.id"),
        (HEAD + "questions:\n  - {id: a, text: x}\n  - {id: a, text: y}\n", 4, "a is listed twice"),
        (HEAD + "questions: []\n", 4, "questions is empty"),
        (HEAD + "gold:\n  - prompt: p1\n    better: fp32\n    worse: fp32\n", 5, "name two arms"),
        (HEAD + "platform: {name: prolific}\n", 4, "completion_code"),
        (HEAD + "slug: twice\n", 4, "key 'slug' is given twice"),
        ("title: A study\nimages: set\n", 1, "slug is missing"),
        ("slug: Bad Slug\ntitle: A study\nimages: set\n", 1, "slug"),
        (HEAD + "consent: [1\n", 5, "not valid YAML"),
        ("- a\n- b\n", 1, "a mapping of keys"),
        ("", 1, "a mapping of keys"),
        (HEAD + "comparisons: random\n", 4, "comparisons"),
        (HEAD + "adaptive: {floor: 0}\n", 4, "adaptive.floor"),
        (HEAD + "adaptive:\n  question: text\n", 5, "the questions are overall"),
        (HEAD + "languages: []\n", 4, "languages is empty; name at least one"),
        (HEAD + "languages: [en]\nconsent:\n  text: {en: A,\n    de: B}\n", 7, "is written in de, and languages"),
        (HEAD + "languages: [en, de]\ninstructions:\n  de: B\n", 5, "instructions lacks en, the first of languages"),
        (HEAD + "questions:\n  - {id: a, text: x}\n  - {id: b, text: {fr: y}}\n", 6, "is written in fr, and languages"),
        (HEAD + "end_after_failed_checks: 2\n", 4, "needs attention checks"),
        (HEAD + "arms: [fp32]\n", 4, "a comparison needs two"),
        (
            HEAD + "gold:\n  - {prompt: p1, better: fp32, worse: w4a4}\npractice:\n"
            "  - {prompt: p1, better: fp32, worse: w4a4}\n",
            7,
            "is practised and gold",
        ),
        (HEAD + "votes_total: 0\n", 4, "votes_total"),
        (HEAD + "languages: [en, fr]\n", 4, "no catalogue for 'fr': the annotator's pages speak en, ar, de, es"),
        (HEAD + "seconds_per_vote: .inf\n", 4, "finite number"),
        (HEAD + "pay: {per_hour: .nan}\n", 4, "finite number"),
        (HEAD + "gold:\n  - {{prompt: p1}}\n", 5, "used as a key"),
        (HEAD + "? [a, b]\n: 1\n", 4, "used as a key"),
        (HEAD + "gold: " + "[" * 3000 + "]" * 3000 + "\n", 4, "nested more than 20"),
        (HEAD + "gold:\n" + "".join("  " * n + "- \n" for n in range(1, 300)), 24, "nested more than 20"),
        (HEAD + "gold: &a []\npractice: *a\n", 5, "aliases"),
        (HEAD + "consent: {version: 2026-13-45}\n", 4, "put it in quotes"),
        (HEAD + "consent: {version: !!python/name:os.system 1}\n", 4, "tags are not allowed"),
        (HEAD + "consent: {version: 2}\n", 4, "(got 2); put it in quotes"),
        (HEAD + "platform: {completion_code: 12345}\n", 4, "(got 12345); put it in quotes"),
        (
            HEAD + "demographics:\n  - {id: a, label: b, kind: choice, choices: [yes, no]}\n",
            5,
            "(got True); put it in quotes",
        ),
        (HEAD + "demographics:\n  - {id: a, label: b, kind: choice, choices: [x, x]}\n", 5, "'x' is listed twice"),
        (HEAD + "demographics:\n  - {id: a, label: Well: no, kind: text}\n", 5, "in quotes"),
        ("slug: s\ntitle: Which: this or that\nimages: set\n", 2, "in quotes"),
        (HEAD + "comparisons: [[a, b, c]]\n", 4, "a list of pairs of arms"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, line, words):
    with pytest.raises(RowError) as caught:
        read_study_file(write(tmp_path, text))
    assert caught.value.line == line, caught.value
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("arms:\n  - fp32\n  - int2\n", 6, "no arm 'int2'"),
        ("comparisons: {baseline: int2}\n", 4, "no arm 'int2'"),
        ("comparisons:\n  - [fp32, w4a4]\n  - [fp32, int2]\n", 6, "no arm 'int2'"),
        ("comparisons: [[fp32, fp32]]\n", 4, "name two arms"),
        ("gold:\n  - {prompt: p1, better: fp32, worse: int2}\n", 5, "no arm 'int2'"),
        ("gold:\n  - {better: fp32, worse: w4a4,\n     prompt: p99}\n", 6, "no image of prompt 'p99'"),
        ("gold:\n" + 2 * "  - {prompt: p1, better: fp32, worse: w4a4}\n", 6, "is listed twice"),
        ("votes_total: 91\n", 4, "votes_total is 91"),
    ],
)
def test_what_does_not_fit_the_image_set_is_named_with_its_line_by_check_and_create(
    tmp_path, small_image_set, text, line, words
):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    path = write(tmp_path, f"slug: s\ntitle: t\nimages: {small_image_set}\n{text}")
    database = f"sqlite:///{tmp_path / 'study.db'}"
    for command in (["check", str(path)], ["create", str(path), "--db", database]):
        done = CliRunner().invoke(app, ["study", *command])
        assert isinstance(done.exception, RowError), done.output
        assert done.exception.line == line, done.exception
        assert words in str(done.exception)


@pytest.mark.parametrize("command", ["check", "create"])
def test_a_file_that_is_not_there_is_said_not_to_exist(tmp_path, command):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    done = CliRunner().invoke(app, ["study", command, str(tmp_path / "sutdy.yaml")])
    assert isinstance(done.exception, InputError)
    assert "sutdy.yaml does not exist" in str(done.exception)


def test_every_example_of_the_commented_file_can_be_uncommented(tmp_path):
    template = (PACKAGE / "studies" / "template.yaml").read_text(encoding="utf-8").format(slug="s", images="set")
    lines: list[str] = []
    uncommented = 0
    for line in template.splitlines():
        example = re.fullmatch(r"( *)#( *)((?:- \{|[a-z_]+:).*)", line)
        if example is None:
            lines.append(line)
            continue
        uncommented += 1
        indent, gap, words = example.groups()
        if words.startswith("- {"):  # an item of the list above, which is empty there
            lines[-1] = lines[-1].replace(" []", "", 1)
            lines.append(f"{indent}{gap}{words}")
        else:
            lines.append(f"{indent}{gap[1:]}{words}")
    design = read_study_file(write(tmp_path, "\n".join(lines)))
    assert uncommented == 29
    assert design.comprehension and design.instructions
    assert design.gold and design.practice and design.demographics and design.pay and design.adaptive and design.arms


def test_the_list_of_studies_survives_one_whose_design_cannot_be_read(make_study, database, settings, monkeypatch):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    for slug in ("good", "bad", "last"):
        make_study(slug)
    query(
        database,
        'UPDATE studies SET design = \'{"slug": "bad", "seconds_per_vote": null}\' WHERE slug = \'bad\' RETURNING id',
    )
    assert [(row.slug, row.target_votes) for row in list_studies(database)] == [
        ("good", 36),
        ("bad", None),
        ("last", 36),
    ]
    done = CliRunner().invoke(app, ["study", "list", "--db", settings.database_url])
    assert done.exit_code == 0, done.output
    assert "the design of bad cannot be read" in done.output and "last" in done.output


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    bomb = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b]\n"
    with pytest.raises(RowError, match="aliases"):
        read_study_file(write(tmp_path, HEAD + bomb))


def test_the_commented_file_holds_the_defaults(tmp_path, small_image_set):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    path = tmp_path / "study.yaml"
    done = CliRunner().invoke(app, ["study", "init", str(small_image_set), "--out", str(path)])
    assert done.exit_code == 0, done.output
    design = read_study_file(path)
    assert design == StudyDesign(slug="drawn", title=design.title, images=design.images)
    assert (path.parent / design.images).resolve() == small_image_set.resolve()
    checked = CliRunner().invoke(app, ["study", "check", str(path)])
    assert "18 x 5 votes = 90 valid votes" in checked.output
    named = {line.strip().lstrip("# ").split(":")[0] for line in path.read_text().splitlines() if ":" in line}
    assert set(StudyDesign.model_fields) <= named


def design(**values):
    return StudyDesign(slug="s", title="t", images="i", **values)


def test_comparisons_are_all_pairs_a_baseline_or_a_list():
    def arms_of(**values):
        return {(p.first_arm, p.second_arm) for p in plan_pairs(design(**values), arms=ARMS, images=IMAGES)}

    assert arms_of() == {("fp32", "w4a4"), ("fp32", "w4a4+qsched"), ("w4a4", "w4a4+qsched")}
    assert arms_of(comparisons={"baseline": "w4a4"}) == {("fp32", "w4a4"), ("w4a4", "w4a4+qsched")}
    assert arms_of(comparisons=[["w4a4+qsched", "fp32"]]) == {("fp32", "w4a4+qsched")}
    assert arms_of(arms=["fp32", "w4a4"]) == {("fp32", "w4a4")}
    for wrong in ({"comparisons": {"baseline": "int2"}}, {"arms": ["fp32", "int2"]}, {"comparisons": [["a", "b"]]}):
        with pytest.raises(InputError, match="has no arm"):
            plan_pairs(design(**wrong), arms=ARMS, images=IMAGES)


def test_each_round_of_the_task_order_shows_every_prompt_once():
    order = [pair.prompt_key for pair in plan_pairs(design(), arms=ARMS, images=IMAGES)]
    assert all(len(set(order[start : start + 6])) == 6 for start in (0, 6, 12))


def test_practice_prompts_and_gold_pairs_are_kept_out_of_the_task():
    pairs = plan_pairs(
        design(
            practice=[{"prompt": "p0", "better": "fp32", "worse": "w4a4"}],
            gold=[{"prompt": "p1", "better": "fp32", "worse": "w4a4"}],
        ),
        arms=ARMS,
        images=IMAGES,
    )
    assert [pair.pool for pair in pairs].count("task") == 3 * 5 - 1
    assert not [pair for pair in pairs if pair.pool == "task" and pair.prompt_key == "p0"]
    with pytest.raises(InputError, match="no image of prompt 'p99'"):
        plan_pairs(design(gold=[{"prompt": "p99", "better": "fp32", "worse": "w4a4"}]), arms=ARMS, images=IMAGES)


def test_the_estimate_counts_people_hours_and_money():
    plan = design(
        votes_per_pair=10,
        pairs_per_annotator=9,
        repeat_rate=0,
        seconds_per_vote=10,
        pay={"per_hour": 12, "platform_fee": 0.25},
    )
    found = estimate_study(plan, plan_pairs(plan, arms=ARMS, images=IMAGES))
    assert (found.pairs, found.valid_votes, found.annotators) == (18, 180, 20)
    # 90 s of pairs and 90 s of reading for each of 20 people.
    assert found.hours == pytest.approx(20 * (90 + 90) / 3600)
    assert found.cost == pytest.approx(1.0 * 12 * 1.25)
    assert found.votes_per_comparison == 60
    # Six prompts: next to nothing can be shown, whatever the number of votes.
    assert found.weakest.win_rate is not None and found.weakest.win_rate > 0.75
    assert any("would probably not be found" in warning for warning in found.warnings)
    assert "only 6 prompts: with fewer than 15 the report's intervals are rough" in found.warnings


def images_of(prompts: int, arms=ARMS):
    return [(f"p{n}", 0, arm) for n in range(prompts) for arm in arms]


def test_what_a_study_can_show_grows_with_people_and_prompts_and_is_nothing_like_that_of_independent_votes():
    def found(**values):
        plan = design(**{"votes_per_pair": 5, "arms": ["fp32", "w4a4"], "pairs_per_annotator": 20, **values})
        return estimate_study(plan, plan_pairs(plan, arms=ARMS, images=images_of(100))).weakest

    base = found()
    # 500 independent untied votes would show 0.5 + 2.8016 / (2 sqrt(500)) = 56.3 %.
    assert 0.57 < base.win_rate < 0.62 and base.design_effect > 1.5
    assert found(votes_per_pair=10).win_rate < base.win_rate < found(pairs_per_annotator=100).win_rate
    assert found(votes_total=250).win_rate > base.win_rate


def test_arms_that_no_comparison_joins_and_a_study_that_is_too_small_are_named():
    arms = ("a", "b", "c", "d")
    plan = design(comparisons=[["a", "b"], ["c", "d"]])
    found = estimate_study(plan, plan_pairs(plan, arms=arms, images=images_of(100, arms)))
    assert found.islands == (("a", "b"), ("c", "d"))
    assert found.warnings[0] == (
        "no comparison joins these groups of arms: a, b | c, d; there is no ranking across them: add a comparison"
    )
    joined = design(comparisons=[["a", "b"], ["c", "d"], ["b", "c"]])
    assert len(estimate_study(joined, plan_pairs(joined, arms=arms, images=images_of(100, arms))).islands) == 1
    forgotten = design(comparisons=[["a", "b"]], arms=["a", "b", "c"])
    assert estimate_study(forgotten, plan_pairs(forgotten, arms=arms, images=images_of(100, arms))).islands == (
        ("a", "b"),
        ("c",),
    )
    small = design(votes_per_pair=2)
    warnings = estimate_study(small, plan_pairs(small, arms=arms, images=images_of(20, arms))).warnings
    assert any("could be 60 % to 40 % and would probably not be found" in warning for warning in warnings)
    assert any(warning.startswith("only 6 people") for warning in warnings)


def test_a_pair_with_several_questions_is_not_priced_as_one_without_a_word():
    arms = ("a", "b")
    three = [{"id": name, "text": f"Which is {name}?"} for name in ("better", "sharper", "nearer")]
    for values, said in (
        ({"questions": three}, True),
        ({"questions": three, "seconds_per_vote": 20}, False),
        ({}, False),
    ):
        plan = design(**values)
        warnings = estimate_study(plan, plan_pairs(plan, arms=arms, images=images_of(100, arms))).warnings
        assert any("8 s for a pair with 3 questions" in warning for warning in warnings) is said


def test_the_check_says_what_it_rests_on(tmp_path, small_image_set):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    path = write(tmp_path, f"slug: s\ntitle: t\nimages: {small_image_set}\ncomparisons: adaptive\nvotes_total: 60\n")
    done = CliRunner().invoke(app, ["study", "check", str(path), "--tie-rate", "0.3", "--prompt-sd", "0.25"])
    assert done.exit_code == 0, done.output
    for words in (
        "3, drawn adaptively",
        "18 with at most 5 votes, 60 valid votes together",
        "80 % power",
        "sd 0.5 between people and 0.25 between the 6 prompts",
        "30 % are ties, votes are spread evenly",
        "two-sided at 5 % over 3 comparisons (Holm's first step), t with 3 degrees of freedom",
        "warning: only 6 prompts",
    ):
        assert words in done.output, done.output


def test_a_pair_that_keeps_people_on_slow_lines_waiting_is_said_before_anybody_waits():
    plan = design(votes_per_pair=1)
    pairs = plan_pairs(plan, arms=ARMS, images=IMAGES)
    small = measure_pairs(pairs, dict.fromkeys(IMAGES, 100_000))
    assert (small.median_bytes, small.slow_seconds, small.warning) == (200_000, 1.0, None)
    large = measure_pairs(pairs, {key: 2_400_000 if key[2] == "fp32" else 2_000_000 for key in IMAGES})
    assert large.largest_bytes == 4_800_000 and large.slow_seconds == pytest.approx(24)
    assert "24 s on a line of 1.6 Mbit/s" in large.warning
    assert measure_pairs(pairs, {}) is None


def test_the_check_refuses_a_set_that_is_not_whole(tmp_path, small_image_set):
    from typer.testing import CliRunner

    from qsched.cli.main import app

    folder = shutil.copytree(small_image_set, tmp_path / "set")
    path = write(tmp_path, HEAD)

    def problem() -> str:
        return str(CliRunner().invoke(app, ["study", "check", str(path)]).exception)

    rows = (folder / "images.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "images.jsonl").write_text("".join(rows[1:]), encoding="utf-8")
    assert "no row; run the same command again and 1 other problem(s); `qsched verify" in problem()
    (folder / "images.jsonl").write_text("".join(rows), encoding="utf-8")
    next((folder / "images").iterdir()).unlink()
    assert "1 of 18 pictures are missing" in problem()
