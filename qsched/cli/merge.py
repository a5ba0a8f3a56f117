"""`qsched merge`: shards of an image set become the set."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("merge")(merge)


def merge(
    out: Path = typer.Argument(..., help="Folder of the set: the --out of the shards."),
    folders: list[Path] = typer.Argument(
        None, help="Folders of the shards, if they are elsewhere. Default: those in OUT/shards."
    ),
    remove_shards: bool = typer.Option(False, "--remove-shards", help="Delete OUT/shards after the merge."),
) -> None:
    """Make one image set of the shards that `generate-pairs --shard` made; every picture's hash is checked.

    The set is that of a run without shards: the same pictures and rows in the same order, except times and memory. A
    missing, unfinished, running or foreign shard is an error that names it. Pictures are linked where the file system
    can, else copied. A merge that was stopped goes on when it is run again.

    Example: qsched merge runs/flux
    """
    from qsched.errors import InputError
    from qsched.generation.merge import merge_shards
    from qsched.generation.merge import remove_shards as remove
    from qsched.locations import read_location

    location = read_location(out)
    if remove_shards and folders:
        raise InputError("--remove-shards deletes OUT/shards, and you named other folders; delete those yourself")
    report = merge_shards(location, [read_location(folder) for folder in folders or ()])
    typer.echo(f"{report.shards} shards, {report.merged} pictures merged, {report.kept} there already")
    typer.echo(f"complete: {report.n_images} images in {report.folder}")
    if remove_shards:
        remove(location)
        typer.echo(f"removed  {location / 'shards'}")
    typer.echo(f"look at  {report.contact_sheet}")
    typer.echo(f"check    qsched verify {report.folder}")
