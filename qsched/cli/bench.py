"""`qsched bench`: a benchmark as one file; plan, run, report, compare, submit, verify, merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli import bench_exchange
from qsched.cli.options import DEVICE_HELP
from qsched.command_line import JSON_OPTION, CommandLine, counted, gave_json

if TYPE_CHECKING:
    from qsched.bench.plan import BenchPlan, ModelPlan, Totals
    from qsched.bench.results import MetricEstimate


def register(app: typer.Typer) -> None:
    """Add the group to `qsched`."""
    group = CommandLine(no_args_is_help=True, help="A whole benchmark as one file: models x arms x prompts x studies.")
    commands: tuple[Callable[..., None], ...] = (
        plan,
        run,
        report,
        compare,
        bench_exchange.submit,
        bench_exchange.verify,
        bench_exchange.merge,
    )
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
        _print_plan(found)


def run(
    file: Path = typer.Argument(help="The benchmark.yaml."),
    out: Path = typer.Option(..., "--out", help="Folder of the benchmark; an unfinished one is resumed."),
    model: list[str] = typer.Option([], "--model", help="Only this model; may be repeated."),
    executor: str | None = typer.Option(None, "--executor", help="As in generate-pairs: local, ray, or one of yours."),
    workers: int | None = typer.Option(None, "--workers", min=1, help="Workers of --executor ray."),
    shard: str | None = typer.Option(
        None, "--shard", help="Only make part I/N of the pictures; without it, the next run merges the parts."
    ),
    coefficients_only: bool = typer.Option(
        False, "--coefficients-only", help="Stop after the coefficients, which shards of the pictures need."
    ),
    device: str | None = typer.Option(None, "--device", help=DEVICE_HELP + " Default: each command's own."),
    db: str | None = typer.Option(
        None, "--db", help="Create the studies of people in this database, and take their votes out once closed."
    ),
) -> None:
    """Make what is missing of a benchmark: coefficients, pictures, scores, studies, win rates, certificates.

    Each step is a command of qsched, which is printed. The files in the folder show what is done: a run that was
    stopped, even by kill -9, resumes when the same command is run again. Votes are those of a study of yours; software
    votes only in studies that say votes: simulated, and every page says so.

    Example: qsched bench run benchmarks/specs/tiny.yaml --out runs/tiny
    """
    from qsched.bench.run import OwnDatabase, run_benchmark
    from qsched.bench.steps import Options
    from qsched.cli.bench_runner import run_here
    from qsched.cli.bench_studies import study_state

    options = Options(executor, workers, shard, device, coefficients_only)
    done = run_benchmark(
        file,
        out,
        runner=run_here,
        options=options,
        models=model,
        database=None if db is None else OwnDatabase(db, lambda slug: study_state(db, slug)),
        say=typer.echo,
    )
    typer.echo()
    typer.echo(f"{done.identity.name} {done.identity.version}, sha256 {done.identity.benchmark_sha256}")
    steps = counted(done.carried_out, "step")
    typer.echo(f"{steps} carried out, {done.found_done} {'was' if done.found_done == 1 else 'were'} done already")
    for one in done.waiting:
        typer.secho(f"waiting for votes: {one.study} of {one.model}: {one.words}", fg=typer.colors.YELLOW)
    if coefficients_only:
        typer.echo("the coefficients are there; go on without --coefficients-only")
    elif shard is not None:
        typer.echo("when all shards are made, run the same command without --shard")
    elif not done.waiting:
        typer.echo(f"look at it: qsched bench report {out}")


def report(
    folder: Path = typer.Argument(help="Folder that `qsched bench run` made."),
    out: Path | None = typer.Option(None, "--out", help="Folder of the pages; default: site in the folder."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Write the leaderboard: arms x models, with intervals, sizes, times, certificates, categories and every pair.

    The pages are static and need no network; they can be put on any web server. Votes are not among their files.

    Example: qsched bench report runs/tiny
    """
    from qsched.bench.results import read_results
    from qsched.bench.site import write_site

    page = write_site(folder, out)
    if not gave_json(read_results(folder).to_json(), json_file):
        typer.echo(f"look at  {page}")


def compare(
    before: Path = typer.Argument(help="Folder of a benchmark, as `bench run` or `bench submit` made it."),
    after: Path = typer.Argument(help="Another one."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Say what changed from one folder to another: each arm's contrast with the baseline, and the difference.

    The two must have votes of their own; then the interval is that of the difference of two independent contrasts, in
    log-odds. It is not corrected for the number of arms.

    Example: qsched bench compare runs/v1 runs/v2
    """
    from qsched.bench.compare import compare_folders

    found = compare_folders(before, after)
    if gave_json(found.to_json(), json_file):
        return
    typer.echo("one benchmark" if found.same_benchmark else "two benchmarks (other file or other prompts)")
    for one in found.changes:
        d = one.difference
        words = "" if d is None else f"{d.value:+.2f} [{d.low:+.2f}, {d.high:+.2f}] log-odds: "
        notes = f" ({'; '.join(one.notes)})" if one.notes else ""
        typer.echo(f"{one.model}, {one.arm}, {one.study}: {words}{one.verdict}{notes}")
        if d is not None and one.before is not None and one.after is not None:
            typer.echo(f"  from {_contrast(one.before)} to {_contrast(one.after)} against the baseline")
    for line in found.others:
        typer.echo(line)
    if not found.changes:
        typer.echo("no arm has votes in both")


def _contrast(one: MetricEstimate) -> str:
    return f"{one.value:+.2f}" + ("" if one.low is None else f" [{one.low:+.2f}, {one.high:+.2f}]")


def _print_plan(found: BenchPlan) -> None:
    from rich.console import Console

    from qsched.generation.sheet import megabytes

    console = Console()
    console.print(f"{found.name}, version {found.version}: {counted(found.prompts, 'prompt')}", highlight=False)
    for model in found.models:
        _print_model(model, console)
    total = found.totals
    hours = "unknown" if total.seconds is None else f"{total.seconds / 3600:,.1f} h of rendering"
    lines = [
        ("pictures", f"{total.pictures:,}, at most {megabytes(total.disk_bytes)} on disk"),
        ("NFE", f"{total.nfe:,} for the pictures, at most {total.calibration_nfe:,} for calibrations"),
        ("time", f"{hours}" + ("; state seconds_per_image for each model" if total.seconds is None else "")),
        ("people", _votes_of_people(total)),
        ("money", "unknown; add pay to each study" if total.cost is None else _money(total.cost)),
    ]
    if total.simulated_votes:
        lines.append(("simulated votes", f"{total.simulated_votes:,}, which say nothing about people"))
    console.print("\n[bold]together[/]")
    for name, text in lines:
        console.print(f"  {name:<16} {text}", highlight=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def _print_model(model: ModelPlan, console: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from qsched.generation.sheet import megabytes

    assert isinstance(console, Console)
    table = Table(title=model.model, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("arm", overflow="fold", min_width=12)
    for column in ("pictures", "NFE", "disk", "memory", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for arm in model.arms:
        weights = "unknown" if arm.memory_bytes is None else megabytes(arm.memory_bytes)
        simulated = "simulated" if arm.simulated else ""
        table.add_row(arm.arm, f"{arm.pictures:,}", f"{arm.nfe:,}", megabytes(arm.disk_bytes), weights, simulated)
    console.print()
    console.print(table)
    for one in model.calibrations:
        console.print(
            f"  calibration of {one.precision}: at most {one.nfe:,} NFE, {counted(one.pictures, 'picture')} decoded"
        )
    for study in model.studies:
        simulated = "" if study.votes_by == "people" else "simulated "
        people = counted(study.people, f"{simulated}person", f"{simulated}people")
        cost = "" if study.votes_by != "people" else f", {study.hours:,.0f} h"
        if study.cost and study.currency:
            cost += f", {study.cost:,.0f} {study.currency} with the platform's fee"
        console.print(
            f"  study {study.study}: "
            f"{counted(study.votes, 'vote')} by {people} on {counted(study.pairs, 'pair')}{cost}; "
            f"can show {study.can_show}",
            highlight=False,
            soft_wrap=True,
        )
        for warning in study.warnings:
            console.print(f"  [yellow]warning: {warning}[/]", soft_wrap=True)


def _votes_of_people(total: Totals) -> str:
    if not total.votes:
        return "none"
    return f"{counted(total.votes, 'vote')} by {counted(total.people, 'person', 'people')} in {total.hours:,.0f} h"


def _money(cost: dict[str, float]) -> str:
    return ", ".join(f"{value:,.0f} {currency}" for currency, value in sorted(cost.items())) or "none"
