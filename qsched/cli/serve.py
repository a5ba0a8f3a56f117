"""`qsched serve`: a study in the browser, from an image set or a study.yaml, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import typer

from qsched.cli.options import DB_HELP


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("serve")(serve)


def serve(
    image_set: Path | None = typer.Argument(
        None, help="Folder of an image set (or a study.yaml): a study of it is made and served.", show_default=False
    ),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; 0.0.0.0 for every network."),
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="Port; 0 takes a free one."),
    votes_per_pair: int | None = typer.Option(
        None,
        "--votes-per-pair",
        min=1,
        help="Votes that each pair of a bare image set gets; 5 for a new study.",
        show_default=False,
    ),
    data: Path | None = typer.Option(None, "--data", help="Folder for picture copies; default: beside the database."),
    simulated_annotators: bool = typer.Option(
        False, "--simulated-annotators", help="Let `qsched simulate` vote; its votes are marked simulated."
    ),
    workers: int = typer.Option(1, "--workers", min=1, max=32, help="Server processes (more than one: PostgreSQL)."),
    behind_https: bool = typer.Option(
        False, "--behind-https", help="Send cookies over https only (for a server behind an https proxy)."
    ),
    accel_prefix: str | None = typer.Option(
        None, "--accel-prefix", help="Let the proxy send the images: its X-Accel-Redirect location of the data folder."
    ),
    log_format: Literal["text", "json"] = typer.Option(
        "text", "--log-format", help="json: one object per line for a log collector."
    ),
) -> None:
    """Serve studies: import the image set if needed and print the link to send to people.

    Every vote is on disk before it is acknowledged. You can stop the server at any time; the same command
    resumes the same study. The secret key for cookies comes from QSCHED_SECRET_KEY, or is created once in a
    file (mode 0600) next to the SQLite database.

    Example: qsched serve runs/demo --port 8000
    """
    from qsched.locations import read_location
    from study_server.running.serving import Launch, launch

    launch(
        Launch(
            image_set=None if image_set is None else read_location(image_set),
            database_url=db,
            host=host,
            port=port,
            votes_per_pair=votes_per_pair,
            data=None if data is None else read_location(data),
            allow_simulated=simulated_annotators,
            workers=workers,
            secure_cookies=behind_https,
            accel_prefix=accel_prefix,
            log_format=log_format,
            say=typer.echo,
        )
    )
