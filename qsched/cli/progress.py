"""Progress on standard error: a bar for any command, and the line of `generate-pairs` with its images per second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from qsched.command_line import is_quiet

if TYPE_CHECKING:
    from qsched.generation.arms import Arm


def progress_bar(*columns: ProgressColumn, soft_wrap: bool = False) -> Progress:
    """A bar on standard error, by default with a share and the time left; none with --quiet or without a terminal."""
    console = Console(stderr=True, quiet=is_quiet(), soft_wrap=soft_wrap)
    return Progress(*columns, console=console, disable=not console.is_terminal)


class PairsProgress:
    """A live bar on a terminal; elsewhere, a line for each loaded precision and finished batch."""

    def __init__(self) -> None:
        self._bar = progress_bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        self._console = self._bar.console
        self._task: Any = None
        self._rendering = 0.0
        self._images = 0
        self._since = 0.0

    def __enter__(self) -> PairsProgress:
        self._bar.start()
        self._task = self._bar.add_task("checking the request, then loading the backbone", total=None, pace="")
        if not self._console.is_terminal:
            self._console.print("checking the request, then loading the backbone")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, total: int, done: int) -> None:
        """How many images there will be, and how many of them are there already."""
        self._bar.update(self._task, total=total, completed=done)
        if done:
            self._console.print(f"resuming: {done} of {total} images are there")

    def loading(self, arms: tuple[Arm, ...]) -> None:
        """A precision is being loaded."""
        self._bar.update(self._task, description=f"loading {arms[0].recipe.name}")

    def loaded(self, report: Any) -> None:
        """The precision's layers are converted."""
        if report.converted:
            left = len(report.skipped) + len(report.kept)
            kept = f", {left} kept as they are" if left else ""
            self._console.print(f"{report.precision}: {len(report.converted)} layers converted{kept}", highlight=False)
        self._since = time.perf_counter()

    def advanced(self, arm: Arm, images: int) -> None:
        """A batch is safe on disk."""
        now = time.perf_counter()
        self._rendering += now - self._since
        self._since = now
        self._images += images
        pace = f"{self._images / self._rendering:.2f} images/s" if self._rendering else ""
        self._bar.update(self._task, advance=images, description=arm.name, pace=pace)
        if not self._console.is_terminal:
            self._console.print(f"{arm.name}: +{images}  {pace}", highlight=False)
