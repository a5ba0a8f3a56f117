"""`qsched demo`: the whole path once, on the embedded tiny models, with simulated annotators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from qsched.bench.local_server import free_port, local_server
from qsched.cli.bench_runner import run_here
from qsched.errors import QschedError

STUDY = "demo"
ARMS = "fp32,w3a8,w3a8+qsched,w3a8+qsched-bias"
# More than the simulated annotators give, so that none of them waits for a pair and somebody can vote afterwards.
VOTES_PER_PAIR = 20
# Each arm against full precision: with all six comparisons of four arms too few votes would be left for each.
STUDY_DESIGN = """\
schema_version: 1
slug: {slug}
title: {slug}
images: {images}
comparisons: {{baseline: {baseline}}}
votes_per_pair: {votes}
"""
# A small study of the same pictures: how far are they from full precision?
FIDELITY = "demo-fidelity"
OBSERVERS = 12
FIDELITY_STUDY = """\
schema_version: 1
slug: {slug}
title: Which picture differs more from the reference?
images: {images}
design: fidelity
fidelity:
  reference: {reference}
  clauses: [{{arm: {arm}, mean: {{limit: 2}}, content: {{share: 0.1}}}}]
votes_per_pair: 20
pairs_per_annotator: 24
repeat_rate: 0
"""


class DemoError(QschedError):
    """A step of the demo failed; its own output is printed above."""


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("demo")(demo)


def demo(
    out: Path = typer.Option(Path("runs"), "--out", help="Folder for the image set, database, votes and report."),
    annotators: int = typer.Option(30, "--annotators", min=2, help="Simulated annotators."),
    votes_each: int = typer.Option(36, "--votes-each", min=1, help="Votes of each."),
    backbone: str = typer.Option("tiny-sdxl", "--backbone", help="tiny-flux or tiny-sdxl."),
    arms: str = typer.Option(ARMS, "--arms", help="Arms to compare, as in generate-pairs."),
    port: int = typer.Option(0, "--port", help="Port of the study server; 0 takes a free one."),
    keep: bool = typer.Option(False, "--keep", help="Leave the server running at the end, until Ctrl-C."),
) -> None:
    """Make images, ask simulated annotators through a real server, and write the report.

    Two studies of the same images: which picture is better, and which differs more from full precision.
    Everything is real but the annotators: they are drawn at random, judge by the procedural domain's
    ground truth, and are marked as simulated wherever their votes show.

    Example: qsched demo --keep
    """
    from qsched.tiny import prompts_path

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    images, database = out / "demo", out / "demo.db"
    votes, report, simulation = out / "demo-votes.parquet", out / "demo-report", out / "demo-simulation.json"
    _remove_simulated_study(database)
    prompts = str(prompts_path("demo"))

    _step(1, "images: the same prompts and the same noise in every arm")
    # The folder is the demo's own: a set of other weights or arms is made again rather than refused.
    again = ["--overwrite"] if images.exists() else []
    request = ["--backbone", backbone, "--arms", arms, "--prompts", prompts, "--out", str(images)]
    _qsched("generate-pairs", *request, *again)
    _qsched("verify", str(images))

    _step(2, "a study server on SQLite, and simulated annotators at its door")
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    study = out / "demo.yaml"
    baseline = arms.split(",")[0]
    design = STUDY_DESIGN.format(slug=STUDY, images=images.name, baseline=baseline, votes=VOTES_PER_PAIR)
    study.write_text(design, encoding="utf-8")
    serve = ["serve", str(study), "--db", f"sqlite:///{database.resolve()}", "--port", str(port)]
    with local_server([*serve, "--simulated-annotators"], url=url, log=out / "demo-server.log") as server:
        _qsched(
            "simulate",
            url,
            "--study",
            STUDY,
            "--annotators",
            str(annotators),
            "--votes-each",
            str(votes_each),
            "--parameters-out",
            str(simulation),
        )
        _qsched("votes", "export", "--study", STUDY, "--db", f"sqlite:///{database.resolve()}", str(votes))
        certificate = _fidelity_study(out, url=url, database=database, arms=arms.split(","))

        _step(3, "the report")
        sources = ["--image-set", str(images), "--simulation", str(simulation), "--certificate", str(certificate)]
        _qsched("winrates", str(votes), "--out", str(report), "--baseline", baseline, *sources)

        typer.echo()
        typer.secho(f"Done in {time.monotonic() - started:.0f} s. All votes in it are simulated.", bold=True)
        typer.echo(f"  pictures side by side  {images / 'contact_sheet.html'}")
        typer.echo(f"  votes                  {votes}")
        typer.echo(f"  report                 {report / 'report.html'}")
        typer.echo(f"  certificate            {certificate.with_name('certificate.html')}")
        if keep:
            typer.echo(f"  vote yourself          {url}/s/{STUDY}   (the server runs until Ctrl-C)")
            try:
                server.wait()
            except KeyboardInterrupt:
                typer.echo("stopping the server")
        else:
            typer.echo(f"  vote yourself          qsched serve {study} --db sqlite:///{database}")


def _fidelity_study(out: Path, *, url: str, database: Path, arms: Sequence[str]) -> Path:
    """A fidelity study of the demo's images, from its study.yaml to its certificate; returns certificate.json."""
    db = ["--db", f"sqlite:///{database.resolve()}"]
    study, plan = out / "demo-fidelity.yaml", out / "demo-registration.yaml"
    votes, content, folder = out / "demo-triplets.parquet", out / "demo-content.csv", out / "demo-certificate"
    study.write_text(
        FIDELITY_STUDY.format(slug=FIDELITY, images="demo", reference=arms[0], arm=arms[-1]), encoding="utf-8"
    )
    plan.unlink(missing_ok=True)  # the demo's own, of an earlier run
    _qsched("study", "create", str(study), *db)
    _qsched("study", "register", FIDELITY, "--out", str(plan), *db)
    who = ["--annotators", str(OBSERVERS), "--votes-each", "36"]
    _qsched("simulate", url, "--study", FIDELITY, *who, "--parameters-out", str(out / "demo-fidelity-simulation.json"))
    _qsched("votes", "export", "--study", FIDELITY, *db, str(votes))
    _qsched("votes", "content", "--study", FIDELITY, *db, str(content))
    sources = ["--registration", str(plan), "--content", str(content)]
    # Exit code 3: a clause is not shown, which is a result.
    _qsched("certify", str(votes), *sources, "--out", str(folder), allowed=(0, 3))
    return folder / "certificate.json"


def _remove_simulated_study(database: Path) -> None:
    """Make room for a demo's study; DemoError if people voted in the one that is there.

    A second demo starts a second study: the old simulated votes would fill its pairs.
    """
    import sqlite3

    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            (people,) = connection.execute("SELECT COUNT(*) FROM sessions WHERE NOT simulated").fetchone()
    except sqlite3.Error as error:
        raise DemoError(f"{database} is not a demo's database ({error}); move it, or choose another --out") from error
    if people:
        raise DemoError(
            f"{database} holds {people} sessions of people; a new demo would delete their votes. "
            "Export them (qsched votes export) and move the file, or choose another --out"
        )
    for leftover in database.parent.glob(f"{database.name}*"):
        leftover.unlink()


def _step(number: int, text: str) -> None:
    typer.echo()
    typer.secho(f"[{number}/3] {text}", bold=True)


def _qsched(*arguments: str, allowed: Sequence[int] = (0,)) -> None:
    """Run a command in this process: ten processes would import the same packages ten times."""
    typer.secho(f"$ qsched {' '.join(arguments)}", dim=True)
    status = run_here(arguments)
    if status not in allowed:
        raise DemoError(f"this step ended with exit code {status}: qsched {' '.join(arguments)}")
