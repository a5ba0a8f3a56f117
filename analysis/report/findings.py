"""Everything that a report shows, computed once from the votes and the settings, before a word is written."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal

import polars as pl

from analysis.report.adjusted import Adjusted, adjusted
from analysis.report.figures.influence import SHOWN as INFLUENCE_DRAWN
from analysis.report.kit.fonts import Fonts, fonts_for
from analysis.report.order import OrderBin, Times, order_bins, response_times, time_histogram
from analysis.report.orient import best_first, turn_raw
from analysis.report.sensitivity import Variant, variants
from analysis.report.settings import ReportSettings
from analysis.report.strata import Stratum, strata_of
from analysis.report.subjects.caveats import (
    listed,
    own_notes,
    own_warnings,
    refuse_baseline,
    refuse_mixture,
    refuse_nothing,
)
from analysis.report.subjects.claims import Finding, judge_all
from analysis.report.subjects.pictures import Example, ImageSet, find_examples, load_image_set
from analysis.stats import (
    AnytimeRate,
    Estimate,
    Existence,
    RawPair,
    VoteCounts,
    agreement,
    annotator_rows,
    anytime_win_rates,
    count_votes,
    estimate,
    influence,
    raw_pairs,
    refit_reliability,
)
from analysis.stats.annotator_results import Agreement, AnnotatorRow, InfluenceRow, ReliabilityFit
from analysis.stats.errors import AnalysisError, NoEstimateError
from analysis.stats.results import PositionEffect, StratumContrast
from analysis.votes import ExclusionReport, VotesTable, exclude
from qsched import __version__
from qsched.records import InputError

# A vote faster than this cannot have looked at both pictures; shown per annotator, excluded only on request.
FAST_MS = 300
# Without --by a report divides the votes by category where there are no more than this.
MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Findings:
    """All results of one report. `estimate` is None where none exists; `existence` then says why."""

    settings: ReportSettings
    sources: tuple[str, ...]
    study: str | None
    question: str | None
    n_elsewhere: int
    arms: tuple[str, ...]
    n_votes: int
    n_annotators: int | None
    n_prompts: int | None
    n_simulated: int
    exclusions: ExclusionReport
    existence: Existence | None
    estimate: Estimate | None
    claims: tuple[Finding, ...]
    raw: tuple[RawPair, ...]
    strata: tuple[Stratum, ...]
    strata_contrasts: tuple[StratumContrast, ...]
    strata_note: str
    variants: tuple[Variant, ...]
    adjusted: Adjusted | None
    anytime: tuple[AnytimeRate, ...]
    position_check: PositionEffect | None
    left: int
    right: int
    order: tuple[OrderBin, ...]
    times: Times | None
    histogram: tuple[tuple[float, float, int], ...]
    agreement: Agreement | None
    annotators: tuple[AnnotatorRow, ...]
    reliability: ReliabilityFit | None
    influence_annotators: tuple[InfluenceRow, ...]
    influence_prompts: tuple[InfluenceRow, ...]
    most_agreed: tuple[Example, ...]
    least_agreed: tuple[Example, ...]
    image_set: ImageSet | None
    fonts: Fonts
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]


def find(votes: VotesTable, settings: ReportSettings) -> Findings:
    """Choose, exclude, estimate, check. `votes` may hold several studies or questions; the settings choose one."""
    chosen = choose(votes, settings)
    kept, exclusions = exclude(chosen, settings.rules)
    refuse_mixture(exclusions, settings)
    refuse_nothing(exclusions)
    counts = count_votes(kept.frame)
    existence, found = _estimate(counts, settings)
    refuse_baseline(settings.baseline, counts.arms, exclusions)
    settings = replace(settings, by=_by(kept, settings.by))
    strata, contrasts, strata_note = strata_of(_strata_votes(votes, kept, settings), settings)
    has_annotators, has_prompts = _known(kept.frame, "annotator"), _known(kept.frame, "prompt_id")
    reliability = _reliability(counts) if found is not None and has_annotators else None
    image_set = None if settings.image_set is None else load_image_set(settings.image_set)
    most, least = find_examples(kept.frame, image_set)
    side = kept.frame.get_column("choice").cast(pl.String)
    by_annotator, by_prompt = _influence(found, counts, "annotator"), _influence(found, counts, "prompt")
    moving = (*by_annotator[:INFLUENCE_DRAWN], *by_prompt[:INFLUENCE_DRAWN])
    drawn = (*counts.arms, *(stratum.name for stratum in strata), *(row.cluster for row in moving))
    fonts = fonts_for(drawn)
    warnings = [*(found.warnings if found else ()), *own_warnings(exclusions, image_set, counts.arms, fonts, drawn)]
    own = own_notes(exclusions, has_annotators=has_annotators, has_prompts=has_prompts)
    return Findings(
        settings=settings,
        sources=votes.sources,
        study=_only(kept, "study"),
        question=_only(kept, "question"),
        n_elsewhere=votes.n_votes - chosen.n_votes,
        arms=tuple(counts.arms),
        n_votes=kept.n_votes,
        n_annotators=_distinct(kept.frame, "annotator"),
        n_prompts=_distinct(kept.frame, "prompt_id"),
        n_simulated=int(kept.frame.get_column("simulated").sum()),
        exclusions=exclusions,
        existence=existence,
        estimate=found,
        claims=() if found is None else judge_all(found, margin=settings.equivalence_margin),
        raw=_raw_pairs(counts, found, settings),
        strata=strata,
        strata_contrasts=contrasts,
        strata_note=strata_note,
        variants=() if found is None else variants(chosen, counts, settings, reliability),
        adjusted=adjusted(kept, settings),
        anytime=anytime_win_rates(kept, confidence=settings.estimate.confidence) if settings.sequential else (),
        position_check=None if found is None else _position_check(counts, found, settings),
        left=int((side == "left").sum()),
        right=int((side == "right").sum()),
        order=order_bins(kept.frame),
        times=response_times(kept.frame),
        histogram=time_histogram(kept.frame),
        agreement=_agreement(kept.frame, settings) if has_annotators and has_prompts else None,
        annotators=_annotators(chosen.frame, settings) if has_annotators else (),
        reliability=None if isinstance(reliability, str) else reliability,
        influence_annotators=by_annotator,
        influence_prompts=by_prompt,
        most_agreed=most,
        least_agreed=least,
        image_set=image_set,
        fonts=fonts,
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(
            dict.fromkeys((*exclusions.notes, *(found.notes if found else ()), *own, *_single(settings, strata)))
        ),
        versions=used_versions(),
    )


def choose(votes: VotesTable, settings: ReportSettings) -> VotesTable:
    """The votes of one study and one question; several questions and no choice among them is an error."""
    chosen = votes.select(study=settings.study, question=settings.question)
    for column, option in (("study", "--study"), ("question", "--question")):
        names = chosen.values(column)
        if len(names) > 1:
            remedy = (
                f"Add {option} NAME: the report is then about that one, and --by {column} compares it with the others."
                if settings.by == column
                else f"Choose one with {option} NAME; --by {column} beside it compares that one with the others."
            )
            raise InputError(
                f"The votes hold {len(names)} values of {column} ({listed(names)}); one estimate takes one. {remedy}"
            )
    return chosen


def _by(kept: VotesTable, asked: str | None) -> str | None:
    if asked is not None:
        return None if asked == "none" else asked
    return "category" if 2 <= len(kept.categories) <= MOST_CATEGORIES else None


def _single(settings: ReportSettings, strata: tuple[Stratum, ...]) -> list[str]:
    if len(strata) != 1:
        return []
    return [f"--by {settings.by}: all votes have one {settings.by} ({strata[0].name!r}); there is nothing to compare."]


def _strata_votes(votes: VotesTable, kept: VotesTable, settings: ReportSettings) -> VotesTable:
    """Categories divide the kept votes; questions and studies lie outside the one that was chosen."""
    if settings.by == "question":
        return exclude(votes.select(study=settings.study), settings.rules)[0]
    if settings.by == "study":
        return exclude(votes.select(question=settings.question), settings.rules)[0]
    return kept


def _estimate(counts: VoteCounts, settings: ReportSettings) -> tuple[Existence | None, Estimate | None]:
    try:
        return None, best_first(estimate(counts, settings.estimate))
    except NoEstimateError as error:
        return error.diagnosis, None


def _raw_pairs(counts: VoteCounts, found: Estimate | None, settings: ReportSettings) -> tuple[RawPair, ...]:
    """Counts of every pair; with ties dropped, rate and bounds are of the decided votes and the ties stay counted."""
    chosen = settings.estimate
    rows = raw_pairs(counts, confidence=chosen.confidence, intervals=chosen.intervals, ties=chosen.ties)
    if found is None:
        return rows
    by_arms = {frozenset((row.arm_a, row.arm_b)): row for row in rows}
    ordered = [(pair.arm_a, by_arms[frozenset((pair.arm_a, pair.arm_b))]) for pair in found.pairwise]
    return tuple(row if row.arm_a == arm_a else turn_raw(row) for arm_a, row in ordered)


def _position_check(counts: VoteCounts, found: Estimate, settings: ReportSettings) -> PositionEffect | None:
    """The position effect, also when the reported model leaves it out: the reader should see what was left out."""
    if found.position_effect is not None:
        return found.position_effect
    try:
        return estimate(counts, replace(settings.estimate, position_effect=True)).position_effect
    except AnalysisError:  # the table of other choices says why
        return None


def _reliability(counts: VoteCounts) -> ReliabilityFit | str:
    """The re-fit, or why its own model of ties has no estimate although the reported one has."""
    try:
        return refit_reliability(counts)
    except AnalysisError as error:
        return str(error)


def _annotators(frame: pl.DataFrame, settings: ReportSettings) -> tuple[AnnotatorRow, ...]:
    return annotator_rows(
        frame,
        fast_ms=FAST_MS,
        confidence=settings.estimate.confidence,
        gold_ties_wrong=settings.rules.gold_ties_wrong,
    )


def _agreement(frame: pl.DataFrame, settings: ReportSettings) -> Agreement:
    chosen = settings.estimate
    return agreement(frame, resamples=chosen.resamples, confidence=chosen.confidence, seed=chosen.seed)


def _influence(
    found: Estimate | None, counts: VoteCounts, by: Literal["annotator", "prompt"]
) -> tuple[InfluenceRow, ...]:
    if found is None or by not in counts.clusters:
        return ()
    return influence(found.fit, counts, found.uncertainty, by=by)


def used_versions() -> dict[str, str]:
    """Versions of everything that can change a number or a byte of the report."""
    packages = ("numpy", "scipy", "polars", "matplotlib", "jinja2")
    return {"qsched": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}


def _known(frame: pl.DataFrame, column: str) -> bool:
    return column in frame.columns and frame.get_column(column).null_count() < frame.height


def _distinct(frame: pl.DataFrame, column: str) -> int | None:
    return frame.get_column(column).drop_nulls().n_unique() if _known(frame, column) else None


def _only(votes: VotesTable, column: str) -> str | None:
    names = votes.values(column)
    return names[0] if len(names) == 1 else None
