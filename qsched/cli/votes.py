"""`qsched votes`: the votes table out of the server's database, and what files of votes hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from qsched.cli.analysis import Forwarded
from qsched.cli.options import DB_HELP, GENTLY_HELP
from qsched.cli.owner_at import SERVER_HELP, owner_at
from qsched.command_line import CommandLine


class _OfVotes(Forwarded):
    """A command of `python analysis/votes`."""

    def source(self) -> Any:
        """The command of that name there."""
        from analysis.votes.__main__ import app

        group: Any = typer.main.get_command(app)
        return group.commands[self.name]


def register(app: typer.Typer) -> None:
    """Add the group to `qsched`."""
    group = CommandLine(no_args_is_help=True, help="Export votes from the study server, check them, count them.")
    group.command("export")(export)
    group.command("content")(content)
    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    for name, command in (("check", check), ("count", count)):
        group.command(name, cls=_OfVotes, context_settings=settings, add_help_option=False)(command)
    app.add_typer(group, name="votes")


def export(
    out: Path = typer.Argument(help="File to write: .parquet, .csv or .jsonl"),
    study: str = typer.Option(..., "--study", help="The study's slug: the part after /s/ in its address."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
    gently: bool = typer.Option(False, "--gently", help=GENTLY_HELP),
) -> None:
    """Write the votes table: every effective vote of every kind, one row per answer. Of a fidelity study, the triplets
    table, which `qsched certify` reads.

    Corrected votes (undo) and surplus ones (they came after the pair had its votes) stay in the database and
    are counted below. May run while the study is open.

    Example: qsched votes export --study demo --db sqlite:///runs/study.db votes.parquet
    """
    if server is not None:
        with owner_at(db, server) as owner:
            owner.export_votes(study, out)
        typer.echo(f"votes of study {study} written to {out}; the checksum is that of the server's file")
        return
    from qsched.files import write_atomic
    from qsched.records.curation import count_words
    from qsched.records.stopping import looks_beside
    from study_server.export import GENTLE, export_triplets, export_votes, is_fidelity
    from study_server.owner import existing_database
    from study_server.studies.looks import looks_of

    database = existing_database(db)
    try:
        triplets = is_fidelity(database, study)
        write = export_triplets if triplets else export_votes
        summary = write(database, study=study, path=out, rest=GENTLE if gently else 0.0)
        looks = None if triplets else looks_of(database, study)
    finally:
        database.close()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.kinds.items())) or "none"
    name = "triplet votes" if triplets else "votes"
    typer.echo(f"{summary.written} {name} of study {study} written to {out} ({kinds})")
    typer.echo(
        f"the database holds {summary.rows_in_database} rows: {summary.written} written, "
        f"{summary.superseded} superseded by a correction, {summary.surplus} surplus"
        + (f", {summary.excluded} of excluded annotators" if summary.excluded else "")
    )
    if summary.left_out:
        typer.echo(f"the study does not show these pairs of its image set: {count_words(summary.left_out)}")
    beside = looks_beside(out)
    if looks is not None:
        write_atomic(beside, (looks.model_dump_json(indent=1) + "\n").encode())
        typer.echo(
            f"the study has a stopping rule: its {len(looks.looks)} looks are in {beside}, which winrates reads beside "
            "the votes; keep the two together"
        )
    if summary.simulated:
        typer.secho(f"{summary.simulated} of them are simulated", fg=typer.colors.YELLOW)


def content(
    out: Path = typer.Argument(help="File to write: .parquet, .csv or .jsonl"),
    study: str = typer.Option(..., "--study", help="The slug of a fidelity study."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Write which pictures of a fidelity study show other content than their reference, for `qsched certify --content`.

    Example: qsched votes content --study faces content.csv
    """
    from study_server.export import export_content
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        by_arm = export_content(database, study=study, path=out)
    finally:
        database.close()
    typer.echo(f"{sum(pictures for _, pictures in by_arm.values())} pictures of study {study} written to {out}")
    for arm, (changed, pictures) in by_arm.items():
        typer.echo(f"  {arm}: content changed in {changed} of {pictures}")


def check(context: typer.Context) -> None:
    """Say how a file of votes of any tool is understood, and check every row.

    The same as python analysis/votes check.
    """
    from analysis.votes.__main__ import app

    app(args=["check", *context.args], prog_name="qsched votes")


def count(context: typer.Context) -> None:
    """Count the votes of many parquet files in little memory, for a report without the votes themselves.

    The same as python analysis/votes count.
    """
    from analysis.votes.__main__ import app

    app(args=["count", *context.args], prog_name="qsched votes")
