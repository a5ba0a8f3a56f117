"""What several commands have in common: shipped prompt sets, the database, ranges of numbers, the device.

Nothing heavy is imported at the top: this module is loaded for `qsched --help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.backbones.spec import Offload

SHIPPED_PROMPTS = ("demo", "eval", "calibration")
BACKBONE_HELP = "A name (`qsched doctor` lists them), a diffusers folder, or org/name@COMMIT of the hub."
REVISION_HELP = "Commit of a hub model, for a backbone that is not pinned here."
VARIANT_HELP = "Kind of weight files, such as fp16. Default: plain files, fp16 files in fp16."
PROMPTS_FORMAT_HELP = (
    "Layout of --prompts: qsched (our own), sdci, mjhq, coco, drawbench, parti, geneval2, dpg or unigenbench. "
    "Default: the one that its columns show."
)
LORA_HELP = "PATH[:scale] of an adapter to fuse into the weights first; may be repeated."
DB_HELP = "sqlite:///file.db or postgresql://...; default: QSCHED_DATABASE_URL, else study.db in this folder."
GENTLY_HELP = (
    "Pause between small pieces, so that the annotators of a busy server come first; the server's own commands do."
)
SLUG_HELP = "The study: the part of its address after /s/."
DEVICE_HELP = "auto, cpu or cuda."
WEIGHTS_HELP = "scorer=path or scorer=org/name@commit; the tiny models use tiny-clip."
K_HELP = "Weight of image quality in JAQ = TC + k IQ."


def prompts_file(prompts: str) -> Path:
    """A path, or the file of a shipped set; a file of that name in the current folder comes first."""
    path = Path(prompts)
    if path.exists() or (path.suffix and prompts not in SHIPPED_PROMPTS):
        return path
    if prompts not in SHIPPED_PROMPTS:
        shipped = ", ".join(SHIPPED_PROMPTS)
        raise InputError(f"prompts {prompts!r}: there is no such file, and the shipped sets are {shipped}")
    from qsched.tiny.paths import prompts_path

    found = prompts_path(prompts)
    if not found.is_file():
        raise InputError(f"the shipped prompts {prompts} are not at {found}; reinstall qsched, or give a file")
    return found


def print_layout(prompts: Path) -> None:
    """Say as what a prompts file is read, if it is another project's; errors are left to who reads it."""
    import contextlib

    import typer

    from qsched.generation.prompt_layouts import OWN
    from qsched.generation.prompts import layout_of

    with contextlib.suppress(InputError):
        if (found := layout_of(prompts)) != OWN:
            typer.echo(f"{prompts} is read as {found}, by its columns; --prompts-format names another layout")


def checked_offload(way: str) -> Offload:
    """The way as its type; InputError for an unknown one."""
    from qsched.backbones.spec import Offload

    for known in get_args(Offload):
        if way == known:
            found: Offload = known
            return found
    raise InputError(f"--offload {way}: it is unknown; choose {', '.join(get_args(Offload))}")


def number_range(option: str, text: str) -> tuple[float, float]:
    """Two numbers written as `0.8,1.2`."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text!r}: write two numbers, for example 0.8,1.2") from error
    return low, high


def torch_device(name: str) -> str:
    """The device as torch names it; a GPU that is not there is an InputError."""
    if name == "cpu":
        return name  # importing the backbones for the check takes seconds
    from qsched.backbones import checked_device, quiet_libraries

    quiet_libraries()
    return str(checked_device(name))
