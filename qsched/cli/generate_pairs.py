"""`qsched generate-pairs`: the same prompts and noise through several arms, into an image set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qsched.cli.options import (
    BACKBONE_HELP,
    DEVICE_HELP,
    LORA_HELP,
    PROMPTS_FORMAT_HELP,
    REVISION_HELP,
    VARIANT_HELP,
    checked_offload,
    print_layout,
    prompts_file,
)
from qsched.command_line import EXIT_INTERRUPTED, counted
from qsched.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from qsched.generation import RunReport


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("generate-pairs")(generate_pairs)


def generate_pairs(
    backbone: str = typer.Option(
        ...,
        "--backbone",
        help=BACKBONE_HELP,
    ),
    arms: str = typer.Option(
        ...,
        "--arms",
        help="Comma-separated precision[+qsched[:coefficients.json]] or +qsched-bias; the first is the baseline.",
    ),
    prompts: str = typer.Option(
        ..., "--prompts", help="A .yaml, .csv, .json, .jsonl or .txt file, or a shipped set: demo, eval, calibration."
    ),
    prompts_format: str | None = typer.Option(None, "--prompts-format", help=PROMPTS_FORMAT_HELP),
    out: Path = typer.Option(
        ..., "--out", help="Folder of the image set, or s3://BUCKET/FOLDER; an unfinished one is resumed."
    ),
    samples: int = typer.Option(1, "--samples", min=1, help="Pictures of each prompt, each from noise of its own."),
    seed: int = typer.Option(0, "--seed", help="Set seed: other noise for every picture."),
    batch_size: int = typer.Option(8, "--batch-size", min=1, help="Pictures made together; the same in every arm."),
    steps: int | None = typer.Option(None, "--steps", min=1, help="Inference steps. Default: the backbone's."),
    guidance_scale: float | None = typer.Option(None, "--guidance-scale", min=0.0, help="Default: the backbone's."),
    width: int | None = typer.Option(None, "--width", min=1, help="Pixels. Default: the backbone's."),
    height: int | None = typer.Option(None, "--height", min=1, help="Pixels. Default: the backbone's."),
    device: str = typer.Option("auto", "--device", help=DEVICE_HELP),
    dtype: str | None = typer.Option(
        None, "--dtype", help="fp32, bf16 or fp16: base dtype of the quantized arms. Default: that of a dtype arm."
    ),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Only the first N prompts."),
    calibration_prompts: str | None = typer.Option(
        None,
        "--calibration-prompts",
        help="Prompts for the statistics of smoothquant, svdquant, mixdq and ptqd. Default: the tiny models' own.",
    ),
    calibration_limit: int = typer.Option(
        8, "--calibration-limit", min=1, help="How many of them are used, from the first on."
    ),
    shard: str | None = typer.Option(
        None,
        "--shard",
        help="Make one part only: 3/8 is the third of eight; torchrun takes its rank. `qsched merge` makes the set.",
    ),
    executor: str = typer.Option(
        "local", "--executor", help="local (this process), ray (a worker per GPU or CPU), or one of a package of yours."
    ),
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Workers of --executor ray. Default: one per GPU, else per CPU."
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Say what would be made, and what it takes; load and write nothing."
    ),
    seconds_per_image: str | None = typer.Option(
        None, "--seconds-per-image", help="Rate for the time of --dry-run: 0.8, or 0.8,w4a8=1.1 by arm."
    ),
    negative_prompt: str | None = typer.Option(
        None, "--negative-prompt", help="What the pictures should not show; needs a guidance scale above 1."
    ),
    eta: float | None = typer.Option(None, "--eta", min=0.0, max=1.0, help="Share of noise in a step (TCD, DDIM)."),
    revision: str | None = typer.Option(None, "--revision", help=REVISION_HELP),
    variant: str | None = typer.Option(None, "--variant", help=VARIANT_HELP),
    lora: list[str] = typer.Option([], "--lora", help=LORA_HELP),
    vae_dtype: str | None = typer.Option(
        None, "--vae-dtype", help="fp32, bf16 or fp16 for the VAE alone, if it overflows. Default: as the rest."
    ),
    offload: str = typer.Option(
        "none",
        "--offload",
        help="Weights wait on the GPU (none), or in main memory and come by component (model) or layer (sequential).",
    ),
    compiled: bool = typer.Option(
        False,
        "--compile",
        help="Compile the denoiser of every arm (torch.compile): other rounding, and it takes minutes to begin.",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete the set in --out and start again."),
    allow_other_coefficients: bool = typer.Option(
        False,
        "--allow-other-coefficients",
        help="Use coefficients that were calibrated for another model, precision or number of steps.",
    ),
) -> None:
    """Make paired images: every arm starts each prompt from the same noise.

    Precisions: fp32, bf16, fp16 (dtype); w8a8, w4a8 (torchao); nf4, int8 (bitsandbytes); w4a4, w3a8, w4a4-channel
    and so on (fake quantization, any bits from 2 to 8); fp8, fp8-tensor, mxfp8, mxfp4, nvfp4, gguf-q8_0, gguf-q5_0,
    gguf-q4_0 (number formats, simulated); gguf:file=PATH.gguf; smoothquant, svdquant, svdquant-nvfp4, mixdq,
    mixdq-w8a8, ptqd (simulated, with statistics of calibration prompts, which are kept in the set's folder).

    Options follow a colon: w4a4:keep=time_embed*|proj_out leaves modules in the base dtype, w4a4:bits=map.json gives
    modules their own bits, mxfp8:conv converts convolutions too, w8a8:ptqd corrects the noise estimate. +qsched scales
    the scheduler's inputs, +qsched-bias also adds a bias for each latent channel. docs/arms.md says what each arm does.

    If the run is interrupted, run the same command again: it resumes and produces identical images.

    Example: qsched generate-pairs --backbone tiny-sdxl --arms fp32,w3a8,w3a8+qsched --prompts demo --out runs/demo
    """
    from qsched.backbones import quiet_libraries
    from qsched.backbones.spec import parse_lora
    from qsched.cli.progress import PairsProgress
    from qsched.generation import Request
    from qsched.generation import generate_pairs as generate
    from qsched.generation.executors import find_executor
    from qsched.generation.shard import device_for, parse_shard
    from qsched.locations import read_location

    asked = prompts_file(prompts)
    if prompts_format is None:
        print_layout(asked)
    part = None if shard is None else parse_shard(shard, os.environ)
    request = Request(
        backbone=backbone,
        arms=arms,
        prompts=asked,
        prompts_format=prompts_format,
        out=read_location(out),
        samples=samples,
        set_seed=seed,
        batch_size=batch_size,
        steps=steps,
        guidance_scale=guidance_scale,
        width=width,
        height=height,
        device=device_for(device, shard, os.environ),
        dtype=dtype,
        limit=limit,
        overwrite=overwrite,
        calibration_prompts=None if calibration_prompts is None else prompts_file(calibration_prompts),
        calibration_limit=calibration_limit,
        allow_other_coefficients=allow_other_coefficients,
        shard=part,
        negative_prompt=negative_prompt,
        eta=eta,
        revision=revision,
        variant=variant,
        loras=tuple(parse_lora(text) for text in lora),
        vae_dtype=vae_dtype,
        offload=checked_offload(offload),
        compiled=compiled,
    )
    if seconds_per_image is not None and not dry_run:
        raise InputError("--seconds-per-image is the rate of a --dry-run; add --dry-run, or leave it out")
    chosen = find_executor(executor, workers=workers)
    quiet_libraries()
    if dry_run:
        from qsched.cli.dry_run import tell_forecast

        tell_forecast(request, seconds_per_image)
        return
    try:
        with PairsProgress() as progress:
            report = generate(request, progress=progress, executor=chosen)
    except KeyboardInterrupt:
        typer.secho(
            f"\nstopped; what is finished is safe in {request.out}. Run the same command again to go on.",
            fg=typer.colors.YELLOW,
            err=True,
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _tell(report)


def _tell(report: RunReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from qsched.generation.sheet import megabytes

    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for column in ("made", "s/image", "denoiser", "if packed", "converted", "kept"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for arm in report.arms:
        r: Any = arm.report
        sizes = ["", "", "", "", ""]
        if r is not None:
            packed = megabytes(r.packed_bytes) if r.simulated else ""
            kind = "simulated" if r.simulated else ""
            sizes = [
                megabytes(r.resident_bytes),
                packed,
                str(len(r.converted)),
                str(len(r.skipped) + len(r.kept)),
                kind,
            ]
        pace = "" if arm.seconds_per_image is None else f"{arm.seconds_per_image:.3f}"
        table.add_row(arm.name, str(arm.images_made), pace, *sizes)
    console.print(table)
    _tell_notes(report, console)
    state = "complete" if report.made + report.kept >= report.n_images else "incomplete"
    console.print(
        f"{state}: {report.n_images} images in {report.folder} ({report.made} made, {report.kept} there already)",
        highlight=False,
        soft_wrap=True,
    )
    if report.contact_sheet is not None:
        console.print(f"look at  {report.contact_sheet}", highlight=False, soft_wrap=True)
        console.print(f"check    qsched verify {report.folder}", highlight=False, soft_wrap=True)
    else:
        out = report.folder.parent.parent
        console.print(f"when all shards are made:  qsched merge {out}", highlight=False, soft_wrap=True)


def _tell_notes(report: RunReport, console: Console) -> None:
    from rich.markup import escape

    for arm in report.arms:
        if arm.same_as is not None:
            console.print(
                f"[yellow]{escape(arm.name)} makes the same pictures as {escape(arm.same_as)} (its coefficients are "
                "all 1): they were made once and copied. Nobody can tell these two arms apart[/]"
            )
    if report.assumed:
        console.print(
            f"[yellow]the model does not state its call: {escape(', '.join(report.assumed))} assumed; set --steps and "
            "--guidance-scale, or put them into qsched.json in its folder[/]"
        )
    if report.truncated:
        shown = ", ".join(report.truncated[:5]) + (" ..." if len(report.truncated) > 5 else "")
        console.print(
            f"[yellow]the text encoder does not read the end of {counted(len(report.truncated), 'prompt')}: "
            f"{escape(shown)}[/]"
        )
    if report.remade:
        console.print(f"made the pictures of {counted(report.remade, 'damaged or half-written row')} again")
    if report.unlike:
        console.print(
            f"[yellow]{counted(report.unlike, 'kept picture')} came out different when their batch was made "
            "again: this machine, its thread count or its libraries are not those of the earlier run "
            "(see images.jsonl)[/]"
        )
    for note in report.notes:
        console.print(f"note: {escape(note)}", highlight=False, soft_wrap=True)
