"""Pictures on a JND scale from triplet votes: `python analysis/jnd.py btc.csv ptc.csv --out scores/`.

Reads our triplets table and published AIC-3 files. Runs as a plain script from any folder, as `qsched jnd`, and as
`analysis.jnd:main`. Exit code 2: bad input or option, nothing is written.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from qsched.command_line import CommandLine, run_app
from qsched.locations import read_location

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


class ScalePer(StrEnum):
    PROMPT = "prompt"
    NONE = "none"


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def jnd(
    votes: Annotated[
        list[str],
        typer.Argument(
            help="Triplet votes: our columns or the AIC-3 layout; .csv, .parquet, .jsonl.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for scores.csv, maps.csv and scores.json.")] = Path("scores"),
    by: Annotated[
        ScalePer | None,
        typer.Option(help="prompt: a scale for each prompt or source; none: one for all. Default: prompt for AIC-3."),
    ] = None,
    min_trap_share: Annotated[
        float, typer.Option(min=0, max=1, help="People with a smaller share of traps right are left out.")
    ] = 0.7,
    min_traps: Annotated[int, typer.Option(min=0, help="People with fewer traps are left out.")] = 1,
    people_sd: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Assumed spread of people's sensitivity (sd of the log). Default: 0 by prompt, else 0.3."
        ),
    ] = None,
    image_set: Annotated[
        Path | None,
        typer.Option(help="Scored image set of these votes: writes metrics-jnd.json, each metric's values in JND."),
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Coverage of the intervals.")] = 0.95,
) -> None:
    """Score every picture in JND, plain, boosted and through the map, with person-level intervals, gain and exponent.

    [bold]Examples[/]

      qsched jnd btc.csv ptc.csv --out scores/

      qsched jnd triplets.parquet --by none

      qsched jnd triplets.parquet --image-set runs/flux
    """
    from analysis.certificate.metric_maps import map_lines, map_metrics, read_set_metrics, write_maps
    from analysis.certificate.scores import score_table, write_scores
    from analysis.triplets import TrapRule, read_triplets, screen

    metrics = None if image_set is None else read_set_metrics(read_location(image_set))
    table = read_triplets(votes)
    screened = screen(table, TrapRule(share=min_trap_share, least=min_traps))
    by_prompt = table.layout == "aic-3" if by is None else by is ScalePer.PROMPT
    spread = (0.0 if by_prompt else 0.3) if people_sd is None else people_sd
    found = score_table(screened.table, by_prompt=by_prompt, people_sd=spread, confidence=confidence)
    paths = list(write_scores(found, screened, out))
    for reason, left_out, people in screened.excluded:
        if left_out:
            typer.echo(f"  left out: {reason}: {left_out:,} votes of {people:,} people")
    for row in found.maps:
        typer.echo(f"  {row.summary}")
    for note in found.notes:
        typer.secho(f"  note: {note}", fg=typer.colors.YELLOW, err=True)
    if metrics is not None:
        maps, missing = map_metrics(
            screened, metrics, people_sd=0.3 if people_sd is None else people_sd, confidence=confidence
        )
        for line in (*map_lines(maps), *missing):
            typer.echo(f"  {line}")
        paths.append(write_maps(maps, out))
    if simulated := int(screened.table.frame["simulated"].sum()):
        words = f"  {simulated:,} of {screened.table.n_votes:,} votes are simulated: the scores say nothing of people"
        typer.secho(words, fg=typer.colors.YELLOW, err=True)
    typer.echo(
        f"{len(found.scores):,} scores from {screened.table.n_votes:,} votes; wrote {', '.join(map(str, paths))}"
    )


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
