"""`qsched bench`: a benchmark as one file; plan, run, report, compare, submit, verify, merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.command_line import JSON_OPTION, CommandLine, gave_json

if TYPE_CHECKING:
    from qsched.bench.plan import BenchPlan, ModelPlan


def register(app: typer.Typer) -> None:
    """Add the group to `qsched`."""
    group = CommandLine(no_args_is_help=True, help="A whole benchmark as one file: models x arms x prompts x studies.")
    commands: tuple[Callable[..., None], ...] = (plan,)
    for command in commands:
        group.command()(command)
    app.add_typer(group, name="bench")


def plan(
    file: Path = typer.Argument(help="The benchmark.yaml."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Say what a benchmark takes, per model and together: pictures, model evaluations, bytes, votes, hours, money.

    Nothing is loaded or written, and neither weights nor prompts need to be here: prompts that are not count with their
    limit. Pictures and NFE of the pictures are exact; those of a calibration are the most it can take.

    Example: qsched bench plan benchmarks/specs/paper.yaml
    """
    from qsched.backbones.quiet import quiet_libraries
    from qsched.bench.plan import plan_benchmark
    from qsched.bench.spec import read_benchmark
    from qsched.cli.bench_studies import price_study

    benchmark = read_benchmark(file)
    quiet_libraries()
    found = plan_benchmark(benchmark, folder=file.parent, price=price_study)
    if not gave_json(found.to_json(), json_file):
        _tell_plan(found)


def _tell_plan(found: BenchPlan) -> None:
    from rich.console import Console

    from qsched.generation.sheet import megabytes

    console = Console()
    console.print(f"{found.name}, version {found.version}: {found.prompts:,} prompts", highlight=False)
    for model in found.models:
        _tell_model(model, console)
    total = found.totals
    hours = "unknown" if total.seconds is None else f"{total.seconds / 3600:,.1f} h of rendering"
    lines = [
        ("pictures", f"{total.pictures:,}, at most {megabytes(total.disk_bytes)} on disk"),
        ("NFE", f"{total.nfe:,} for the pictures, at most {total.calibration_nfe:,} for calibrations"),
        ("time", f"{hours}" + ("; state seconds_per_image for each model" if total.seconds is None else "")),
        ("votes of people", f"{total.votes:,} by {total.people:,} people in {total.hours:,.0f} h"),
        ("money", "unknown; add pay to each study" if total.cost is None else _money(total.cost)),
    ]
    if total.simulated_votes:
        lines.append(("simulated votes", f"{total.simulated_votes:,}, which say nothing about people"))
    console.print("\n[bold]together[/]")
    for name, text in lines:
        console.print(f"  {name:<16} {text}", highlight=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _tell_model(model: ModelPlan, console: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from qsched.generation.sheet import megabytes

    assert isinstance(console, Console)
    table = Table(title=model.model, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("arm", overflow="fold", min_width=12)
    for column in ("pictures", "NFE", "disk", "weights", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in model.arms:
        weights = "unknown" if arm.memory_bytes is None else megabytes(arm.memory_bytes)
        simulated = "simulated" if arm.simulated else ""
        table.add_row(arm.arm, f"{arm.pictures:,}", f"{arm.nfe:,}", megabytes(arm.disk_bytes), weights, simulated)
    console.print()
    console.print(table)
    for one in model.calibrations:
        console.print(f"  calibration of {one.precision}: at most {one.nfe:,} NFE, {one.pictures:,} pictures decoded")
    for study in model.studies:
        who = "people" if study.votes_by == "people" else "simulated people"
        cost = "" if study.votes_by != "people" else f", {study.hours:,.0f} h"
        if study.cost and study.currency:
            cost += f", {study.cost:,.0f} {study.currency} with the platform's fee"
        console.print(
            f"  study {study.study}: {study.votes:,} votes of {study.people:,} {who} on {study.pairs:,} pairs{cost}; "
            f"can show {study.can_show}",
            highlight=False,
            soft_wrap=True,
        )
        for warning in study.warnings:
            console.print(f"  [yellow]warning: {warning}[/]", soft_wrap=True)


def _money(cost: dict[str, float]) -> str:
    return ", ".join(f"{value:,.0f} {currency}" for currency, value in sorted(cost.items())) or "none"
