"""`qsched score`: automatic metrics of an image set, arm by arm."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("score")(score)


def score(
    image_set: Path = typer.Argument(help="Folder of an image set, as `qsched generate-pairs --out` makes it."),
    metrics: str | None = typer.Option(
        None,
        "--metrics",
        help="Comma-separated: clipscore, clip-iqa, hpsv2.1, pickscore, tiny-check, psnr, ssim, lpips, pyiqa:<metric>. "
        "Default: clipscore,clip-iqa,psnr,ssim, and tiny-check for the tiny models.",
    ),
    baseline: str | None = typer.Option(None, "--baseline", help="Arm to compare with; default: the first."),
    weights: list[str] = typer.Option(
        [], "--weights", help="scorer=path or scorer=org/name@commit; the tiny models use tiny-clip."
    ),
    k: float = typer.Option(2.0, "--k", help="Weight of image quality in JAQ = TC + k IQ."),
    fid: str | None = typer.Option(
        None, "--fid", help="FID to a folder, an .npz of statistics, or 'baseline' (pyiqa)."
    ),
    frechet: str | None = typer.Option(
        None, "--frechet-clip", help="The same distance on CLIP features (not an FID) to a folder, .npz or 'baseline'."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu or cuda."),
    out: Path | None = typer.Option(None, "--out", help="Folder for the results; default: the image set itself."),
) -> None:
    """Score every picture and compare the arms: mean, paired difference to the baseline, bytes, time, memory.

    Writes metrics.json, metrics_images.jsonl (every value) and metrics.html (tables and a figure of quality
    against size). PSNR, SSIM and LPIPS are against the same prompt and noise in the baseline arm.

    Example: qsched score runs/demo

    Example: qsched score runs/demo --metrics clipscore,clip-iqa,lpips --weights clipscore=/data/clip
    """
    from qsched.errors import InputError
    from qsched.records import read_manifest

    if fid and frechet:
        raise InputError("--fid and --frechet-clip are two distances; give one of them")
    manifest = read_manifest(image_set)
    from qsched.scoring.frechet import ClipFeatures, InceptionFeatures
    from qsched.scoring.image_set_report import write_set_scores
    from qsched.scoring.image_set_scores import score_set
    from qsched.scoring.registry import load_metrics, parse_weights

    tiny = manifest.backbone.startswith("tiny-")
    chosen = metrics or "clipscore,clip-iqa,psnr,ssim" + (",tiny-check" if tiny else "")
    found = parse_weights(weights)
    if tiny:
        found = {"clipscore": "tiny-clip", "clip-iqa": "tiny-clip", **found}
    scorers, references = load_metrics(chosen, weights=found, device=device)
    distance = None
    if fid:
        distance = InceptionFeatures(device=device), fid
    elif frechet:
        from qsched.scoring.clip_scorers import DEFAULT_WEIGHTS

        distance = ClipFeatures(found.get("clipscore", DEFAULT_WEIGHTS), device=device), frechet

    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task("scoring", total=None)
        scores = score_set(
            image_set,
            scorers=scorers,
            references=references,
            baseline=baseline,
            k=k,
            frechet=distance,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    target = out or image_set
    target.mkdir(parents=True, exist_ok=True)
    paths = write_set_scores(target, scores)
    _print_table(scores)
    typer.echo("written: " + ", ".join(str(path) for path in paths))


def _print_table(scores) -> None:  # type: ignore[no-untyped-def]  # SetScores is imported late
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{scores.manifest.set_id}: means, and differences to {scores.baseline} with 95 % intervals")
    names = [metric.metric for metric in scores.arms[0].metrics]
    for column in ("arm", *names, "MB (packed)", "s / picture"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm in scores.arms:
        cells = []
        for metric in arm.metrics:
            d = metric.difference
            more = "" if d is None else f"\n{d.mean:+.4f}\n[{d.low:+.4f}, {d.high:+.4f}]"
            cells.append(f"{metric.mean:.4f}{more}".replace("[", r"\["))
        size = "" if arm.size_bytes is None else f"{arm.size_bytes / 1e6:.2f}"
        name = arm.arm.name + (" (simulated)" if arm.arm.simulated else "")
        table.add_row(name, *cells, size, f"{arm.seconds_per_image:.3f}", end_section=True)
    Console().print(table)
