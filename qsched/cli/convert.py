"""`qsched convert`: a checkpoint in one file, or a modular pipeline, as an ordinary diffusers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("convert")(convert)


def convert(
    file: Path = typer.Argument(
        ...,
        help="A .safetensors file with a whole checkpoint or a denoiser alone; or the folder of a modular pipeline.",
    ),
    config: Path | None = typer.Option(
        None, "--config", help="For a file: a diffusers folder of the same model; it needs no weights."
    ),
    out: Path = typer.Option(..., "--out", help="The folder to write: a backbone like any other."),
) -> None:
    """Convert a checkpoint in one file, or a modular pipeline, to a diffusers folder, once; nothing is downloaded.

    Weights come from the file, in its dtype. What the file lacks (text encoders or a VAE beside a denoiser) comes from
    the folder of the configuration. A modular pipeline with diffusers' own blocks keeps its components, and gets the
    index of the ordinary class.

    Example: qsched convert model.safetensors --config sdxl-config --out models/mine
    """
    from rich.console import Console

    from qsched.backbones import quiet_libraries

    quiet_libraries()
    console = Console(highlight=False, soft_wrap=True)
    if file.is_dir():
        _print_modular(file, config, out, console)
        return
    if config is None:
        raise InputError(f"{file} is a file, which does not say what it is: give --config FOLDER of the same model")
    from qsched.backbones.single_file import convert_single_file

    made = convert_single_file(file, config, out)
    console.print(f"from the file      {', '.join(made.from_file)}")
    if made.from_config:
        console.print(f"from {config}  {', '.join(made.from_config)}")
    console.print(f"weights            {made.used:,} used, {made.there:,} in the file, {str(made.dtype)[6:]}")
    console.print(f"next               qsched generate-pairs --backbone {made.folder} ...")


def _print_modular(folder: Path, config: Path | None, out: Path, console: Console) -> None:
    from qsched.backbones.modular import convert_modular

    if config is not None:
        raise InputError(f"--config {config}: {folder} is a folder, which has its own configuration; leave it out")
    made = convert_modular(folder, out)
    console.print(f"driven as          {made.kind}")
    console.print(f"components         {', '.join(made.components)}")
    console.print(f"next               qsched generate-pairs --backbone {made.folder} ...")
