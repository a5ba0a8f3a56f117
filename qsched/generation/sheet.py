"""`contact_sheet.html`: the whole set on one page, arms side by side. For the researcher: it names the arms.

It links to the pictures relatively, needs no network and is never imported by the study server. Pointing
at a picture flickers it against the first arm; D shows the difference instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsched.command_line import counted
from qsched.files import write_atomic
from qsched.locations import Location
from qsched.pages import Table, render_page
from qsched.records import ArmRecord, ImageRow, Manifest, iter_rows, read_manifest

SHEET_NAME = "contact_sheet.html"
_TEMPLATE = Path(__file__).with_name("sheet.html.j2")
_ARM_COLUMNS = ("arm", "denoiser in memory", "if packed", "layers converted", "kept", "arithmetic", "s / image")


@dataclass(frozen=True)
class SheetLine:
    """The pictures of one prompt and sample, one for each arm; None for one that is not made yet."""

    prompt: str
    place: str
    rows: tuple[ImageRow | None, ...]


def write_contact_sheet(folder: Location) -> Location:
    """Write the sheet of an image set and return its path. Images that are not there yet show as missing."""
    manifest = read_manifest(folder)
    path = folder / SHEET_NAME
    write_atomic(path, contact_sheet(manifest, list(iter_rows(folder))).encode())
    return path


def contact_sheet(manifest: Manifest, rows: list[ImageRow]) -> str:
    """The page as HTML; everything that came from a prompt file is escaped."""
    seconds = {
        arm.name: [row.seconds for row in rows if row.arm == arm.name and row.seconds is not None]
        for arm in manifest.arms
    }
    arms = Table(_ARM_COLUMNS, tuple(_arm_cells(arm, seconds[arm.name]) for arm in manifest.arms))
    return render_page(
        _TEMPLATE,
        title=manifest.set_id,
        manifest=manifest,
        summary=_summary(manifest, len(rows)),
        baseline=manifest.arms[0].name,
        side=min(max(manifest.width, 180), 320),
        arms=arms,
        lines=_lines(manifest, rows),
    )


def _summary(manifest: Manifest, n_rows: int) -> str:
    n_pairs = manifest.n_prompts * manifest.samples
    return (
        f"{manifest.backbone}, {manifest.steps_words}, {manifest.width}×{manifest.height}, "
        f"{counted(manifest.n_prompts, 'prompt')} × {counted(manifest.samples, 'sample')} × "
        f"{counted(len(manifest.arms), 'arm')}: {n_rows} of {n_pairs * len(manifest.arms)} images, "
        + (f"set seed {manifest.set_seed}." if manifest.pairing_note is None else f"{manifest.pairing_note}.")
    )


def _lines(manifest: Manifest, rows: list[ImageRow]) -> list[SheetLine]:
    made = {(row.prompt_id, row.sample_index, row.arm): row for row in rows}
    first: dict[tuple[str, int], ImageRow] = {}
    for row in rows:
        first.setdefault((row.prompt_id, row.sample_index), row)
    return [
        SheetLine(row.prompt, _place(row, manifest.samples), tuple(made.get((*key, arm.name)) for arm in manifest.arms))
        for key, row in first.items()
    ]


def _place(row: ImageRow, samples: int) -> str:
    parts = [row.prompt_id, f"sample {row.sample_index}" if samples > 1 else "", row.category or ""]
    return " · ".join(part for part in parts if part)


def _arm_cells(arm: ArmRecord, seconds: list[float]) -> tuple[str, ...]:
    return (
        arm.name,
        "–" if arm.denoiser_bytes is None else megabytes(arm.denoiser_bytes),
        "–" if arm.packed_bytes is None else megabytes(arm.packed_bytes),
        "–" if arm.layers_converted is None else str(arm.layers_converted),
        str(len(arm.layers_skipped)),
        "simulated" if arm.simulated else "native",
        f"{sum(seconds) / len(seconds):.3f}" if seconds else "–",
    )


def megabytes(count: float) -> str:
    """'12.30 MB', or GB from 1,000 MB on; decimal, as the report and `qsched score` count."""
    size = count / 1e6
    return f"{size:.2f} MB" if size < 1000 else f"{size / 1000:.2f} GB"
