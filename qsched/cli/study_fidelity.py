"""What `qsched study` says of a fidelity study: its registration, and before it starts, what each clause will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.errors import InputError

if TYPE_CHECKING:
    from analysis.planning.fidelity_price import PriceAssumptions
    from qsched.records.registration import Clauses
    from study_server.studies.comparisons import PlannedPair
    from study_server.studies.design import StudyDesign
    from study_server.studies.estimate import StudyEstimate
    from study_server.studies.fidelity import Fidelity

GUESSED_DAMAGE = 0.25
LEAST_DAMAGE = 0.01
#: Plain votes of each person on arms of so much damage show who looks only where the difference is obvious.
STRONG_DAMAGE, STRONG_VOTES = 2.0, 5
Line = tuple[str, str]


def register(
    slug: str = typer.Argument(help=SLUG_HELP),
    arm: str | None = typer.Option(None, "--arm", help="Arm whose clauses to write; not needed if there is only one."),
    out: Path = typer.Option(Path("registration.yaml"), "--out", help="File to write."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Write the registration of a fidelity study for `qsched certify`: its clauses and the time they were stored.

    Example: qsched study register faces --arm w8a8 --out plan.yaml
    """
    import yaml

    from qsched.files import write_atomic
    from study_server.owner import existing_database
    from study_server.studies.registering import registration_of

    if out.exists():
        raise InputError(f"{out} exists; name another file with --out")
    database = existing_database(db)
    try:
        registration = registration_of(database, slug, arm=arm)
    finally:
        database.close()
    values = registration.model_dump(mode="json", exclude_none=True)
    write_atomic(out, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode(), parents=True)
    typer.echo(f"wrote {out}: the clauses of {registration.arm}, registered at {registration.registered_at}")


def check_lines(
    design: StudyDesign,
    fidelity: Fidelity,
    pairs: Sequence[PlannedPair],
    found: StudyEstimate,
    *,
    gain: float,
    predicted: Mapping[str, float],
) -> list[Line]:
    """The study in numbers, and for each clause the votes it takes beside the votes it gets.

    `predicted` are cvvdp's losses in JOD by arm, taken for arms whose damage study.yaml does not guess.
    """
    from analysis.planning.fidelity_price import PriceAssumptions

    task = [pair for pair in pairs if pair.pool == "task"]
    boost, traps = fidelity.boost, fidelity.traps
    limit = "WCAG 2.3.1: 3"
    if boost.faster_flicker:
        limit = "above the 3 that WCAG 2.3.1 allows: each person must agree"
    elif boost.small_only:
        limit = "above 3, so that WCAG 2.3.1 asks for small or faint flashes: measured when the study is made"
    flicker = f"{boost.rate_hz:g} flashes per second ({limit}), difference x {boost.factor:g}"
    cost = "unknown; add pay: {per_hour: ...}"
    if found.cost is not None:
        cost = f"{found.cost:.2f} {found.currency} with the platform's fee"
    lines = [
        (
            "triplets",
            f"{len(task)} ({_asked_votes(design, task)}) = {found.valid_votes} valid votes on {found.prompts} prompts",
        ),
        (
            "checks",
            f"{traps.each} traps and {fidelity.bias_each} bias items each; who has {100 * traps.share:.0f} % of at "
            f"least {traps.least} traps right counts",
        ),
        ("boosting", flicker if fidelity.boosted else "none"),
        ("changed content", "measured when the study is made; such pictures are not boosted, and counted"),
        ("annotators", f"{found.annotators} with {found.trials_per_annotator} trials each"),
        ("time", f"about {found.minutes_per_annotator:.0f} min each, {found.hours:.1f} h together"),
        ("cost", cost),
    ]
    mixed = [one.arm for one in fidelity.clauses if one.mean is not None and one.mean.evidence == "mixed"]
    for clauses in fidelity.clauses:
        damage, source = GUESSED_DAMAGE, "assumed; add fidelity: {guess: ...}"
        if clauses.arm in fidelity.guess:
            damage, source = fidelity.guess[clauses.arm], "guessed in study.yaml"
        elif clauses.arm in predicted:
            damage, source = max(predicted[clauses.arm], LEAST_DAMAGE), "predicted by cvvdp, 1 JOD taken as 1 JND"
        people, prompts = max(2, found.annotators), max(2, found.prompts)
        assumed = PriceAssumptions(damage=damage, gain=gain, people=people, prompts=prompts)
        lines += _clause_lines(design, clauses, task, assumed, source=source, mixed=mixed)
    if fidelity.clauses:
        lines.append(("attention", _attention_text(design, fidelity, task, found)))
    else:
        lines.append(("clauses", "none: without them a certificate is exploratory (fidelity: {clauses: ...})"))
    return lines


def _attention_text(design: StudyDesign, fidelity: Fidelity, task: Sequence[PlannedPair], found: StudyEstimate) -> str:
    from study_server.studies.comparisons import votes_of_pair

    strong = {arm for arm, damage in fidelity.guess.items() if damage >= STRONG_DAMAGE}
    votes = sum(
        votes_of_pair(design, pair)
        for pair in task
        if pair.triplet is not None
        and pair.triplet.presentation.value == "plain"
        and {pair.first_arm, pair.second_arm} - {pair.triplet.reference_arm} <= strong
    )
    each = votes / max(found.annotators, 1)
    text = f"{each:.1f} plain votes of each person on arms guessed at {STRONG_DAMAGE:g} JND or more"
    if each < STRONG_VOTES:
        text += (
            f"; with fewer than {STRONG_VOTES}, people who look only where a difference is obvious may not be noticed"
        )
    return text


def _asked_votes(design: StudyDesign, task: Sequence[PlannedPair]) -> str:
    """ "20 boosted x 5, 10 plain x 5 or 8 votes"."""
    from study_server.studies.comparisons import votes_of_pair

    asked: dict[str, Counter[int]] = {}
    for pair in task:
        if pair.triplet is not None:
            asked.setdefault(pair.triplet.presentation.value, Counter())[votes_of_pair(design, pair)] += 1
    parts = [f"{pairs} {name} x {votes}" for name in sorted(asked) for votes, pairs in sorted(asked[name].items())]
    return f"{', '.join(parts)} votes"


def _clause_lines(
    design: StudyDesign,
    clauses: Clauses,
    task: Sequence[PlannedPair],
    assumed: PriceAssumptions,
    *,
    source: str,
    mixed: Sequence[str],
) -> list[Line]:
    from analysis.stats.jnd.share import upper_share
    from study_server.studies.comparisons import votes_of_pair

    votes: Counter[str] = Counter()
    each: dict[str, int] = {}
    for pair in task:
        if pair.triplet is not None and {pair.first_arm, pair.second_arm} == {pair.triplet.reference_arm, clauses.arm}:
            shown = pair.triplet.presentation.value
            each[shown] = votes_of_pair(design, pair)
            votes[shown] += each[shown]
    given = f"{votes['plain']} plain and {votes['boosted']} boosted votes"
    text = f"damage {assumed.damage:.3g} JND ({source}), gain {assumed.gain:g}; against the reference {given}"
    lines = [(clauses.arm, text)]
    if clauses.mean is not None:
        through = sum(votes_of_pair(design, pair) for pair in task if _counts_through_map(pair, mixed))
        lines.append(("  mean", _mean_text(clauses, assumed, votes["plain"], through_map=through, arms=len(mixed))))
    if clauses.share is not None:
        lines.append(("  share", _share_text(clauses, assumed, each)))
    if clauses.content is not None:
        best = upper_share(0, assumed.prompts)
        word = "can be shown" if best <= clauses.content.share else "cannot be shown with so few prompts"
        lines.append(
            (
                "  content",
                f"changed on at most {100 * clauses.content.share:.1f} %: {word}; none of {assumed.prompts} changed "
                f"bounds it by {100 * best:.1f} %",
            )
        )
    if clauses.preference is not None:
        lines.append(("  preference", "needs votes of a preference study of the same arms (certify --preference)"))
    return lines


def _counts_through_map(pair: PlannedPair, mixed: Sequence[str]) -> bool:
    """Boosted triplets, and plain ones that show no arm whose clause goes through the map."""
    if pair.triplet is None:
        return False
    return pair.triplet.presentation.value == "boosted" or not {pair.first_arm, pair.second_arm} & set(mixed)


def _mean_text(clauses: Clauses, assumed: PriceAssumptions, plain: int, *, through_map: int, arms: int) -> str:
    """`through_map`: votes of the whole study that count for `arms` arms whose clauses go through the map."""
    from analysis.planning.fidelity_mean import plain_price
    from analysis.planning.fidelity_mixed import map_check_price, mixed_price

    if clauses.mean is None:
        return ""
    limit = clauses.mean.limit
    text = f"under {limit:g} JND with {100 * assumed.power:.0f} % power"
    if clauses.mean.evidence == "plain":
        price = plain_price(limit, assumed)
        if price.votes is None:
            return f"{text}: cannot be shown, {price.reason}"
        return f"{text}: about {price.votes:,} plain votes; {_enough(plain, price.votes)}"
    price, check = mixed_price(limit, assumed, arms=arms), map_check_price(assumed)
    if price.votes is None or check.votes is None:
        return f"{text}: cannot be shown, {price.reason or check.reason}"
    whom = "one arm" if arms == 1 else f"all {arms} arms with such clauses together"
    enough = f"this study gives {through_map:,}"
    if through_map < price.votes:
        enough += ": too few"
    elif through_map < price.votes + check.votes:
        enough += ": enough only with the votes of an earlier study that checked the map"
    return (
        f"{text}, boosted votes through the map: about {price.votes:,} votes for {whom} and {check.votes:,} to check "
        f"the map (once); {enough}"
    )


def _share_text(clauses: Clauses, assumed: PriceAssumptions, each: Mapping[str, int]) -> str:
    from analysis.planning.fidelity_share import share_price
    from analysis.triplets import BOOSTED, PLAIN

    if clauses.share is None:
        return ""
    stages = clauses.share.stages
    shown = BOOSTED if stages[0].presentation == "boosted" else PLAIN
    price = share_price(clauses.share.share, assumed, presentation=shown)
    text = f"at least {100 * clauses.share.share:.0f} % of prompts under 1 JND"
    if price.reason:
        return f"{text}: cannot be shown, {price.reason}"
    by_presentation: Counter[str] = Counter()
    for stage in stages:
        by_presentation[stage.presentation] += stage.votes
    short = {name: asked for name, asked in by_presentation.items() if each.get(name, 0) < asked}
    lacking = "".join(
        f"; not with {each.get(name, 0)} {name} votes of each triplet: stages ask for {asked}"
        for name, asked in short.items()
    )
    plan = ", then ".join(f"{stage.votes} votes, flagged from {stage.cut:g}" for stage in price.stages)
    return f"{text}: about {price.votes:,.0f} votes ({plan}; pi {price.pi:.2f}){lacking}"


def _enough(given: int, needed: int) -> str:
    return f"this study gives {given:,}" + ("" if given >= needed else ": too few")
