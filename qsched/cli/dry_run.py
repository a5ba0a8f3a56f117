"""What `generate-pairs --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.generation.forecast import ArmForecast, Forecast
    from qsched.generation.request import Request


def tell_forecast(request: Request, rates: str | None) -> None:
    """Work the request out and print it as a table with its assumptions."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from qsched.generation.forecast import forecast
    from qsched.generation.sheet import megabytes

    found = forecast(request, rates=parse_rates(rates))
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", overflow="fold", min_width=12)
    for column in ("pictures", "NFE", "disk", "weights", "peak", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for arm in found.arms:
        table.add_row(escape(arm.name), *_cells(arm))
    table.add_row("all", *_total(found), end_section=True)
    console.print(table)
    console.print(f"{found.n_images} images in {found.folder}, {found.there} of them there already", highlight=False)
    for words in found.assumptions:
        console.print(f"estimate  {escape(words)}", highlight=False, soft_wrap=True)
    if found.machine_bytes:
        console.print(f"memory of the machine beside the GPU: {megabytes(found.machine_bytes)}", highlight=False)
    console.print("nothing was loaded or written", highlight=False)


def parse_rates(text: str | None) -> dict[str, float]:
    """`0.8,w4a8=1.1` -> {'': 0.8, 'w4a8': 1.1}; InputError for anything else."""
    rates: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        name, equals, value = part.rpartition("=")
        try:
            rate = float(value)
        except ValueError as error:
            raise InputError(f"seconds-per-image {part!r}: write a number of seconds, or ARM=NUMBER") from error
        if name.strip() in rates or (equals and not name.strip()):
            raise InputError(f"seconds-per-image {text!r}: name each arm once, and one rate without a name at most")
        rates[name.strip()] = rate
    return rates


def _cells(arm: ArmForecast) -> list[str]:
    from qsched.generation.sheet import megabytes

    sizes = ["unknown" if size is None else megabytes(size) for size in (arm.memory_bytes, arm.peak_bytes)]
    notes = [word for word, holds in (("copied", arm.copied), ("simulated", arm.simulated)) if holds]
    return [
        str(arm.pictures),
        f"{arm.nfe:,}",
        megabytes(arm.disk_bytes),
        *sizes,
        "" if arm.seconds is None or arm.copied else _duration(arm.seconds),
        ", ".join(notes),
    ]


def _total(found: Forecast) -> list[str]:
    from qsched.generation.sheet import megabytes

    seconds = [arm.seconds for arm in found.arms if not arm.copied]
    known = [one for one in seconds if one is not None]
    return [
        str(sum(arm.pictures for arm in found.arms)),
        f"{sum(arm.nfe for arm in found.arms):,}",
        megabytes(sum(arm.disk_bytes for arm in found.arms)),
        "",
        "",
        _duration(sum(known)) if known and len(known) == len(seconds) else "",
        "",
    ]


def _duration(seconds: float) -> str:
    """'2 h 05 min', '3 min 20 s', '12 s'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
