"""`qsched convert`: a checkpoint in one file, as a diffusers folder."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("convert")(convert)


def convert(
    file: Path = typer.Argument(..., help="A .safetensors file with a whole checkpoint, or with a denoiser alone."),
    config: Path = typer.Option(..., "--config", help="A diffusers folder of the same model; it needs no weights."),
    out: Path = typer.Option(..., "--out", help="The folder to write: a backbone like any other."),
) -> None:
    """Convert a checkpoint in one file to a diffusers folder, once; nothing is downloaded.

    Weights come from the file, in its dtype. What the file lacks (text encoders or a VAE beside a denoiser) comes from
    the folder of the configuration.

    Example: qsched convert model.safetensors --config sdxl-config --out models/mine
    """
    from rich.console import Console

    from qsched.backbones import quiet_libraries

    quiet_libraries()
    from qsched.backbones.single_file import convert_single_file

    made = convert_single_file(file, config, out)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"from the file      {', '.join(made.from_file)}")
    if made.from_config:
        console.print(f"from {config}  {', '.join(made.from_config)}")
    console.print(f"weights            {made.used:,} used, {made.there:,} in the file, {str(made.dtype)[6:]}")
    console.print(f"next               qsched generate-pairs --backbone {made.folder} ...")
