"""What a wanted precision costs at least, for `qsched study check`: people, prompts and votes of each, hours, money."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.planning import StudyPlan
    from study_server.studies.design import StudyDesign
    from study_server.studies.estimate import StudyEstimate


def price_lines(
    design: StudyDesign, found: StudyEstimate, *, arms: int, half_width: float | None, win_rate: float | None
) -> list[tuple[str, str]]:
    """The least human time for the target, on the study's prompts; without a target, for what the study can show.

    Empty for a study that can show nothing, and for rankings. The comparisons are taken as all pairs or as those with a
    baseline, each with equally many votes.
    """
    from qsched.planning import Effort, Target, least_time, people_floor
    from study_server.studies.session_length import session_minutes

    if half_width is not None and win_rate is not None:
        raise InputError("give --half-width or --find, not both: one study is priced for one target")
    rate = found.weakest.win_rate if win_rate is None else win_rate
    if design.ranking is not None or (half_width is None and rate is None):
        return []
    if half_width is not None:
        target = Target(half_width=half_width)
        wanted = f"{_contrasts(design)} to ±{100 * half_width:g} points"
    else:
        assert rate is not None
        target = Target(rate=rate, power=found.assumed.power)
        wanted = f"a win rate of {100 * rate:.1f} %{_against(design)} with {100 * found.assumed.power:.0f} % power"
    plan = _plan(design, found, arms)
    votes_each = found.valid_votes / found.annotators
    # What a session takes beside the votes that count: reading, questions, practice, checks, breaks.
    arrival = 60 * session_minutes(design, found.trials) - design.seconds_per_vote * votes_each
    effort = Effort(vote=design.seconds_per_vote, arrival=max(1.0, arrival), most_votes=design.pairs_per_annotator)
    best = least_time(plan, target, effort, prompts=max(2, found.prompts))
    floors = (
        f"{found.prompts} prompts never get below ±{100 * best.floor:.1f} points, {found.annotators} people never "
        f"below ±{100 * people_floor(plan, target, people=max(2, found.annotators)):.1f}"
    )
    if best.people is None or best.votes is None or best.hours is None:
        return [("at least", f"{wanted} is out of reach on {found.prompts} prompts, whoever votes; {floors}")]
    money = ""
    if design.pay is not None:
        cost = best.hours * design.pay.per_hour * (1 + design.pay.platform_fee)
        money = f", {cost:.0f} {design.pay.currency} with the platform's fee"
    return [
        (
            "at least",
            f"{wanted} takes {best.people:,} people x {best.votes / best.people:.0f} votes on {found.prompts} prompts: "
            f"{best.hours:,.1f} h{money} (this study: {found.annotators:,} x {votes_each:.0f}, {found.hours:,.1f} h)",
        ),
        ("limits", floors),
    ]


def _contrasts(design: StudyDesign) -> str:
    return "every contrast" if isinstance(design.comparisons, str) else f"every contrast{_against(design)}"


def _against(design: StudyDesign) -> str:
    baseline = getattr(design.comparisons, "baseline", None)
    return "" if baseline is None else f" against {baseline}"


def _plan(design: StudyDesign, found: StudyEstimate, arms: int) -> StudyPlan:
    from qsched.planning import StudyPlan
    from study_server.studies.design import Baseline

    return StudyPlan(
        annotators=2,
        prompts=2,
        votes_per_pair=1,
        arms=arms,
        comparisons="baseline" if isinstance(design.comparisons, Baseline) else "all",
        tie_rate=found.assumed.tie_rate,
        annotator_sd=found.assumed.annotator_sd,
        prompt_sd=found.assumed.prompt_sd,
        confidence=found.assumed.confidence,
        adjust="holm" if found.comparisons > 1 else "none",
    )
