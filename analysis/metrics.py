"""Automatic metrics judged by people's votes: `python analysis/metrics.py SET votes.parquet --out metrics/`.

SET is an image set scored by `qsched score`. Runs as a plain script from any folder, as `python -m analysis.metrics`,
and as `qsched metrics`. Exit code 2: bad input or option, or votes without an estimate; nothing is written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from analysis import options
from qsched.command_line import CommandLine, run_app
from qsched.locations import read_location

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def metrics(
    image_set: Annotated[Path, typer.Argument(help="Image set that `qsched score` has scored.", show_default=False)],
    votes: options.VotesArgument,
    out: Annotated[Path, typer.Option(help="Folder for the page and the tables; created if it does not exist.")] = Path(
        "metrics"
    ),
    title: options.Title = "Metrics against people",
    study: options.Study = None,
    question: options.Question = None,
    simulated: options.Simulated = None,
    confidence: options.Confidence = 0.95,
    seed: options.Seed = 0,
) -> None:
    """Which metrics name the picture that people prefer, and which would have ranked the arms as people did.

    [bold]Examples[/]

      qsched metrics runs/demo votes.parquet --out metrics/
    """
    from analysis.report import ReportSettings
    from analysis.report.findings import choose
    from analysis.report.kit.command import shown_command
    from analysis.report.metrics import compare_metrics, read_scores
    from analysis.report.metrics_page import metrics_files
    from analysis.report.subjects.caveats import refuse_mixture, refuse_nothing
    from analysis.report.subjects.pictures import load_image_set
    from analysis.stats import EstimateSettings, count_votes, estimate
    from analysis.votes import ExclusionRules, exclude, read_votes
    from qsched.files import write_atomic

    location = read_location(image_set)
    scores, pictures = read_scores(location), load_image_set(location)
    settings = ReportSettings(
        title=title,
        study=study,
        question=question,
        by="none",
        estimate=EstimateSettings(method="sandwich", confidence=confidence, seed=seed),
        rules=ExclusionRules(simulated="auto" if simulated is None else "keep" if simulated else "drop"),
        image_set=location,
        command=shown_command(sys.argv, script="analysis/metrics.py"),
    )
    chosen = choose(read_votes(votes, allow_mixed=study is not None), settings)
    kept, excluded = exclude(chosen, settings.rules)
    refuse_mixture(excluded, settings)
    refuse_nothing(excluded)
    found = estimate(count_votes(kept), settings.estimate)
    results = compare_metrics(kept, found, scores, pictures, confidence=confidence, seed=seed)
    by_software = int(kept.frame["simulated"].sum())
    files = metrics_files(results, title=title, simulated=by_software, command=settings.command, confidence=confidence)
    for name, text in files.items():
        write_atomic(out / name, text.encode(), parents=True)
    if by_software:
        typer.echo("The votes are by simulated annotators: nothing about people follows from them.")
    for row in results.rows:
        agreed = row.found.agreement
        bounds = (
            ""
            if agreed.low is None or agreed.high is None
            else f" ({100 * agreed.low:.1f} % to {100 * agreed.high:.1f} %)"
        )
        typer.echo(
            f"  {row.metric:<16} {100 * agreed.value:.1f} %{bounds} of {row.found.n_votes:,} votes, "
            f"AUC {row.found.auc.value:.3f}"
        )
    if results.ceiling is not None:
        typer.echo(f"  {'ceiling':<16} {100 * results.ceiling:.1f} %, by how often two people agree")
    typer.echo(f"the page is {out / 'metrics-people.html'}")


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
