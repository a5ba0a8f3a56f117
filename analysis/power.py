"""What a planned study can detect: `python analysis/power.py --annotators 40 --prompts 100 --votes-per-pair 3`.

Runs as a plain script from any folder, as `python -m analysis.power`, and as `analysis.power:main`.
Exit code 2: numbers that make no study.
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
from qsched.command_line import JSON_HELP, CommandLine, counted, gave_json, run_app
from qsched.records import InputError

if TYPE_CHECKING:
    from analysis.planning import PlannedPower, SimulatedPower, StudyPlan

STUDY, TASTE, TEST, OUT = "The study", "What is assumed", "The test", "Output"

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


def _option(help_text: str, panel: str, **limits: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=panel, **limits)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def power(
    annotators: Annotated[int, _option("People, all with as many votes if --effective-annotators is left out.", STUDY)],
    prompts: Annotated[int, _option("Prompts; each has one pair for each comparison.", STUDY)],
    votes_per_pair: Annotated[int, _option("Votes of each pair, of different people.", STUDY)],
    arms: Annotated[int, _option("Arms (recipes) in the study.", STUDY)] = 2,
    comparisons: Annotated[
        Comparisons, _option("All pairs of arms, or every arm against a baseline.", STUDY)
    ] = Comparisons.ALL,
    win_rate: Annotated[
        float | None,
        _option("True win rate to find (ties half): of one arm against each of the others.", STUDY, min=0.5, max=1),
    ] = None,
    visible_loss: Annotated[
        float | None,
        _option("In place of --win-rate: JOD below 10 by `qsched score --metrics cvvdp`, a prediction.", STUDY, min=0),
    ] = None,
    effective_annotators: Annotated[
        float | None,
        _option(
            "Effective number of people if some give many more votes than others: (sum n)^2 / sum n^2; a report's "
            "annotators.csv has the n of an earlier study.",
            TASTE,
        ),
    ] = None,
    ties: Annotated[float, _option("Share of ties.", TASTE, min=0, max=0.99)] = 0.2,
    annotator_sd: Annotated[
        float, _option("How much annotators' tastes differ: log-odds, for each arm. 0: not at all.", TASTE, min=0)
    ] = 0.5,
    prompt_sd: Annotated[
        float, _option("How much prompts differ, likewise. docs/coverage.md tries 0 to 0.8 for both.", TASTE, min=0)
    ] = 0.5,
    confidence: Annotated[float, _option("Two-sided confidence.", TEST, min=0.5, max=0.9999)] = 0.95,
    adjust: Annotated[Adjust, _option("Adjustment for the number of comparisons.", TEST)] = Adjust.HOLM,
    target: Annotated[float, _option("Power that makes a win rate detectable.", TEST, min=0.01, max=0.99)] = 0.8,
    simulate: Annotated[
        int, _option("Also simulate so many studies with the report's own estimator; 0: formula only.", TEST, min=0)
    ] = 0,
    resamples: Annotated[int, _option("Bootstrap resamples in each simulated study.", TEST, min=100)] = 1000,
    seed: Annotated[int, _option("Seed of the simulation.", TEST, min=0)] = 0,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help=JSON_HELP, rich_help_panel=OUT)
    ] = None,
    curve: Annotated[
        Path | None, typer.Option(help="Draw power against win rate: .svg, .png or .pdf.", rich_help_panel=OUT)
    ] = None,
) -> None:
    """Power of a planned study, and the smallest win rate that it can detect.

    Votes of one person resemble each other, and so do votes on one prompt: 300 votes are worth fewer than 300
    independent ones. The formula accounts for that (docs/study-design.md), the simulation checks the formula.

    [bold]Examples[/]

      qsched power --annotators 40 --prompts 100 --votes-per-pair 3

      qsched power --annotators 40 --prompts 100 --votes-per-pair 3 --win-rate 0.58 --simulate 400

      qsched power --annotators 60 --prompts 200 --votes-per-pair 5 --arms 4 --curve power.svg
    """
    from analysis.planning import StudyPlan, detectable_win_rate, planned_power, simulate_power
    from qsched.planning.visibility import PERFECT, preferred_share

    plan = StudyPlan(
        annotators=annotators,
        prompts=prompts,
        votes_per_pair=votes_per_pair,
        arms=arms,
        comparisons=comparisons.value,
        tie_rate=ties,
        annotator_sd=annotator_sd,
        prompt_sd=prompt_sd,
        confidence=confidence,
        adjust=adjust.value,
        effective_annotators=effective_annotators,
    )
    if visible_loss is not None:
        if win_rate is not None:
            raise InputError("--win-rate and --visible-loss say the same thing twice; give one of them.")
        win_rate = preferred_share([PERFECT - visible_loss])
    detectable = detectable_win_rate(plan, power=target)
    planned = None if win_rate is None else planned_power(plan, win_rate)
    at = win_rate if win_rate is not None else detectable
    simulated = None
    if simulate and at is not None:
        simulated = simulate_power(plan, at, studies=simulate, seed=seed, resamples=resamples)
    if curve is not None:
        from analysis.planning.figure import write_curve

        write_curve(plan, curve, power=target, detectable=detectable, simulated=simulated)
    result = record(plan, target, detectable, planned, simulated, seed=seed, resamples=resamples)
    if gave_json(result, json_out):
        return
    for line in table(plan, target, detectable, planned, simulated):
        typer.echo(line)
    for written in (json_out, curve):
        if written is not None:
            typer.echo(f"wrote {written}")


def table(
    plan: StudyPlan,
    target: float,
    detectable: float | None,
    planned: PlannedPower | None,
    simulated: SimulatedPower | None,
) -> list[str]:
    """The printed lines: the study, its assumptions, and what it can detect."""
    from analysis.planning import planned_power

    shown = planned or planned_power(plan, detectable if detectable is not None else 0.6)
    several = len(plan.pairs_of_arms) > 1
    rows = [
        (
            "study",
            f"{counted(plan.votes, 'vote')}: {counted(plan.annotators, 'annotator')} x "
            f"{plan.votes / plan.annotators:.0f}, {counted(plan.prompts, 'prompt')}, "
            f"{counted(plan.votes_per_pair, 'vote')} per pair"
            + (f", {counted(plan.arms, 'arm')}" if several else "")
            + (f"; worth {plan.people:g} people with equal numbers of votes" if plan.effective_annotators else ""),
        ),
        (
            "assumed",
            f"tastes differ by sd {plan.annotator_sd:g} between annotators and {plan.prompt_sd:g} between prompts "
            f"(log-odds, each arm); {100 * plan.tie_rate:.0f} % ties",
        ),
        (
            "test",
            f"two-sided, level {shown.level:.3g}"
            + (f" ({plan.adjust}, {counted(plan.tests, 'comparison')})" if plan.tests > 1 else "")
            + f", t with {shown.df:.0f} degrees of freedom, two-way standard errors",
        ),
        ("design effect", f"{shown.design_effect:.2f}: the variance over that of as many independent votes"),
        (
            "detectable",
            f"a win rate of {100 * detectable:.1f} % or more, with {100 * target:.0f} % power"
            if detectable is not None
            else f"nothing: no win rate that {100 * plan.tie_rate:.0f} % ties allow is found with "
            f"{100 * target:.0f} % power",
        ),
    ]
    if planned is not None:
        rows.append(
            (
                f"power at {100 * planned.win_rate:.1f} %",
                f"{100 * planned.power:.1f} % (it would be {100 * planned.power_if_independent:.1f} % if votes were "
                "independent)",
            )
        )
    if simulated is not None:
        rows.append(
            (
                "simulated",
                f"{100 * simulated.power:.1f} % ± {100 * simulated.error:.1f} % (Monte Carlo s.e.) at "
                f"{100 * simulated.win_rate:.1f} %, "
                f"{counted(simulated.studies, 'study', 'studies')}; intervals held the truth in "
                f"{100 * simulated.coverage:.1f} %",
            )
        )
        if simulated.no_estimate:
            rows.append(("no estimate", f"{simulated.no_estimate} of the simulated studies (counted as not found)"))
    return [f"  {name:<16} {text}" for name, text in rows]


def record(
    plan: StudyPlan,
    target: float,
    detectable: float | None,
    planned: PlannedPower | None,
    simulated: SimulatedPower | None,
    *,
    seed: int,
    resamples: int,
) -> dict[str, object]:
    """The JSON file: plan, detectable win rate, formula and simulation; what was not asked for is null."""
    return {
        "schema_version": 1,
        "plan": asdict(plan) | {"votes": plan.votes, "tests": plan.tests},
        "target_power": target,
        "detectable_win_rate": detectable,
        "formula": None if planned is None else asdict(planned),
        "simulation": None if simulated is None else asdict(simulated) | {"seed": seed, "resamples": resamples},
    }


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
