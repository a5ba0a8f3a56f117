"""`qsched gate`: pass or fail an arm by how many prompts show a visible difference, for a build job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DEVICE_HELP, WEIGHTS_HELP, torch_device
from qsched.command_line import JSON_OPTION, gave_json

if TYPE_CHECKING:  # torch is loaded late
    from qsched.records.metric_jnd import MetricMaps
    from qsched.scoring.image_set.gate import Gate, Limit
    from qsched.scoring.reference_metrics import ReferenceMetric


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("gate")(gate)


def gate(
    image_set: Path = typer.Argument(help="Folder of an image set, as `qsched generate-pairs --out` makes it."),
    limit: list[str] = typer.Option(
        ...,
        "--limit",
        help="METRIC>=NUMBER or METRIC<=NUMBER with a metric against the twin: cvvdp, flip, ssimulacra2, psnr, ssim, "
        "lpips, pyiqa:<metric>. METRIC<=NUMBERJND with --jnd-map. Several are several claims.",
    ),
    share: float = typer.Option(0.95, "--share", help="Share of prompts that must be within the limit, below 1."),
    level: float = typer.Option(0.95, "--level", help="Confidence of the verdict, from 0.5 to 0.999."),
    baseline: str | None = typer.Option(None, "--baseline", help="Arm to compare with; default: the first."),
    arm: list[str] = typer.Option([], "--arm", help="Arm to judge; default: every other one."),
    display: str = typer.Option(
        "standard_fhd", "--display", help="Display of cvvdp and flip: standard_fhd, standard_4k or standard_phone."
    ),
    jnd_map: Path | None = typer.Option(
        None, "--jnd-map", help="metrics-jnd.json of `qsched jnd --image-set`: what the metrics mean in JND."
    ),
    weights: list[str] = typer.Option([], "--weights", help=WEIGHTS_HELP),
    device: str = typer.Option("cpu", "--device", help=DEVICE_HELP),
    junit: Path | None = typer.Option(None, "--junit", help="Write the verdicts as JUnit XML."),
    markdown: Path | None = typer.Option(None, "--markdown", help="Write the verdicts as a Markdown table."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Show that at least a share of prompts has no visible difference, or say that it is not shown.

    The claim is about prompts like these, with exact bounds, not about a mean or a prompt picked by hand: with
    --share 0.95 it takes 59 prompts without exception. Exit code 0: shown for every arm and limit; 1: one is shown to
    miss; 3: neither, more prompts are needed.

    Example: qsched gate runs/demo --limit 'cvvdp>=9.5' --share 0.9

    Example: qsched gate runs/demo --limit 'cvvdp<=0.5JND' --jnd-map scores/metrics-jnd.json

    Example: qsched gate runs/demo --arm w3a8 --limit 'cvvdp>=9' --limit 'flip<=0.1' --junit gate.xml
    """
    from qsched.errors import InputError
    from qsched.files import write_atomic
    from qsched.locations import read_location
    from qsched.records import read_manifest
    from qsched.scoring.image_set.gate import judge_set, parse_limit, to_junit, to_markdown

    limits = [parse_limit(text) for text in limit]
    if not 0 < share < 1:
        raise InputError(
            f"--share {share:g} is not between 0 and 1 (both excluded: no number of prompts shows all of them)"
        )
    if not 0.5 <= level <= 0.999:
        raise InputError(f"--level {level:g} is not from 0.5 to 0.999")
    location = read_location(image_set)
    read_manifest(location)
    maps = None if jnd_map is None else _read_maps(jnd_map)
    limits, metrics = _load(limits, weights=weights, device=device, display=display, maps=maps)
    if maps is not None and maps.simulated_votes:
        typer.secho(
            f"{maps.simulated_votes:,} of {maps.votes:,} votes of {jnd_map} are simulated: its JND are not people's",
            fg=typer.colors.YELLOW,
            err=True,
        )

    from qsched.cli.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None)
        found = judge_set(
            location,
            limits,
            metrics,
            share=share,
            level=level,
            baseline=baseline,
            arms=arm,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for path, text in ((junit, to_junit(found)), (markdown, to_markdown(found))):
        if path is not None:
            write_atomic(path, text.encode())
    if not gave_json(found.to_json(), json_file):
        _print_results(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _print_results(found: Gate) -> None:
    from qsched.scoring.image_set.gate import explain

    colour = {"passed": typer.colors.GREEN, "failed": typer.colors.RED, "not shown": typer.colors.YELLOW}
    for result in found.results:
        typer.secho(f"{result.outcome:<9}  {result.arm}", fg=colour[result.outcome], bold=True)
        typer.echo(f"           {explain(result)}")
        typer.echo("           worst: " + ", ".join(f"{prompt} {score:.4g}" for prompt, score in result.worst))
    for info in found.metrics:
        typer.echo(f"{info.name}: {info.scale}; {info.version}")


def _read_maps(path: Path) -> MetricMaps:
    from pydantic import ValidationError

    from qsched.errors import InputError
    from qsched.records.image_set import first_problem
    from qsched.records.metric_jnd import MetricMaps

    try:
        return MetricMaps.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}; `qsched jnd --image-set` writes one") from error
    except ValidationError as error:
        raise InputError(f"{path} is not a metrics-jnd.json ({first_problem(error)})") from error


def _load(
    limits: list[Limit], *, weights: list[str], device: str, display: str, maps: MetricMaps | None
) -> tuple[list[Limit], list[ReferenceMetric]]:
    """The limits by the names that their metrics have, and the metrics; what can be wrong is said before they load."""
    from qsched.errors import InputError
    from qsched.scoring.image_set.gate import check_direction, place_limit
    from qsched.scoring.outside import is_outside
    from qsched.scoring.registry import REFERENCE_METRICS, compares_with_twin, load_metrics, parse_weights
    from qsched.scoring.visible_difference import find_display

    find_display(display)
    names = list(dict.fromkeys(one.metric for one in limits))
    for name in names:
        if not compares_with_twin(name) and not is_outside(name):
            raise InputError(
                f"{name} is not a metric of a picture against its twin; a gate takes {', '.join(REFERENCE_METRICS)} "
                "or a full-reference metric of pyiqa"
            )
    scorers, metrics = load_metrics(
        ",".join(names), weights=parse_weights(weights), device=torch_device(device), display=display
    )
    if scorers:
        raise InputError(
            f"{scorers[0].info.name} is not a metric of a picture against its twin; derive it from ReferenceMetric"
        )
    by_name = dict(zip(names, metrics, strict=True))
    limits = [
        one if one.jnd is None else replace(place_limit(one, by_name[one.metric].info, maps), metric=one.metric)
        for one in limits
    ]
    for one in limits:
        check_direction(one, by_name[one.metric].info)
    # A metric from outside is asked for by its place and calls itself something shorter.
    return [replace(one, metric=by_name[one.metric].info.name) for one in limits], metrics
