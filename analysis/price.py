"""What a fidelity certificate costs: `python analysis/price.py --damage 0.25 --prompts 200`.

Runs as a plain script from any folder, as `qsched price`, and as `analysis.price:main`.
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

from qsched.command_line import JSON_HELP, CommandLine, gave_json, run_app

if TYPE_CHECKING:
    from analysis.planning.fidelity_price import Price, PriceAssumptions
    from analysis.planning.fidelity_share import SharePrice

STUDY, ASSUMED, OUT = "The study", "What is assumed", "Output"

app = CommandLine(add_completion=False, pretty_exceptions_enable=False)


def _option(help_text: str, panel: str, **limits: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=panel, **limits)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def price(
    damage: Annotated[float, _option("Guessed mean damage of the arm, in JND.", ASSUMED, min=0.01, max=3)] = 0.25,
    limit: Annotated[float, _option("The mean clause: under so many JND.", STUDY, min=0.05, max=3)] = 0.5,
    share: Annotated[
        float, _option("The share clause: so many prompts under 1 JND.", STUDY, min=0.5, max=0.999)
    ] = 0.95,
    people: Annotated[int, _option("People.", STUDY, min=2)] = 40,
    prompts: Annotated[int, _option("Prompts.", STUDY, min=2)] = 200,
    arms: Annotated[int, _option("Arms that share the map of the mixed design.", STUDY, min=1, max=20)] = 1,
    gain: Annotated[
        float, _option("What boosting multiplies a difference by, as people see it.", ASSUMED, min=1)
    ] = 2.2,
    people_sd: Annotated[
        float, _option("Spread of people's sensitivity (sd of the log).", ASSUMED, min=0, max=1)
    ] = 0.3,
    prompt_sd: Annotated[float, _option("Spread of damage over prompts (sd of the log).", ASSUMED, min=0, max=2)] = 0.5,
    registered_prompt_sd: Annotated[
        float,
        _option(
            "What the mean clause assumes of it in plain votes: prompt_sd of the registration.", ASSUMED, min=0, max=2
        ),
    ] = 0.5,
    lapse: Annotated[float, _option("Lapse rate.", ASSUMED, min=0, max=0.5)] = 0.05,
    power: Annotated[float, _option("Probability with which a clause is to be shown.", STUDY, min=0.5, max=0.99)] = 0.8,
    plain_seconds: Annotated[float, _option("Seconds a plain vote takes.", ASSUMED, min=0.1)] = 12.0,
    boosted_seconds: Annotated[float, _option("Seconds a boosted vote takes.", ASSUMED, min=0.1)] = 6.0,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help=JSON_HELP, rich_help_panel=OUT)
    ] = None,
) -> None:
    """Votes and hours of each clause for plain, boosted and mixed designs, and which clause these prompts cannot show.

    [bold]Examples[/]

      qsched price --damage 0.25 --prompts 200

      qsched price --damage 0.25 --gain 4 --arms 8
    """
    from analysis.planning.fidelity_mean import known_map_price, plain_price, preference_votes
    from analysis.planning.fidelity_mixed import map_check_price, mixed_price
    from analysis.planning.fidelity_price import PriceAssumptions
    from analysis.planning.fidelity_share import share_price
    from analysis.triplets import BOOSTED, PLAIN

    a = PriceAssumptions(
        damage=damage,
        gain=gain,
        people=people,
        prompts=prompts,
        people_sd=people_sd,
        prompt_sd=prompt_sd,
        registered_prompt_sd=registered_prompt_sd,
        lapse=lapse,
        power=power,
        plain_seconds=plain_seconds,
        boosted_seconds=boosted_seconds,
    )
    means = [plain_price(limit, a), mixed_price(limit, a, arms=arms), map_check_price(a), known_map_price(limit, a)]
    shares = {
        "plain": share_price(share, a, presentation=PLAIN),
        "boosted": share_price(share, a, presentation=BOOSTED),
    }
    preferred = {f"{sd:g}": preference_votes(limit, a, taste_sd=sd) for sd in (0.0, 0.5, 1.0)}
    document = {
        "schema_version": 1,
        "assumptions": asdict(a),
        "limit": limit,
        "share": share,
        "mean": [asdict(p) | {"votes": p.votes} for p in means],
        "preference_votes_by_taste_sd": preferred,
        "share_plans": {name: asdict(found) for name, found in shares.items()},
    }
    if gave_json(document, json_out):
        return
    for line in table(a, limit, share, means, shares, preferred):
        typer.echo(line)
    if json_out is not None:
        typer.echo(f"wrote {json_out}")


def table(
    a: PriceAssumptions,
    limit: float,
    share: float,
    means: list[Price],
    shares: dict[str, SharePrice],
    preferred: dict[str, int | None],
) -> list[str]:
    """What is printed."""
    lines = [
        f"  assumed: damage {a.damage:g} JND, gain {a.gain:g}, {a.people} people, {a.prompts} prompts, "
        f"{100 * a.lapse:.0f} % lapses, {100 * a.power:.0f} % power",
        f"  mean under {limit:g} JND",
    ]
    for p in means:
        if p.votes is None or p.plain is None or p.boosted is None:
            lines.append(f"    {p.design:<32} cannot be shown: {p.reason}")
        else:
            hours = a.hours(plain=p.plain, boosted=p.boosted)
            lines.append(
                f"    {p.design:<32} {p.votes:>6,} votes ({p.plain:,.0f} plain, {p.boosted:,.0f} boosted), "
                f"{hours:.1f} h"
            )
            lines += [
                f"      {one.votes:>6,.0f} {one.presentation:<8} {one.first} with {one.second}" for one in p.where
            ]
    lines.append(
        "    The mixed design is used only where the map has been checked to be straight: add that line's votes."
    )
    shown = ", ".join(f"{votes:,} (taste sd {sd})" for sd, votes in preferred.items() if votes is not None)
    if shown:
        lines.append(f"    For comparison, preference votes if preference follows the difference: {shown}")
    lines.append(f"  at least {100 * share:.0f} % of prompts under 1 JND")
    for name, plan in shares.items():
        if plan.reason:
            lines.append(f"    {name:<32} cannot be shown: {plan.reason} (at best {100 * plan.probability:.0f} %)")
            continue
        stages = ", then ".join(f"{stage.votes} votes, flagged from {stage.cut:g}" for stage in plan.stages)
        boosted = plan.votes if name == "boosted" else 0.0
        hours = a.hours(plain=plan.votes - boosted, boosted=boosted)
        lines.append(
            f"    {name:<32} {plan.votes:>6,.0f} votes, {hours:.1f} h, shown in {100 * plan.probability:.0f} %: "
            f"{stages}; pi {plan.pi:.3f}"
        )
    return lines


def main() -> None:
    """Run the command; an error of ours is one message on stderr and exit code 2."""
    run_app(app)


if __name__ == "__main__":
    main()
