"""Votes in, report out: `python analysis/winrates.py votes.parquet --out report/`.

Runs as a plain script from any folder, as `python -m analysis.winrates`, and as `analysis.winrates:main`.
Exit codes: 0 a report with an estimate; 3 a report, but the votes give no estimate (the report says why);
2 bad input or option, no report.
"""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from analysis import options
from qsched.command_line import CommandLine, run_app
from qsched.locations import read_location
from qsched.records import InputError

if TYPE_CHECKING:
    from analysis.report import Findings

EXIT_NO_ESTIMATE = 3


app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def winrates(
    votes: options.OptionalVotes = None,
    from_counts: options.FromCounts = None,
    keep_votes: options.KeepVotes = False,
    out: options.Out = Path("report"),
    title: options.Title = "Preference study",
    wording: options.Wording = "",
    image_set: options.ImageSet = None,
    simulation: options.Simulation = None,
    certificate: options.Certificate = None,
    looks: options.Looks = None,
    formats: options.Formats = "svg,png,pdf",
    study: options.Study = None,
    question: options.Question = None,
    weights: options.Weights = None,
    columns: options.Map = None,
    outcome: options.Outcome = None,
    yes: options.Yes = False,
    by: options.ByOption = None,
    min_response_ms: options.MinResponseMs = 200,
    min_votes: options.MinVotes = 0,
    min_gold_accuracy: options.MinGoldAccuracy = 0.5,
    gold_ties_wrong: options.GoldTiesWrong = False,
    max_instructed_failures: options.MaxInstructedFailures = 1,
    exclude_arm: options.ExcludeArm = None,
    exclude_annotator: options.ExcludeAnnotator = None,
    include_names_shown: options.IncludeNamesShown = False,
    exclude_doubtful: options.ExcludeDoubtful = False,
    include_repeats: options.IncludeRepeats = False,
    simulated: options.Simulated = None,
    model: options.ModelOption = options.Model.BRADLEY_TERRY,
    ties: options.TiesOption = options.Ties.HALF,
    position_effect: options.PositionEffect = False,
    penalty: options.Penalty = "none",
    baseline: options.Baseline = None,
    equivalence_margin: options.EquivalenceMargin = None,
    covariate: options.CovariateOption = None,
    intervals: options.IntervalsOption = options.Intervals.TWO_WAY,
    method: options.MethodOption = options.Method.BOOTSTRAP,
    shape: options.ShapeOption = options.Shape.T,
    sequential: options.Sequential = False,
    assist: options.Assist = None,
    confidence: options.Confidence = 0.95,
    resamples: options.Resamples = 1000,
    seed: options.Seed = 0,
) -> None:
    """Estimate win rates and strengths from pairwise votes, and write a report that claims no more than they allow.

    [bold]Examples[/]

      qsched winrates votes.parquet --out report/ --image-set runs/demo

      qsched winrates votes.csv --baseline fp32 --by category --equivalence-margin 0.03

      qsched winrates arena.jsonl --model davidson --position-effect --seed 7

      qsched winrates --from-counts counts/ --out report/

    Exit code 0: done. 3: the report is written but the votes give no estimate, and it says why. 2: bad input.
    """
    from analysis.report import ReportSettings, find, write_report
    from analysis.report.counted import find_counted, find_large
    from analysis.report.kit.command import shown_command
    from analysis.report.kit.escape import visible_text
    from analysis.report.subjects.certificate import read_certificate
    from analysis.report.subjects.looks import find_looks
    from analysis.report.wording import read_wording
    from analysis.stats import EstimateSettings, parse_penalty
    from analysis.votes import Asked, parse_map, parse_outcomes, read_votes

    if bool(votes) == (from_counts is not None):
        raise InputError("Give files of votes, or --from-counts FOLDER: one of the two.")
    votes = votes or []
    settings = ReportSettings(
        title=title,
        question=question,
        wording=read_wording(wording, question=question),
        study=study,
        baseline=baseline,
        by=None if by is None else by.value,
        equivalence_margin=equivalence_margin,
        covariates=tuple(covariate or ()),
        sequential=sequential,
        assist=assist,
        estimate=EstimateSettings(
            model=model.value,
            ties=ties.value,
            position_effect=position_effect,
            penalty=parse_penalty(penalty),
            intervals=intervals.value,
            method=method.value,
            shape=shape.value,
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        ),
        rules=options.exclusion_rules(
            min_response_ms=min_response_ms,
            min_votes=min_votes,
            min_gold_accuracy=min_gold_accuracy,
            gold_ties_wrong=gold_ties_wrong,
            max_instructed_failures=max_instructed_failures,
            exclude_arm=exclude_arm,
            exclude_annotator=exclude_annotator,
            include_names_shown=include_names_shown,
            exclude_doubtful=exclude_doubtful,
            include_repeats=include_repeats,
            simulated=simulated,
        ),
        image_set=None if image_set is None else read_location(image_set),
        simulation=read_simulation(simulation, votes),
        certificate=read_certificate(certificate),
        formats=read_formats(formats),
        command=shown_command(sys.argv, script="analysis/winrates.py"),
    )
    if from_counts is not None:
        if keep_votes or (weights, columns, outcome, looks) != (None, None, None, None):
            raise InputError(
                "--weights, --map, --outcome, --keep-votes and --looks are about files of votes, not about counts."
            )
        found = find_counted(from_counts, settings)
        report_done(found, write_report(found, out)[0])
        return
    notes: tuple[str, ...] = ()
    if looks is None and not (keep_votes or yes or weights or columns or outcome):
        large = find_large(votes, settings)
        if isinstance(large, str):
            typer.secho(f"  warning: {visible_text(large)}", fg=typer.colors.YELLOW, err=True)
            notes = (large,)
        elif large is not None:
            typer.echo(f"  {large.notes[0]}")
            report_done(large, write_report(large, out)[0])
            return
    table = read_votes(
        votes,
        allow_mixed=study is not None or settings.by == "study",
        covariates=settings.covariates,
        weights=weights,
        asked=Asked(parse_map(columns), parse_outcomes(outcome), accept=yes),
    )
    asked_looks, looks_found = find_looks(looks, votes)
    found = find(table, replace(settings, looks=asked_looks, looks_beside=looks_found))
    paths = write_report(replace(found, notes=(*notes, *found.notes)), out)
    report_done(found, paths[0])


def report_done(found: Findings, page: Path) -> None:
    """Print what was written; exit with 3 if there is no estimate."""
    from analysis.report.kit.escape import visible_text
    from analysis.report.prose.summary import summary_points

    # Names from a file may have terminal control sequences: they must not reach the terminal.
    for point in summary_points(found):
        typer.echo(f"  {visible_text(point)}")
    for warning in found.warnings:
        typer.secho(f"  warning: {visible_text(warning)}", fg=typer.colors.YELLOW, err=True)
    typer.echo(f"{found.n_votes:,} of {found.exclusions.n_read:,} votes analysed; the report is {page}")
    if found.estimate is None:
        problems = " ".join((*found.existence.problems, *found.existence.remedies)) if found.existence else ""
        typer.secho(f"no estimate: {visible_text(problems)}", fg=typer.colors.RED, err=True)
        raise typer.Exit(EXIT_NO_ESTIMATE)


def read_simulation(path: Path | None, votes: list[str]) -> dict[str, object] | None:
    """Parameters of the simulated annotators: from `path`, or from simulation.json next to the first votes file."""
    if path is None:
        beside = Path(votes[0]).parent / "simulation.json" if votes else None
        if beside is None or "://" in votes[0] or not beside.is_file():
            return None
        path = beside
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as JSON: {error}. It should have the parameters of a simulation."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{path} has a JSON {type(values).__name__}; the parameters of a simulation are an object.")
    return values


def read_formats(text: str) -> tuple[Any, ...]:
    """'svg,png' -> ('svg', 'png'); raises InputError for another format."""
    from analysis.report import FORMATS

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--formats {text!r}: {name!r} is not one of {', '.join(FORMATS)}.")
    return names


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    # The search for cycles of objects takes a tenth of a run that ends after a few seconds, and finds next to nothing.
    gc.set_threshold(200_000, 20, 20)
    run_app(app)


if __name__ == "__main__":
    main()
