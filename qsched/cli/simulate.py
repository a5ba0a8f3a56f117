"""`qsched simulate`: annotators that are not people vote in a running study, and are marked so."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("simulate")(simulate)


def simulate(
    url: str = typer.Argument(help="Address of the server, for example http://127.0.0.1:8000"),
    study: str = typer.Option(..., "--study", help="The study's slug: the part after /s/ in its address."),
    annotators: int = typer.Option(30, "--annotators", min=1, help="How many annotators to draw."),
    votes_each: int = typer.Option(36, "--votes-each", min=1, help="Votes per annotator; fewer if the study runs out."),
    sensitivity: float = typer.Option(8.0, "--sensitivity", help="Median log-odds per unit of ground-truth score."),
    one_jnd: float = typer.Option(
        0.05, "--one-jnd", help="Fidelity studies: this difference (RMS, share of the range) is one JND."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the annotators and of their choices."),
    parameters_out: Path | None = typer.Option(
        None, "--parameters-out", help="Write the simulation's parameters here, for the report's banner."
    ),
) -> None:
    """Let simulated annotators vote in a study of tiny-model pictures, through the real HTTP interface.

    They see what a browser sees and judge each picture by the procedural domain's ground-truth check,
    with noise, a side preference, ties and lapses drawn per annotator. In a fidelity study they judge how far
    each picture is from the reference, as shown; what is one JND for them is assumed. The server must have been
    started with --simulated-annotators; every vote is stored and exported with simulated = true.

    Example: qsched simulate http://127.0.0.1:8000 --study demo --annotators 30
    """
    import asyncio
    import json

    import numpy as np
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from qsched.cli.progress import progress_bar
    from qsched.files import write_atomic
    from qsched.simulation import (
        ObserverPopulation,
        Population,
        TripletPanel,
        draw_annotators,
        draw_observers,
        visit_study,
    )
    from qsched.tiny.check import check

    population = Population(sensitivity_median=sensitivity)
    people = draw_annotators(annotators, population=population, seed=seed)
    observers = ObserverPopulation(gain=1.0)
    drawn = draw_observers(annotators, population=observers, rng=np.random.default_rng([seed, 2]))
    panel = TripletPanel(drawn, observers, one_jnd=one_jnd)
    with progress_bar(
        TextColumn("simulated annotators vote"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        task = progress.add_task("votes", total=annotators * votes_each)
        summary = asyncio.run(
            visit_study(
                url,
                study=study,
                annotators=people,
                votes_each=votes_each,
                score=lambda image, prompt: check(image, prompt).score,
                seed=seed,
                panel=panel,
                on_vote=lambda: progress.advance(task),
            )
        )
        if summary.votes < annotators * votes_each:  # the study took no more
            progress.update(task, total=summary.votes, completed=summary.votes)
    if parameters_out is not None:
        if summary.design == "fidelity":
            score = f"RMS difference from the reference as shown, a share of the range; {one_jnd:g} taken as one JND"
            drawn_from: dict[str, float] = observers.as_dict()
        else:
            score = "ground-truth check of the tiny models' procedural domain, 0..1"
            drawn_from = population.as_dict()
        record = {
            "simulated": True,
            "annotators": annotators,
            "votes_each": votes_each,
            "seed": seed,
            "score": score,
            "population": drawn_from,
        }
        write_atomic(parameters_out, (json.dumps(record, indent=2) + "\n").encode())
    counts = ", ".join(f"{name} {count}" for name, count in summary.choices.items() if count)
    if summary.votes < annotators * votes_each:
        typer.echo(f"the study took no more than {summary.votes} of the {annotators * votes_each} votes")
    typer.echo(f"{summary.votes} simulated votes by {summary.annotators} annotators ({counts})")
