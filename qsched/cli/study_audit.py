"""`qsched study preregister | evidence`: fix a study before its first vote, and open it to its opponents afterwards."""

from __future__ import annotations

from pathlib import Path

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.errors import InputError


def add_to(group: typer.Typer) -> None:
    """Add the commands to `qsched study`."""
    group.command()(preregister)
    group.command()(evidence)


def preregister(
    slug: str = typer.Argument(help="The study; it must have no vote yet."),
    plan: str = typer.Option(
        "", "--plan", help="Options of `qsched winrates` that will make the report, in quotes; none: its defaults."
    ),
    out: Path = typer.Option(Path("preregistration.json"), "--out", help="File to write and to publish."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Fix design, pictures, arms and plan of analysis before the first vote, and write what to publish.

    The arms and which picture belongs to which are in it as a hash only; `qsched study evidence` opens it.

    Example: qsched study preregister demo --plan "--baseline fp32 --seed 1"
    """
    import shlex

    from analysis.winrates import app as winrates
    from qsched.files import write_atomic
    from qsched.records.evidence import sha256
    from study_server.auditing.preregistering import preregister as preregister_study
    from study_server.auditing.preregistering import read_plan
    from study_server.owner import act_on_study, existing_database
    from study_server.studies.actions import COMMAND_LINE

    # A plan cannot be corrected later, so winrates' own parser reads it now.
    planned = (
        typer.main.get_command(winrates).make_context("qsched winrates", ["votes.parquet", *read_plan(plan)]).params
    )
    if len(planned["votes"]) > 1:
        raise InputError(f"the plan holds {shlex.join(planned['votes'][1:])}, which belongs to no option of winrates")
    arms = [*filter(None, [planned["baseline"]]), *(planned["exclude_arm"] or [])]
    database = existing_database(db)
    try:
        text: str = act_on_study(database, slug, preregister_study, plan=plan, by=COMMAND_LINE, arms=arms)
    finally:
        database.close()
    write_atomic(out, text.encode())
    typer.echo(f"{out} registers study {slug}; publish it, or its sha256, before the first vote")
    typer.echo(f"sha256 {sha256(text)}")


def evidence(
    slug: str = typer.Argument(help=SLUG_HELP),
    out: Path = typer.Option(..., "--out", help="New folder for the files."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Open a study: every vote with its place in the hash chain, and all that `qsched audit` needs.

    The files hold pseudonyms, answers and times, and no platform id, demographic answer or address. They name the arms,
    so write them when the study is over.

    Example: qsched study evidence demo --out evidence/demo
    """
    from study_server.auditing.evidence import write_evidence
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        opened = write_evidence(database, study=slug, folder=out)
    finally:
        database.close()
    deleted = f" ({opened.deleted} deleted at their person's request)" if opened.deleted else ""
    typer.echo(f"{out}: {opened.votes} votes{deleted}, head {opened.head}")
    typer.echo(f"manifest.json has sha256 {opened.sha256}; publish it with the folder")
    if not opened.preregistered:
        typer.echo("the study was not preregistered: nobody can tell what was decided before the votes")
    if opened.status != "closed":
        typer.secho(
            f"study {slug} is {opened.status}: these files name the arms of pairs that people still judge, and its "
            f"next votes are not in them. Keep them to yourself; after `qsched study close {slug}` write them again",
            fg=typer.colors.YELLOW,
            err=True,
        )
    typer.echo(f"check it with: qsched audit {out}")
