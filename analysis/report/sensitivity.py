"""The same strengths under other choices: exclusions put back, ties otherwise, unreliable annotators weighed down."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.report.settings import ReportSettings
from analysis.stats import VoteCounts, count_votes, fit_model
from analysis.stats.annotator_results import ReliabilityFit
from analysis.stats.errors import AnalysisError
from analysis.stats.results import Ties
from analysis.votes import ExclusionRules, VotesTable, exclude


@dataclass(frozen=True)
class Variant:
    """Strengths by arm under one other choice; `strengths` is None where that choice has no estimate (`problem`).

    `n_votes`: those that the choice uses; where it drops ties, the decided ones.
    """

    name: str
    n_votes: int
    strengths: dict[str, float] | None
    problem: str | None = None


def variants(
    chosen: VotesTable, counts: VoteCounts, settings: ReportSettings, reliability: ReliabilityFit | str | None
) -> tuple[Variant, ...]:
    """The reported choice first, then each of the others; `chosen` are the votes before exclusions.

    `reliability` is the re-fit, the reason why there is none, or None where the votes name no annotators.
    """
    rows = [_fitted("as reported", counts, settings)]
    n_before = counts.n_votes
    rules = settings.rules
    lenient = ExclusionRules(
        kinds=rules.kinds,
        skips=True,
        annotators=rules.annotators,
        simulated=rules.simulated,
        min_gold_accuracy=None,
        max_instructed_failures=None,
        min_response_ms=0,
    )
    for name, other in (
        ("exclusions by conduct put back", lenient),
        ("every comparison of two arms put back", replace(lenient, kinds=("practice", "instructed"), annotators=())),
    ):
        more = count_votes(exclude(chosen, other)[0])
        if more.n_votes != n_before:
            rows.append(_fitted(name, more, settings))
            n_before = more.n_votes
    ties: Ties = "drop" if settings.estimate.ties == "half" else "half"
    if settings.estimate.model == "bradley-terry":
        other_ties = replace(settings, estimate=replace(settings.estimate, ties=ties))
        rows.append(_fitted("ties dropped" if ties == "drop" else "ties as half a win", counts, other_ties))
        davidson = replace(settings, estimate=replace(settings.estimate, model="davidson", ties="half"))
        rows.append(_fitted("Davidson's model of ties", counts, davidson))
    side = not settings.estimate.position_effect
    other_side = replace(settings, estimate=replace(settings.estimate, position_effect=side))
    rows.append(_fitted("with a position effect" if side else "without a position effect", counts, other_side))
    name, n = "annotators weighed by reliability", round(counts.n_votes)
    if isinstance(reliability, str):
        rows.append(Variant(name, n, None, reliability))
    elif reliability is not None:
        strengths = dict(zip(reliability.arms, map(float, reliability.log_strengths), strict=True))
        rows.append(Variant(name, n, strengths))
    return tuple(rows)


def _fitted(name: str, counts: VoteCounts, settings: ReportSettings) -> Variant:
    chosen = settings.estimate
    n = round((counts.without_ties() if chosen.ties == "drop" else counts).n_votes)
    try:
        fit = fit_model(
            counts, model=chosen.model, ties=chosen.ties, position_effect=chosen.position_effect, penalty=chosen.penalty
        )
    except AnalysisError as error:
        return Variant(name, n, None, str(error))
    return Variant(name, n, dict(zip(fit.arms, map(float, fit.log_strengths), strict=True)))
