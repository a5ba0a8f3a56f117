"""`qsched study publish`: a study as a folder for others, with its study card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP

if TYPE_CHECKING:
    from study_server.publication.card import AgreementFigures


def publish(
    slug: str = typer.Argument(help=SLUG_HELP),
    out: Path = typer.Option(..., "--out", help="New folder for the files."),
    with_demographics: bool = typer.Option(
        False, "--with-demographics", help="Also what people answered about themselves, if the consent text allows it."
    ),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Write votes, display, sessions and reports as parquet, a study card (README.md, study-card.json) and checksums.

    The folder holds no platform id, code or key. It can be uploaded to Hugging Face as it is. The study may be running;
    publish a closed one, so that the tables are of one moment.

    Example: qsched study publish demo --out demo-data
    """
    from study_server.owner import existing_database
    from study_server.publication.folder import publish as write

    database = existing_database(db)
    try:
        done = write(database, slug, out, agree=_agreement, with_demographics=with_demographics)
    finally:
        database.close()
    typer.echo(f"wrote {', '.join(done.tables.values())}, README.md, study-card.json and SHA256SUMS to {out}")
    typer.echo(f"{done.votes.written} votes; the card counts what is left out")
    if done.votes.simulated:
        typer.secho(f"{done.votes.simulated} of them are simulated; the card says so", fg=typer.colors.YELLOW)


def _agreement(votes: Path) -> AgreementFigures | None:
    """Agreement on task pairs; None where no two people judged one pair."""
    import polars as pl

    from analysis.stats.agreement import agreement
    from analysis.votes.read import read_votes
    from study_server.publication.card import AgreementFigures

    task = pl.read_parquet(votes).filter(pl.col("kind") == "task")
    if task.is_empty():
        return None
    found = agreement(read_votes(task))
    alpha = found.alpha_nominal
    return AgreementFigures(found.raw, alpha.value, alpha.low, alpha.high, found.n_items)
