"""Every command that README and docs show runs, on the tiny models, or tests/docs/not_run.py says why it does not."""

from __future__ import annotations

import ast
import re
import shutil
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from qsched.cli.bench_runner import run_here
from tests.analysis.triplets.drawn import aic_rows, write_rows
from tests.docs.not_run import NOT_RUN
from tests.docs.shown import COMMANDS, ROOT, Shown
from tests.docs.walk import Walk

#: What runs in the place of what a page shows: fewer pictures, a set with other arms, software in the place of people.
CHANGES = [
    ("generation.md", "w3a8+qsched --prompts demo --out", "w3a8+qsched --prompts demo --limit 2 --out"),
    ("generation.md", "--limit 8", "--limit 1"),
    ("generation.md", "--limit 12", "--limit 2"),
    (
        "calibration.md",
        "--prompts calibration --out c.json",
        "--prompts calibration --out c.json --n-prompts 2 --n-heldout 2",
    ),
    ("calibration.md", "--prompts demo --out runs/mine", "--prompts demo --out runs/mine --limit 1"),
    (
        "add-a-scorer.md",
        "--also colourful.py:Colourful",
        "--also colourful.py:Colourful --prompts calibration --out c.json --dry-run",
    ),
    ("scoring.md", "--limit 59", "--limit 2"),
    ("study-design.md", "--simulate 400", "--simulate 20"),
    ("fidelity-study.md", "--arm w8a8", "--arm w3a8"),
    ("owner-pages.md", "study links demo", "study links personal"),
    ("owner-pages.md", "study revoke demo", "study revoke personal"),
    ("owner-api.md", "study links demo", "study links personal"),
    ("owner-api.md", "token revoke laptop", "token revoke other"),
    ("owner-pages.md", "admin create jane", "admin create jane --password-stdin"),
    ("owner-pages.md", "--role viewer", "--role viewer --password-stdin"),
    ("owner-pages.md", "admin password jane", "admin password jane --password-stdin"),
    ("tutorial.md", "--limit 6", "--limit 2"),
]
#: Commands that end with another code than 0, which their page explains.
ENDS = {
    ("audit.md", "qsched audit"): 3,  # nothing outside the folder says when the votes were there
    ("fidelity-study.md", "qsched certify"): 3,  # few votes show nothing
    ("generation.md", "qsched diff"): 1,  # the other set has more prompts
    ("scoring.md", "qsched gate runs/demo"): 1,  # three bits are visible
    ("scoring.md", "qsched gate runs/gate"): 3,  # two prompts show nothing
}
#: Pages that speak to a server which is running.
SERVED = {"audit.md", "deployment.md", "owner-api.md"}


def is_run(command: Shown) -> bool:
    return not any(page == command.page and command.line.startswith(begin) for page, begin in NOT_RUN)


def prepared(command: Shown) -> tuple[str, int]:
    """The command as it is run, and the exit code that it ends with."""
    line = command.line
    for page, shown, run in CHANGES:
        if page == command.page:
            line = line.replace(shown, run)
    if line.startswith("qsched serve"):
        line += " --simulated-annotators"
    ends = (code for (page, begin), code in ENDS.items() if page == command.page and command.line.startswith(begin))
    return line, next(ends, 0)


def vote(walk: Walk) -> None:
    """Three annotators of software vote in every study of the server that is open to all."""
    with sqlite3.connect(next(walk.folder.rglob("study.db"))) as database:
        slugs = [slug for (slug,) in database.execute("SELECT slug FROM studies WHERE slug != 'personal'")]
    for slug in slugs:
        each = "40" if slug == "faces" else "6"  # a fidelity study counts whom ten traps have shown to look
        assert walk.call("simulate", walk.address, "--study", slug, "--annotators", "3", "--votes-each", each) == 0


@pytest.fixture(scope="module")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five prompts of the demo, as many as a fidelity study needs for its traps, in the arms of most examples."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    arms = ("--backbone", "tiny-sdxl", "--arms", "fp32,w3a8,w3a8+qsched")
    assert run_here(("generate-pairs", *arms, "--prompts", "demo", "--limit", "5", "--out", str(folder))) == 0
    return folder


@pytest.fixture
def walk(tmp_path: Path, demo_set: Path, monkeypatch: pytest.MonkeyPatch) -> Walk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("QSCHED_TOKEN_FILE", "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("demo", "flux", "demo-2"):
        shutil.copytree(demo_set, tmp_path / "runs" / name)
    return Walk(tmp_path)


def draw_votes(folder: Path, demo_set: Path) -> None:
    """votes.parquet, battles.parquet and votes/ as pages take them for granted: 20 people on the demo set."""
    rng = np.random.default_rng(1)
    arms, prompts = ("fp32", "w3a8", "w3a8+qsched"), sorted(set(_prompts(demo_set)))
    rows = [
        {
            "prompt_id": prompt, "left_arm": left, "right_arm": right, "annotator": f"a{person}",
            "choice": str(rng.choice(["left", "right", "tie"], p=[0.4, 0.4, 0.2])),
        }
        for person in range(20) for prompt in prompts for left in arms for right in arms if left < right
    ]  # fmt: skip
    (folder / "votes").mkdir()
    table = pl.DataFrame(rows)
    table.write_parquet(folder / "votes.parquet")
    table[::2].write_parquet(folder / "votes" / "one.parquet")
    table[1::2].write_parquet(folder / "votes" / "two.parquet")
    words = {"left": "model_a", "right": "model_b", "tie": "tie"}
    battles = table.select(
        pl.col("left_arm").alias("model_a"), pl.col("right_arm").alias("model_b"),
        pl.col("choice").replace_strict(words).alias("winner"), pl.col("annotator").alias("judge"),
    )  # fmt: skip
    battles.write_parquet(folder / "battles.parquet")


def _prompts(demo_set: Path) -> list[str]:
    return re.findall(r'"prompt_id": ?"([^"]+)"', (demo_set / "images.jsonl").read_text(encoding="utf-8"))


def add_study(walk: Walk, slug: str, *, kind: str = "open") -> None:
    """A study of the demo set, as `qsched study init` writes it, in study.db."""
    assert walk.call("study", "init", "runs/demo", "--out", f"{slug}.yaml") == 0
    file = walk.folder / f"{slug}.yaml"
    text = (
        file.read_text(encoding="utf-8").replace("slug: demo ", f"slug: {slug} ").replace("name: open", f"name: {kind}")
    )
    file.write_text(text, encoding="utf-8")
    assert walk.call("study", "create", f"{slug}.yaml") == 0, walk.printed


def first(walk: Walk, column: str, table: str) -> Callable[[], str]:
    """The first value of a column, which the page shows as an example: the same one all through the page."""

    @cache
    def read() -> str:
        with sqlite3.connect(walk.folder / "study.db") as database:
            return str(database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchone()[0])

    return read


def have_votes(walk: Walk, demo_set: Path) -> None:
    draw_votes(walk.folder, demo_set)


def have_study(walk: Walk, demo_set: Path) -> None:
    """The study `demo`, one with personal links, and people whose codes an owner is asked to act upon."""
    add_study(walk, "demo")
    add_study(walk, "personal", kind="personal")
    assert walk.call("admin", "token", "create", "other") == 0
    shutil.copy("demo.yaml", "study.yaml")
    walk.values = {
        "a-0123456789ab": first(walk, "annotator", "votes_table"),
        "K7QF-29XM": first(walk, "withdraw_code", "sessions"),
    }
    walk.after = {"qsched serve": vote, "qsched admin token create": keep_token}


def keep_token(walk: Walk) -> None:
    """Where docs/owner-api.md says that a token is kept, with the mode that it asks for."""
    folder = walk.folder / ".config" / "qsched"
    folder.mkdir(parents=True)
    token = folder / "token"
    token.write_text(walk.printed.split()[0], encoding="utf-8")
    token.chmod(0o600)


def have_open_study(walk: Walk, demo_set: Path) -> None:
    """As above, but nobody has voted before it is preregistered."""
    add_study(walk, "demo")
    walk.after = {"qsched study preregister": vote}
    walk.values = {"9f2c...": lambda: _hash_of(walk)}


def _hash_of(walk: Walk) -> str:
    from hashlib import sha256

    return sha256((walk.folder / "preregistration.json").read_bytes()).hexdigest()


def have_backup(walk: Walk, demo_set: Path) -> None:
    have_study(walk, demo_set)
    walk.values["sqlite:///runs/study.db"] = lambda: "sqlite:///study.db"


def have_scorer(walk: Walk, demo_set: Path) -> None:
    """The class of the page, in the file that its commands name."""
    page = (ROOT / "docs/add-a-scorer.md").read_text(encoding="utf-8")
    found = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    (walk.folder / "colourful.py").write_text(found[1], encoding="utf-8")


def have_pictures(walk: Walk, demo_set: Path) -> None:
    """Pictures of other tools, in each of the three layouts, and their prompts."""
    import json

    rows = [json.loads(line) for line in (demo_set / "images.jsonl").read_text(encoding="utf-8").splitlines()]
    table = []
    for row in rows:
        arm = {"fp32": "bf16", "w3a8": "w4a4"}.get(row["arm"])
        if arm is None:
            continue
        picture = demo_set / "images" / f"{row['image_id']}.png"
        one = walk.folder / "out" / arm / f"{row['prompt_id']}.png"
        many = walk.folder / "geneval" / arm / row["prompt_id"] / "samples" / "0000.png"
        for copy in (one, many):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, copy)
        (many.parents[1] / "metadata.jsonl").write_text(json.dumps({"prompt": row["prompt"]}) + "\n", encoding="utf-8")
        table.append({"arm": arm, "file": str(one), "prompt_id": row["prompt_id"], "prompt": row["prompt"]})
    pl.DataFrame(table).write_csv(walk.folder / "pictures.csv")
    prompts = {row["prompt_id"]: row["prompt"] for row in rows}
    (walk.folder / "prompts.yaml").write_text(json.dumps(prompts), encoding="utf-8")


def have_triplets(walk: Walk, demo_set: Path) -> None:
    """Files in the layout of AIC-3's published votes."""
    for name, method in (("btc.csv", "BTC"), ("ptc.csv", "IPTC")):
        write_rows(aic_rows(damages=(0.5, 1.5), each=4, workers=6, method=method), walk.folder / name)


def have_claims(walk: Walk, demo_set: Path) -> None:
    walk.after = {"qsched study init": claim, "qsched serve": vote}


def claim(walk: Walk) -> None:
    """What the page says to write into faces.yaml: another slug, and clauses of an arm that this set has."""
    file = walk.folder / "faces.yaml"
    text = file.read_text(encoding="utf-8").replace("slug: flux", "slug: faces").replace("- arm: w8a8", "- arm: w3a8")
    file.write_text(re.sub(r"^  # (clauses:|  )", r"  \1", text, flags=re.MULTILINE), encoding="utf-8")


def have_design(walk: Walk, demo_set: Path) -> None:
    assert walk.call("study", "init", "runs/demo") == 0


def have_specs(walk: Walk, demo_set: Path) -> None:
    shutil.copytree(ROOT / "benchmarks/specs", walk.folder / "benchmarks/specs")


def have_votes_of_people(walk: Walk, demo_set: Path) -> None:
    walk.after = {"qsched serve": vote}


PREPARE = {
    "add-a-scorer.md": have_scorer,
    "audit.md": have_open_study,
    "benchmark.md": have_specs,
    "certificate.md": have_triplets,
    "counts.md": have_votes,
    "deployment.md": have_backup,
    "fidelity-study.md": have_claims,
    "generation.md": lambda walk, demo_set: shutil.rmtree(walk.folder / "runs" / "demo"),
    "image-set.md": have_pictures,
    "owner-api.md": have_study,
    "owner-pages.md": have_study,
    "report.md": have_votes,
    "scoring.md": have_votes,
    "study-design.md": have_design,
    "study-server.md": have_votes_of_people,
    "tutorial.md": have_votes_of_people,
    "webhooks.md": have_study,
}
WALKED = list(dict.fromkeys(command.page for command in COMMANDS if is_run(command)))


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKED)
def test_the_commands_of_a_page_run_in_its_order(page: str, walk: Walk, demo_set: Path) -> None:
    if page in PREPARE:
        PREPARE[page](walk, demo_set)
    commands = [prepared(command) for command in COMMANDS if command.page == page and is_run(command)]
    walk.run([("qsched serve --simulated-annotators", 0)] * (page in SERVED) + commands)


def test_every_reason_not_to_run_a_command_is_needed_and_leads_somewhere() -> None:
    for (page, begin), reason in NOT_RUN.items():
        assert any(c.page == page and c.line.startswith(begin) for c in COMMANDS), f"{page} has no {begin!r}"
        for path, test in re.findall(r"`?(tests/[\w/]+\.py)::(test_\w+)", reason):
            assert test in _names_in(ROOT / path), f"{path} has no {test}"
        for other in re.findall(r"is run on ([\w-]+\.md)", reason):
            words = re.match(r"qsched (?:(?:study|votes) )?[\w-]+", begin)
            assert words is None or any(
                c.page == other and is_run(c) and c.line.startswith(words[0]) for c in COMMANDS
            ), f"{other} runs no {begin}"


def _names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_every_change_and_every_other_exit_code_is_needed() -> None:
    for page, shown, _ in CHANGES:
        assert any(c.page == page and shown in c.line and is_run(c) for c in COMMANDS), f"{page} has no {shown!r}"
    for page, begin in ENDS:
        found = [c for c in COMMANDS if c.page == page and c.line.startswith(begin) and is_run(c)]
        assert found, f"{page} runs no {begin!r}"
    assert set(PREPARE) | SERVED <= set(WALKED)


def test_most_commands_run_and_a_command_that_fails_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(map(is_run, COMMANDS)) > 90
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="ended with 2 and not 0"):
        Walk(tmp_path).run([("qsched verify runs/none", 0)])
