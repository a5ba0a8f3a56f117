"""What a file of votes is understood to say: `python analysis/votes check FILE`.

The folder is run as a plain script, as `python -m analysis.votes`, or as `qsched votes check`. Exit code 2: the file
cannot be read as votes, and why.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this folder first on the path; the packages are two levels up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parents[1]), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from analysis import options
from qsched.command_line import CommandLine, run_app

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
) -> None:
    """Say how files of votes are understood, and check every row; nothing is written.

    [bold]Examples[/]

      qsched votes check votes.parquet

      qsched votes check battles.csv --map left=sys1,right=sys2,winner=label --outcome 1=left,2=right,0=tie
    """
    from analysis.votes import Asked, parse_map, parse_outcomes, read_votes
    from analysis.votes.summary import summary_lines

    asked = Asked(parse_map(columns), parse_outcomes(outcome), accept=yes)
    for line in summary_lines(read_votes(votes, allow_mixed=True, weights=weights, asked=asked)):
        typer.echo(line)


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
