"""`qsched calibrate`: find the Q-Sched coefficients of a quantized model."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import (
    BACKBONE_HELP,
    DEVICE_HELP,
    K_HELP,
    LORA_HELP,
    REVISION_HELP,
    VARIANT_HELP,
    WEIGHTS_HELP,
    number_range,
    prompts_file,
)

if TYPE_CHECKING:  # torch is imported when the command runs
    from qsched.calibration.command import CalibrationFiles, CalibrationRequest
    from qsched.calibration.evaluate import SearchProgress


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("calibrate")(calibrate)


def calibrate(
    backbone: str = typer.Option(..., "--backbone", help=BACKBONE_HELP),
    precision: str = typer.Option("w4a8", "--precision", help="Precision to calibrate, as in generate-pairs."),
    prompts: str = typer.Option(
        ..., "--prompts", help="A prompts file, or a shipped set (calibration, eval, demo); the first N are used."
    ),
    out: Path = typer.Option(
        Path("coefficients.json"), "--out", help="Output file; the report and journal are written next to it."
    ),
    heldout: str | None = typer.Option(
        None, "--heldout", help="Held-out prompts, a file or a shipped set; default: those after the first N."
    ),
    n_prompts: int | None = typer.Option(None, "--n-prompts", help="N: 25, or half of a shorter file."),
    n_heldout: int | None = typer.Option(None, "--n-heldout", help="Held-out prompts; default: 100, or what is there."),
    strategy: str = typer.Option(
        "closed-form", "--strategy", help="closed-form (least squares), race, coarse-to-fine, grid, or optuna (extra)."
    ),
    family: str = typer.Option(
        "constant", "--family", help="Of a race or grid: constant, linear-to-one (the paper's), linear, per-step."
    ),
    vary: str = typer.Option("both", "--vary", help="both, or only the model or the sample coefficient."),
    grid_size: int | None = typer.Option(
        None,
        "--grid-size",
        min=2,
        help="Values per axis of the (first) grid; race: 9. optuna runs its square as trials.",
    ),
    model_range: str | None = typer.Option(
        None, "--model-range", help="Limits of the model coefficient (c_eps); default: 0.8,1.2, which a race may widen."
    ),
    sample_range: str | None = typer.Option(None, "--sample-range", help="The same for the sample coefficient (c_x)."),
    steps: int | None = typer.Option(None, "--steps", help="Inference steps; default: the backbone's."),
    objective: str | None = typer.Option(
        None, "--objective", help="Instead of --tc, --iq and --k: paper-clip[-script], paper-aesthetic[-eval]."
    ),
    tc: str | None = typer.Option(
        None,
        "--tc",
        help="Text compatibility: clipscore (default), clipscore:log, aq-map, hpsv2.1, pickscore, file.py:Class.",
    ),
    iq: str | None = typer.Option(
        None, "--iq", help="Image quality: clip-iqa (default), pyiqa:<metric>, file.py:Class, or another TC."
    ),
    k: float | None = typer.Option(None, "--k", help=K_HELP + " Default: 2."),
    k_units: str = typer.Option(
        "raw", "--k-units", help="raw, or sd: TC and IQ in units of their spread over the prompts at (1, 1)."
    ),
    weights: list[str] = typer.Option([], "--weights", help=WEIGHTS_HELP),
    also: list[str] = typer.Option(
        [], "--also", help="Additional scorer for the held-out pictures, for example tiny-check."
    ),
    judge: str = typer.Option(
        "auto",
        "--judge",
        help="Independent scorer of the held-out pictures, whose harm overrules; auto: tiny-check for the tiny models, "
        "else pickscore (or hpsv2.1); none.",
    ),
    budget_nfe: int | None = typer.Option(None, "--budget-nfe", help="Limit on the model evaluations of the search."),
    budget_minutes: float | None = typer.Option(None, "--budget-minutes", help="Limit on the minutes of the search."),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of noise and search."),
    batch: int = typer.Option(32, "--batch", min=1, help="Pictures per batch."),
    device: str = typer.Option("auto", "--device", help=DEVICE_HELP),
    dtype: str | None = typer.Option(None, "--dtype", help="Base dtype: fp32, bf16, fp16."),
    revision: str | None = typer.Option(None, "--revision", help=REVISION_HELP),
    variant: str | None = typer.Option(None, "--variant", help=VARIANT_HELP),
    lora: list[str] = typer.Option([], "--lora", help=LORA_HELP),
    early_decode: str = typer.Option(
        "full",
        "--early-decode",
        help="Cheaper pictures until the best 10 are judged: half, tiny:FOLDER (AutoencoderTiny), or full.",
    ),
    vae_slicing: bool = typer.Option(False, "--vae-slicing", help="Decode one picture at a time: less memory."),
    vae_tiling: bool = typer.Option(False, "--vae-tiling", help="Decode in tiles: less memory, seams possible."),
    shard: str | None = typer.Option(
        None, "--shard", help="Only measure part I/N of a grid (or torchrun); then run the command without it."
    ),
    executor: str = typer.Option(
        "local", "--executor", help="local, or ray: workers of a Ray cluster measure a race or grid (extra ray)."
    ),
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Ray's workers; default: one per GPU, or one per CPU."
    ),
    no_control: bool = typer.Option(False, "--no-control", help="Skip the full-precision control."),
    force: bool = typer.Option(False, "--force", help="Keep the best candidate even if held-out prompts show no gain."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what it takes: NFE, pictures, bytes, time."),
    probe: bool = typer.Option(False, "--probe", help="Only say how much of each step's error is linear."),
) -> None:
    """Find the coefficients that repair a quantized model, and check them on held-out prompts.

    The default strategy fits them to the full-precision model by least squares, for Q-Sched and for
    qsched-bias (ours, with a bias for each latent channel), and compares the fits with the stock scheduler.
    Race and grid search without full precision, as the paper does.

    Writes the coefficients with their provenance, and a page with pictures, the gain over the stock scheduler
    with its interval, and the same coefficients on full precision as a control. If the held-out prompts show
    no gain, the result is (1, 1). If a search is interrupted, run the same command again: it resumes from its
    journal.

    Example: qsched calibrate --backbone tiny-flux --precision w4a8 --prompts calibration --out c.json

    Then:    qsched generate-pairs --backbone tiny-flux --arms fp32,w4a8,w4a8+qsched-bias:c.json --prompts ...
    """
    from qsched.backbones import quiet_libraries
    from qsched.backbones.spec import parse_lora

    quiet_libraries()
    from qsched.calibration.command import LOCAL, CalibrationRequest, check_executor, check_request, run_calibration
    from qsched.calibration.evaluate import Budget
    from qsched.calibration.families import Box
    from qsched.calibration.settings import CalibrationSettings
    from qsched.errors import InputError
    from qsched.scoring.objectives import NamedObjective, find_objective
    from qsched.scoring.registry import parse_weights

    if objective is not None and any(given is not None for given in (tc, iq, k)):
        raise InputError(f"--objective {objective} says what TC, IQ and k are; leave --tc, --iq and --k out")
    chosen = NamedObjective(tc or "clipscore", iq or "clip-iqa", 2.0 if k is None else k)
    terms = chosen if objective is None else find_objective(objective)
    ranges = {
        name: number_range(f"--{name}-range", text)
        for name, text in (("model", model_range), ("sample", sample_range))
        if text is not None
    }
    settings = CalibrationSettings(
        family=family,
        vary=vary,  # type: ignore[arg-type]  # Family checks it, with a message
        box=Box(**ranges) if ranges else None,
        strategy=strategy,
        size=grid_size,
        budget=Budget(budget_nfe, budget_minutes),
        seed=seed,
        batch_rows=batch,
        force=force,
        k_units=k_units,  # type: ignore[arg-type]  # the settings check it, with a message
        early_decode=early_decode,
    )
    request = CalibrationRequest(
        backbone=backbone,
        precision=precision,
        prompts=prompts_file(prompts),
        out=out,
        settings=settings,
        heldout=None if heldout is None else prompts_file(heldout),
        n_prompts=n_prompts,
        n_heldout=n_heldout,
        steps=steps,
        tc=terms.tc,
        iq=terms.iq,
        k=terms.k,
        weights=parse_weights(weights),
        also=tuple(also),
        judge=judge,
        device=device,
        dtype=dtype,
        revision=revision,
        variant=variant,
        loras=tuple(parse_lora(text) for text in lora),
        control=not no_control,
        vae_slicing=vae_slicing,
        vae_tiling=vae_tiling,
    )
    check_executor(request, executor, workers)
    if dry_run and probe:
        raise InputError("--dry-run and --probe are two questions; ask one of them")
    if dry_run:
        _report_preview(request)
        return
    if probe:
        _report_probe(request)
        return
    if shard is not None:
        if executor != LOCAL:
            raise InputError(f"--shard and --executor {executor} are two ways to share a search; leave one of them out")
        _run_shard(request, shard)
        return
    check_request(request)
    with _SearchDisplay() as display:
        done = run_calibration(request, executor=executor, workers=workers, on_progress=display.show)
    _report(done)


def _run_shard(request: CalibrationRequest, text: str) -> None:
    from dataclasses import replace

    from qsched.calibration.command import run_shard
    from qsched.generation.shard import device_for, parse_shard

    index, count = parse_shard(text, os.environ)
    with _SearchDisplay() as display:
        here = replace(request, device=device_for(request.device, text, os.environ))
        done = run_shard(here, (index, count), on_progress=display.show)
    typer.echo(f"shard {index}/{count}: {done.pictures:,} pictures, {done.nfe:,} NFE, written to {done.journal}")
    typer.echo("when all shards are done, run the same command without --shard: it reads what they measured")


class _SearchDisplay:
    """A bar with the best candidate so far and the time left; without a terminal, a line every 15 seconds."""

    SECONDS_PER_LINE = 15.0

    def __enter__(self) -> _SearchDisplay:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

        from qsched.cli.progress import progress_bar

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        self._bar = progress_bar(*columns, soft_wrap=True)
        self._console = self._bar.console
        self._task = self._bar.add_task("pictures (at most)", total=None, note="loading the backbone")
        self._bar.start()
        self._last_line = float("-inf")
        if not self._console.is_terminal:
            self._console.print("loading the backbone")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, progress: SearchProgress) -> None:
        """The state of the search after a batch."""
        left = "" if progress.seconds_left is None else f", at most {progress.seconds_left:.0f} s left"
        note = f"best so far: {progress.best.words}, {progress.best_gain:+.4f} JAQ, {progress.nfe:,} NFE{left}"
        self._bar.update(self._task, completed=progress.done, total=progress.planned, note=note)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= self.SECONDS_PER_LINE:
            self._last_line = now
            self._console.print(f"{progress.done:,} of at most {progress.planned:,} pictures, {note}", highlight=False)


def _report(done: CalibrationFiles) -> None:
    from qsched.calibration.words import NAMES, between_words, edge_words, linear_words, verdict_words

    result = done.result
    for outcome in result.outcomes:
        verdict = verdict_words(result, outcome)
        colour = typer.colors.YELLOW if verdict.warning else typer.colors.GREEN
        typer.secho(f"{verdict.heading} {verdict.text}", fg=colour)
        if outcome.control is not None:
            control = outcome.control.gain()
            name = f"{NAMES[outcome.method]} on full precision"
            typer.echo(f"{name}: {control.mean:+.4f} [{control.low:+.4f}, {control.high:+.4f}]")
    for words in (between_words(result), linear_words(result.fits), edge_words(result)):
        if words:
            typer.echo(words)
    for note in result.closed_form.notes if result.closed_form else ():
        typer.secho(f"note: {note}", fg=typer.colors.YELLOW)
    if any(outcome.verdict in ("no gain", "harm") for outcome in result.outcomes):
        typer.echo("--force writes the best candidate nevertheless")
    spent = f"{result.search_nfe:,} NFE, {result.search_seconds:.1f} s, {result.pictures:,} pictures"
    if result.reused:
        spent += f" ({result.reused:,} of them known from another search in the journal, not counted)"
    ended = ", ended by the budget" if result.budget_spent else ""
    if result.early is not None:
        typer.echo(
            f"{result.early.pictures:,} pictures decoded by {result.settings.early_decode} named the "
            f"{len(result.early.finalists)} candidates that were judged by whole pictures"
        )
    typer.echo(f"search: {spent}{ended}; held-out check and control: {result.check_nfe:,} NFE")
    typer.echo(f"written: {done.coefficients_path}, {done.report_path}")


def _report_preview(request: CalibrationRequest) -> None:
    from qsched.calibration.preview import preview_calibration

    found = preview_calibration(request)
    typer.echo(
        f"model evaluations (NFE): at most {found.search_nfe:,} for the search, {found.check_nfe:,} for the check"
    )
    typer.echo(f"pictures to decode and score: at most {found.decodes:,}")
    packed = "" if found.packed_bytes is None else f", {found.packed_bytes / 1e6:,.1f} MB if packed"
    typer.echo(
        f"denoiser: {found.full_bytes / 1e6:,.1f} MB in full precision, {found.quantized_bytes / 1e6:,.1f} MB quantized"
        f" (in memory{packed}); never both at once"
    )
    parts = (
        ("model evaluation", found.seconds_per_nfe),
        ("decode", found.seconds_per_decode),
        ("score", found.seconds_per_score),
    )
    pace = ", ".join(f"{seconds:.3g} s for a {name}" for name, seconds in parts)
    typer.echo(
        f"time: about {found.seconds / 60:,.1f} min without loading, at the pace of {found.timed} pictures: {pace}"
    )
    typer.echo("nothing was written (--dry-run)")


def _report_probe(request: CalibrationRequest) -> None:
    from qsched.calibration.least_squares import FORMS
    from qsched.calibration.preview import probe_calibration
    from qsched.calibration.words import linear_words

    fit = probe_calibration(request)
    typer.echo("share of each step's squared error that is linear, on prompts that were not fitted (negative: none)")
    typer.echo("step  error   " + "   ".join(FORMS))
    for number, step in enumerate(fit.steps):
        shares = [fit.shares[form][number] for form in FORMS if number < len(fit.shares[form])]
        cells = [f"{100 * share:.1f} %".rjust(len(form)) for form, share in zip(FORMS, shares, strict=False)]
        typer.echo(f"{number + 1:>4}  {100 * step.error:4.1f} %  " + "   ".join(cells))
    typer.echo(linear_words([fit]))
