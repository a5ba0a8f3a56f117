"""`qsched import`: an image set of pictures that other tools made."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from qsched.command_line import counted
from qsched.errors import InputError


class FolderLayout(StrEnum):
    NAMES = "names"
    GENEVAL = "geneval"


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("import")(import_set)


def import_set(
    arms: list[str] = typer.Argument(
        None, metavar="[ARM=FOLDER]...", help="Two or more arms and their folders, the baseline first."
    ),
    out: Path = typer.Option(..., help="Folder of the new image set."),
    prompts: Path | None = typer.Option(None, help="Prompts file; a picture is named after the id of its prompt."),
    layout: FolderLayout = typer.Option(
        FolderLayout.NAMES, help="names, or geneval (ID/metadata.jsonl, ID/samples/0000.png)."
    ),
    table: Path | None = typer.Option(
        None, help="Instead of folders, a csv: arm, file, prompt_id, prompt, sample_index, category."
    ),
    backbone: str = typer.Option("imported", help="Name of the model that made the pictures."),
    simulated: list[str] = typer.Option([], help="Arm whose low precision was imitated; repeat for more."),
    common_only: bool = typer.Option(False, "--common-only", help="Leave out pictures that an arm lacks."),
) -> None:
    """Make an image set of pictures from other tools (vLLM, SGLang, TensorRT, ComfyUI, GenEval's layout).

    Pictures of the same name are a pair. Whether they started from the same noise is not known, and the set says so.
    All are written again as PNG without metadata, so that nothing shows the arm; they need one size.

    Example: qsched import bf16=out/bf16 w4a4=out/svdquant --prompts prompts.yaml --out runs/theirs
    """
    from qsched.generation.import_pictures import import_pictures
    from qsched.generation.picture_places import places_by_name, places_of_geneval, places_of_table
    from qsched.locations import read_location

    folders = _folders(arms or [])
    if table is not None:
        if folders or layout is not FolderLayout.NAMES:
            raise InputError("--table names arms and files itself; leave out ARM=FOLDER and --layout")
        places = places_of_table(table, prompts=prompts)
    elif layout is FolderLayout.GENEVAL:
        if prompts is not None:
            raise InputError("--layout geneval has its prompts in metadata.jsonl; leave out --prompts")
        places = places_of_geneval(folders)
    elif prompts is None:
        raise InputError("give the texts of the pictures with --prompts (ids are the names of the files), or a --table")
    else:
        places = places_by_name(folders, prompts=prompts)
    location = read_location(out)
    done = import_pictures(places, out=location, backbone=backbone, simulated=simulated, common_only=common_only)

    typer.echo(
        f"{done.folder}: {counted(done.images, 'picture')} of {counted(len(places.files), 'arm')}, "
        f"{counted(done.prompts, 'prompt')} and {counted(done.samples, 'sample')} each; "
        f"the set is {done.set_id}"
    )
    typer.echo("  pairing: by name, unproven; whether a pair started from the same noise is not known")
    for note in done.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"next: qsched verify {done.folder}; qsched study init {done.folder}")


def _folders(arms: list[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for arm in arms:
        name, _, folder = arm.partition("=")
        if not name or not folder:
            raise InputError(f"{arm!r}: write ARM=FOLDER, for example bf16=out/bf16")
        if name in folders:
            raise InputError(f"arm {name!r} is given twice")
        folders[name] = Path(folder)
    return folders
