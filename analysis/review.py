"""A second look at anybody's leaderboard: `python analysis/review.py battles.parquet --out review/`.

Runs as a plain script from any folder, as `python -m analysis.review`, and as `qsched review`. Exit codes: 0 a page
with an estimate; 3 a page, but the votes give no estimate; 2 bad input or option, no page.
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

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)
EXIT_NO_ESTIMATE = 3


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def review(
    votes: options.VotesArgument,
    out: Annotated[Path, typer.Option(help="Folder for review.html; created if it does not exist.")] = Path("review"),
    title: options.Title = "A second look at a leaderboard",
    study: options.Study = None,
    question: options.Question = None,
    weights: options.Weights = None,
    columns: options.Map = None,
    outcome: options.Outcome = None,
    yes: options.Yes = False,
    include_names_shown: options.IncludeNamesShown = False,
    confidence: options.Confidence = 0.95,
    method: options.MethodOption = options.Method.SANDWICH,
    seed: options.Seed = 0,
) -> None:
    """Say which ranks of a leaderboard its votes support: existence, fit, intervals, neighbours, votes still needed.

    [bold]Examples[/]

      qsched review battles.parquet --out review/

      qsched review votes.csv --map left=sys1,right=sys2,winner=label --outcome 1=left,2=right,0=tie
    """
    from analysis.report import ReportSettings, find
    from analysis.report.kit.command import shown_command
    from analysis.report.kit.escape import visible_text
    from analysis.report.review import find_neighbours, review_page, separated_pairs, time_test
    from analysis.stats import EstimateSettings
    from analysis.votes import Asked, ExclusionRules, exclude, parse_map, parse_outcomes, read_votes
    from qsched.files import write_atomic

    asked = Asked(parse_map(columns), parse_outcomes(outcome), accept=yes)
    table = read_votes(votes, allow_mixed=study is not None, weights=weights, asked=asked)
    settings = ReportSettings(
        title=title,
        study=study,
        question=question,
        by="none",
        estimate=EstimateSettings(method=method.value, confidence=confidence, seed=seed),
        rules=ExclusionRules(names_shown=not include_names_shown),
        command=shown_command(sys.argv, script="analysis/review.py"),
    )
    found = find(table, settings)
    kept, _ = exclude(table.select(study=study, question=question), settings.rules)
    page = out / "review.html"
    write_atomic(page, review_page(found, time_test(kept, settings.estimate)).encode(), parents=True)
    if found.estimate is None:
        typer.echo(f"no estimate exists; {page} says why")
        raise typer.Exit(EXIT_NO_ESTIMATE)
    ours, theirs = separated_pairs(found.estimate)
    apart = sum(row.separated for row in find_neighbours(found.estimate))
    for warning in found.warnings:
        typer.secho(f"  warning: {visible_text(warning)}", fg=typer.colors.YELLOW, err=True)
    typer.echo(
        f"{ours} of {len(found.estimate.pairwise)} pairs are separated ({theirs} if votes were independent), "
        f"{apart} of {len(found.estimate.strengths) - 1} neighbours; the page is {page}"
    )


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
