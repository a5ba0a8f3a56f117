"""`qsched bench submit | verify | merge`: a benchmark goes to another lab, is checked there, and joins its own."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from qsched.command_line import JSON_OPTION, counted, gave_json, is_quiet

EXIT_PROBLEM, EXIT_UNANCHORED = 1, 3


def submit(
    folder: Path = typer.Argument(help="Folder that `qsched bench run` made."),
    out: Path = typer.Option(..., "--out", help="New folder of the submission."),
) -> None:
    """Write a folder that another lab can verify and merge: pictures, scores, votes, evidence, results, checksums.

    Databases, logs and pages stay here. Votes hold pseudonyms, answers and times; share them only if your consent text
    says so. Put the evidence of a study of people (`qsched study evidence`) beside its votes first.

    Example: qsched bench submit runs/tiny --out submissions/tiny
    """
    from qsched.bench.submit import SUMS
    from qsched.bench.submit import submit as write

    done = write(folder, out)
    typer.echo(f"{counted(done.files, 'file')} in {out}; {SUMS} has sha256 {done.sums_sha256}, publish it elsewhere")
    for name in done.unaudited:
        typer.secho(
            f"no evidence beside the votes of {name}: others cannot check them", fg=typer.colors.YELLOW, err=True
        )
    typer.echo(f"check it with: qsched bench verify {out}")


def verify(
    folder: Path = typer.Argument(help="A submission."),
    sums_sha256: str | None = typer.Option(
        None, "--sums-sha256", help="What its lab published of SHA256SUMS (`bench submit` prints it)."
    ),
    render: int = typer.Option(
        0, "--render", min=0, help="Make the pictures of so many prompts of each model again, chosen at random."
    ),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Check a submission: files, the benchmark's hash, pictures, recipes, scores, votes by `qsched audit`, results.

    Win rates and certificates are made again from the votes. Pictures and sizes of arms are taken as they are stated,
    unless --render makes some again; times always are.

    Exit code 0: all passed. 1: a problem. 3: no problem, but votes or scores are missing, or could not be checked here,
    or votes have no evidence, or one that was compared with nothing that was published in time; `qsched audit` does
    that, with the hashes that you were given. 2: no submission.

    Example: qsched bench verify submissions/tiny
    """
    from qsched.bench.verify import verify_submission
    from qsched.cli.bench_runner import run_here
    from qsched.cli.bench_studies import study_rules

    # What the audits print is no part of the answer.
    with contextlib.redirect_stdout(sys.stdout if is_quiet() else sys.stderr):
        checks = verify_submission(folder, runner=run_here, rules=study_rules(), sums_sha256=sums_sha256, render=render)
    document = {"schema_version": 1, "checks": [asdict(check) for check in checks]}
    for check in () if gave_json(document, json_file) else checks:
        typer.secho(
            f"{'FAILED' if check.problems else 'passed':<7} {check.name}",
            fg=typer.colors.RED if check.problems else None,
        )
        for problem in check.problems:
            typer.echo(f"        {problem}")
        for note in check.notes:
            typer.secho(f"        not shown: {note}", fg=typer.colors.YELLOW)
    if any(check.problems for check in checks):
        raise typer.Exit(EXIT_PROBLEM)
    if any(check.notes for check in checks):
        raise typer.Exit(EXIT_UNANCHORED)


def merge(
    folder: Path = typer.Argument(help="Folder of your benchmark."),
    submission: Path = typer.Argument(help="Another lab's submission of the same benchmark."),
) -> None:
    """Take a submission into a benchmark: it is verified first, and must be the same benchmark with the same weights.

    Models and votes that the folder lacks are copied. An arm of one name with other weights, another recipe or other
    pictures is an error, and so are two different sets of votes of one study. `qsched bench report` then shows both.

    Example: qsched bench merge runs/ours submissions/theirs
    """
    from qsched.bench.merge import merge_submission
    from qsched.cli.bench_runner import run_here
    from qsched.cli.bench_studies import study_rules

    done = merge_submission(folder, submission, runner=run_here, rules=study_rules())
    typer.echo()
    for what, names in (("models", done.models), ("studies", done.studies), ("here already", done.there_already)):
        typer.echo(f"{what:<12} {', '.join(names) or 'none'}")
    for note in done.not_shown:
        typer.secho(f"not shown: {note}", fg=typer.colors.YELLOW)
    typer.echo(f"look at it: qsched bench report {folder}")
