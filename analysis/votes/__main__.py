"""What a file of votes is understood to say, and counts of many files: `python analysis/votes check|count FILES`.

The folder is run as a plain script, as `python -m analysis.votes`, or as `qsched votes check` and `qsched votes count`.
Exit code 2: the file cannot be read as votes, and why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this folder first on the path; the packages are two levels up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parents[1]), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from analysis import options
from qsched.command_line import JSON_HELP, CommandLine, gave_json, run_app

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def votes() -> None:
    """Files of votes."""


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def check(
    votes: options.VotesArgument,
    weights: options.Weights = None,
    columns: options.Map = None,
    outcome: options.Outcome = None,
    yes: options.Yes = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help=JSON_HELP)] = None,
) -> None:
    """Say how files of votes are understood, and check every row; nothing is written.

    [bold]Examples[/]

      qsched votes check votes.parquet

      qsched votes check battles.csv --map left=sys1,right=sys2,winner=label --outcome 1=left,2=right,0=tie
    """
    from analysis.votes import Asked, parse_map, parse_outcomes, read_votes
    from analysis.votes.summary import summarize, summary_lines

    asked = Asked(parse_map(columns), parse_outcomes(outcome), accept=yes)
    table = read_votes(votes, allow_mixed=True, weights=weights, asked=asked)
    if not gave_json(summarize(table), json_file):
        for line in summary_lines(table):
            typer.echo(line)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def count(
    files: options.ManyFiles,
    out: options.CountsFolder,
    study: options.Study = None,
    question: options.Question = None,
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
) -> None:
    """Count votes of many parquet files in little memory, for `qsched winrates --from-counts`.

    The exclusions are those of the report; one vote that is in two files counts twice.

    [bold]Examples[/]

      qsched votes count votes/*.parquet --out counts/

      qsched winrates --from-counts counts/ --out report/
    """
    from analysis.votes.counting import count_files

    rules = options.exclusion_rules(
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
    )
    counted = count_files(files, rules, study=study, question=question)
    paths = counted.write(out)
    for row in counted.account.left_out:
        if row.n_votes:
            typer.echo(f"  {row.n_votes:,} left out: {row.rule}")
    for note in (*counted.account.warnings, *counted.account.notes):
        typer.echo(f"  {note}")
    typer.echo(f"{counted.account.n_kept:,} of {counted.account.n_read:,} votes counted")
    typer.echo(f"written: {', '.join(map(str, paths))}")


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
