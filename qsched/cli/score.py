"""`qsched score`: automatic metrics of an image set, arm by arm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DEVICE_HELP, K_HELP, WEIGHTS_HELP, torch_device

if TYPE_CHECKING:  # torch and rich are loaded late
    from rich.table import Table

    from qsched.scoring.image_set.distance import DistanceRequest
    from qsched.scoring.image_set.table import ArmScores, SetScores


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("score")(score)


def score(
    image_set: Path = typer.Argument(help="Folder of an image set, as `qsched generate-pairs --out` makes it."),
    metrics: str | None = typer.Option(
        None,
        "--metrics",
        help="Comma-separated: clipscore, clip-iqa, hpsv2.1, hpsv3, pickscore, image-reward, mps, vqascore, "
        "tiny-check, psnr, ssim, ms-ssim, iw-ssim, lpips, dreamsim, cvvdp, flip, ssimulacra2, pyiqa:<metric>, or your "
        "own file.py:Class. "
        "Default: clipscore,clip-iqa,psnr,ssim, and tiny-check for the tiny models.",
    ),
    baseline: str | None = typer.Option(None, "--baseline", help="Arm to compare with; default: the first."),
    weights: list[str] = typer.Option([], "--weights", help=WEIGHTS_HELP),
    k: float = typer.Option(2.0, "--k", help=K_HELP),
    k_units: str = typer.Option(
        "raw", "--k-units", help="raw, or sd: TC and IQ in units of their spread over the baseline's pictures."
    ),
    fid: str | None = typer.Option(
        None, "--fid", help="FID to a folder, an .npz of statistics, or 'baseline' (pyiqa)."
    ),
    frechet: str | None = typer.Option(
        None, "--frechet-clip", help="The same distance on CLIP features (not an FID) to a folder, .npz or 'baseline'."
    ),
    kid: str | None = typer.Option(
        None, "--kid", help="KID to a folder of pictures or 'baseline' (pyiqa): unbiased, also for few pictures."
    ),
    cmmd: str | None = typer.Option(
        None, "--cmmd", help="CMMD to a folder of pictures or 'baseline': as KID, on the features of clipscore's CLIP."
    ),
    display: str = typer.Option(
        "standard_fhd", "--display", help="Display of cvvdp and flip: standard_fhd, standard_4k or standard_phone."
    ),
    device: str = typer.Option("cpu", "--device", help=DEVICE_HELP),
    out: Path | None = typer.Option(None, "--out", help="Folder for the results; default: the image set itself."),
) -> None:
    """Score every picture and compare the arms: mean, paired difference to the baseline, bytes, time, memory.

    Writes metrics.json, metrics_images.jsonl (every value) and metrics.html (tables and a figure of quality
    against size). PSNR, SSIM, LPIPS, cvvdp (visible difference in JOD), FLIP and SSIMULACRA2 are against the same
    prompt and noise in the baseline arm.

    Example: qsched score runs/demo

    Example: qsched score runs/demo --metrics clipscore,clip-iqa,lpips --weights clipscore=/data/clip

    Example: qsched score runs/demo --metrics cvvdp,flip --display standard_4k
    """
    from qsched.errors import InputError
    from qsched.locations import read_location
    from qsched.records import read_manifest

    location = read_location(image_set)
    wanted = {"--fid": fid, "--frechet-clip": frechet, "--kid": kid, "--cmmd": cmmd}
    asked = [(option, reference) for option, reference in wanted.items() if reference is not None]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(option for option, _ in asked)} are two distances; give one of them")
    manifest = read_manifest(location)
    from qsched.scoring.image_set.report import make_result_folder, write_set_scores
    from qsched.scoring.image_set.scores import score_set
    from qsched.scoring.jaq_score import checked_k, checked_unit_kind
    from qsched.scoring.registry import load_metrics, parse_metrics, parse_weights
    from qsched.scoring.visible_difference import find_display

    # Check everything that can be wrong before the minutes of work.
    checked_k(k)
    units = checked_unit_kind(k_units)
    find_display(display)
    place = torch_device(device)
    target = location if out is None else read_location(out)
    make_result_folder(target)
    tiny = manifest.backbone.startswith("tiny-")
    chosen = metrics if metrics is not None else "clipscore,clip-iqa,psnr,ssim" + (",tiny-check" if tiny else "")
    also = ("clipscore",) if frechet is not None or cmmd is not None else ()
    found = parse_weights(weights)
    if tiny:
        used = {*parse_metrics(chosen), *also}
        found = {**{name: "tiny-clip" for name in ("clipscore", "clip-iqa") if name in used}, **found}
    scorers, references = load_metrics(chosen, weights=found, device=place, also=also, display=display)
    distance = _distance(*asked[0], clip=found.get("clipscore"), device=place) if asked else None

    from qsched.cli.progress import progress_bar

    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None)
        scores = score_set(
            location,
            scorers=scorers,
            references=references,
            baseline=baseline,
            k=k,
            k_units=units,
            distance=distance,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    paths = write_set_scores(target, scores)
    _print_tables(scores)
    for warning in scores.warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
    typer.echo("written: " + ", ".join(str(path) for path in paths))


def _distance(option: str, reference: str, *, clip: str | None, device: str) -> DistanceRequest:
    """The distance of an option, with its features loaded."""
    from qsched.scoring.frechet import ClipFeatures, InceptionFeatures
    from qsched.scoring.image_set.distance import DistanceRequest

    if option in ("--fid", "--kid"):
        return DistanceRequest("frechet" if option == "--fid" else "kid", InceptionFeatures(device=device), reference)
    from qsched.scoring.clip_scorers import DEFAULT_WEIGHTS

    features = ClipFeatures(clip or DEFAULT_WEIGHTS, device=device)
    return DistanceRequest("frechet" if option == "--frechet-clip" else "cmmd", features, reference)


def _print_tables(scores: SetScores) -> None:
    """One row per metric and arm: with a column per metric the table would not fit a terminal."""
    from rich.console import Console

    from qsched.scoring.image_set.report import distance_text

    console = Console()
    quality = _table(
        f"{scores.manifest.set_id}: against {scores.baseline}, with 95 % intervals",
        ("metric", "arm"),
        ("n", "mean", "difference", "interval"),
    )
    for name in scores.metric_names:
        for number, arm in enumerate(scores.arms):
            shown = name if number == 0 else ""
            _add_row(quality, shown, arm.arm.name, *_metric_cells(arm, name))
        quality.add_section()
    console.print(quality)
    if scores.distance is not None:
        distance = _table(scores.distance.name, ("arm",), ("n", "distance"))
        for arm in scores.arms:
            _add_row(distance, arm.arm.name, str(arm.n_images), distance_text(arm))
        console.print(distance)
    if scores.repairs:
        console.print(_repair_table(scores))
    cost = _table("cost", ("arm",), ("MB (packed)", "s / picture", "arithmetic"))
    for arm in scores.arms:
        size = "" if arm.size_bytes is None else f"{arm.size_bytes / 1e6:.2f}"
        simulated = "simulated" if arm.arm.simulated else ""
        _add_row(cost, arm.arm.name, size, "" if arm.seconds is None else f"{arm.seconds.mean:.3f}", simulated)
    console.print(cost)


def _repair_table(scores: SetScores) -> Table:
    """A comparison names its arms in a row of its own, so that the table fits a terminal."""
    table = _table("what the coefficients repair", ("arms, metric",), ("difference", "interval", "better / worse"))
    for repair in scores.repairs:
        same = f"identical in {repair.n_identical} of {repair.n_pairs}" if not repair.differences else ""
        _add_row(table, f"{repair.arm} against {repair.against}", "", same, "")
        for name, d in repair.differences:
            better, worse = (d.above, d.below) if scores.higher_is_better(name) else (d.below, d.above)
            interval, counts = f"[{d.low:+.4f}, {d.high:+.4f}]", f"{better} / {worse}"
            _add_row(table, f"  {name}", f"{d.mean:+.4f}", interval, counts)
        table.add_section()
    return table


def _table(title: str, names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    """A table whose names may wrap and whose numbers may not."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in names:
        table.add_column(column, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _add_row(table: Table, *cells: str) -> None:
    from rich.markup import escape

    table.add_row(*(escape(cell) for cell in cells))


def _metric_cells(arm: ArmScores, name: str) -> tuple[str, str, str, str]:
    """Count, mean, difference and interval; that of a difference has signs, that of a mean has none."""
    metric = arm.metric(name)
    if metric is None:
        return "", "", "", ""
    count, mean = str(metric.n_images), f"{metric.mean:.4f}"
    if arm.same_as is not None:
        return count, mean, "identical", f"in {arm.n_images} of {arm.n_images}"
    if metric.interval is not None:
        return count, mean, "", f"[{metric.interval.low:.4f}, {metric.interval.high:.4f}]"
    if metric.difference is None:
        return count, mean, "", ""
    d = metric.difference
    return count, mean, f"{d.mean:+.4f}", f"[{d.low:+.4f}, {d.high:+.4f}]"
