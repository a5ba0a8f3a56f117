"""The least human time for a wanted precision: `python analysis/plan.py --half-width 0.03 --arms 8`.

Runs as a plain script from any folder, as `python -m analysis.plan`, and as `qsched plan`. The inverse of power.py:
what is wanted goes in, people and votes come out. Exit code 2: numbers that make no study.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if __name__ == "__main__" and not __package__:
    # As a plain script Python puts this file's own folder first on the path; the packages are one level up.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry and Path(entry).resolve() != here)]

import typer

from analysis.options import Adjust, Comparisons
from qsched.command_line import JSON_OPTION, CommandLine, counted, gave_json, run_app

if TYPE_CHECKING:
    from qsched.planning import Effort, LeastTime, StudyPlan, Target

WANTED, STUDY, TASTE, COST = "What is wanted", "The study", "What is assumed", "What it costs"
#: Prompts that are tried if none are named.
PROMPTS = (50, 100, 300, 1000, 3000)
#: What a study has and a plan finds.
SIZES = ("annotators", "prompts", "votes_per_pair", "effective_annotators")

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


def _option(help_text: str, panel: str, **limits: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=panel, **limits)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def plan(
    half_width: Annotated[
        float | None, _option("Half of each contrast's interval, in win rate: 0.03 is +-3 points.", WANTED)
    ] = None,
    win_rate: Annotated[float | None, _option("Or a true win rate that is to be found.", WANTED)] = None,
    power: Annotated[float, _option("With --win-rate: how surely.", WANTED, min=0.01, max=0.99)] = 0.8,
    arms: Annotated[int, _option("Arms in the study.", STUDY)] = 2,
    comparisons: Annotated[
        Comparisons, _option("All pairs of arms, or every arm against a baseline.", STUDY)
    ] = Comparisons.ALL,
    prompts: Annotated[
        list[int] | None, _option("Prompts; repeat for more. Default: 50 to 3000.", STUDY, min=2)
    ] = None,
    ties: Annotated[float, _option("Share of ties.", TASTE, min=0, max=0.99)] = 0.2,
    annotator_sd: Annotated[float, _option("How much annotators' tastes differ (log-odds, each arm).", TASTE)] = 0.5,
    prompt_sd: Annotated[float, _option("How much prompts differ, likewise.", TASTE)] = 0.5,
    confidence: Annotated[float, _option("Two-sided confidence.", TASTE, min=0.5, max=0.9999)] = 0.95,
    adjust: Annotated[
        Adjust, _option("none: each contrast by itself; holm: for the number of comparisons.", TASTE)
    ] = Adjust.NONE,
    seconds: Annotated[float, _option("Seconds of one vote.", COST)] = 8.0,
    arrival: Annotated[
        float, _option("Seconds to bring one person in: consent, instructions, practice.", COST)
    ] = 180.0,
    most_votes: Annotated[int | None, _option("Most votes of one person.", COST)] = None,
    pay: Annotated[float, _option("Pay per hour, any currency; fees of a platform included.", COST, min=0)] = 0.0,
    json_file: Path | None = JSON_OPTION,
) -> None:
    """People, votes and hours of the cheapest study that is precise enough, and what no study of that size can reach.

    [bold]Examples[/]

      qsched plan --half-width 0.03 --arms 8 --comparisons baseline

      qsched plan --win-rate 0.55 --arms 4 --adjust holm --pay 12 --prompts 200
    """
    from qsched.planning import Effort, StudyPlan, Target, least_time

    study = StudyPlan(
        annotators=2,
        prompts=2,
        votes_per_pair=1,
        arms=arms,
        comparisons=comparisons.value,
        tie_rate=ties,
        annotator_sd=annotator_sd,
        prompt_sd=prompt_sd,
        confidence=confidence,
        adjust=adjust.value,
    )
    target = Target(rate=win_rate or 0.5, half_width=half_width, power=None if win_rate is None else power)
    effort = Effort(vote=seconds, arrival=arrival, most_votes=most_votes)
    found = [least_time(study, target, effort, prompts=number) for number in prompts or PROMPTS]
    # Numbers of people, prompts and votes are what is looked for, so the study has none yet.
    assumed = {name: value for name, value in asdict(study).items() if name not in SIZES}
    asked = {"study": assumed, "target": target, "effort": effort, "pay_per_hour": pay, "plans": found}
    if not gave_json(asked, json_file):
        for line in table(study, target, effort, found, pay=pay):
            typer.echo(line)


def table(study: StudyPlan, target: Target, effort: Effort, found: list[LeastTime], *, pay: float) -> list[str]:
    """What is printed: what is wanted and assumed, a line for each number of prompts, and the floors."""
    from qsched.planning import people_floor

    power = "" if target.power is None else f"{100 * target.power:.0f} % power"
    wanted = (
        f"each contrast to ±{100 * target.half_width:.3g} points of win rate"
        if target.half_width is not None
        else f"a win rate of {100 * target.rate:.1f} % found with {power}"
    )
    lines = [
        f"  wanted           {wanted}, {100 * study.confidence:.0f} %"
        + (f", adjusted for {counted(study.tests, 'comparison')}" if study.tests > 1 else ""),
        f"  assumed          {counted(study.arms, 'arm')}, {counted(len(study.pairs_of_arms), 'comparison')}; "
        f"tastes differ by sd {study.annotator_sd:g} between annotators and {study.prompt_sd:g} between prompts; "
        f"{100 * study.tie_rate:.0f} % ties",
        f"  time             {effort.vote:g} s per vote, {effort.arrival:g} s to bring one person in",
        "  prompts   people    votes  votes each   hours" + ("      pay" if pay else "") + "   never below",
    ]
    for row in found:
        floor = f"±{100 * row.floor:.1f} points"
        if row.people is None or row.votes is None or row.hours is None or row.votes_each is None:
            lines.append(f"  {row.prompts:>7,}   no number of people and votes is enough                     {floor}")
            continue
        money = f" {pay * row.hours:>8,.0f}" if pay else ""
        lines.append(
            f"  {row.prompts:>7,}  {row.people:>7,}  {row.votes:>7,}  {row.votes_each:>10.0f}  {row.hours:>6,.0f}"
            f"{money}   {floor}"
        )
    people = [row.people for row in found if row.people is not None]
    if people:
        least = min(people)
        lines.append(
            f"  {counted(least, 'person', 'people')} can never get below "
            f"±{100 * people_floor(study, target, people=least):.1f} points, whatever they vote; "
            "the last column says the same of the prompts."
        )
    return lines


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
