"""Everything that a report shows, computed once from the votes and the settings, before a word is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from analysis.report.kit.fonts import Fonts, fonts_for
from analysis.report.settings import ReportSettings
from analysis.report.subjects.annotators import AnnotatorResults, find_agreement, find_conduct, find_reliability
from analysis.report.subjects.assisted import Assisted, find_assisted, refuse_assist
from analysis.report.subjects.caveats import (
    listed,
    own_notes,
    own_warnings,
    partial_warnings,
    refuse_baseline,
    refuse_mixture,
    refuse_nothing,
    refuse_sides,
    set_notes,
    source_notes,
)
from analysis.report.subjects.choices import Variant, find_variants
from analysis.report.subjects.claims import Claim, judge_all
from analysis.report.subjects.collected import Collected, find_collected
from analysis.report.subjects.covariates import Adjusted, find_adjusted
from analysis.report.subjects.groups import ArmGroup, find_groups
from analysis.report.subjects.influence import Influence, find_influence
from analysis.report.subjects.looks import looks_claims, looks_warnings, with_looks
from analysis.report.subjects.pairs import best_first, find_raw_pairs
from analysis.report.subjects.pictures import ExamplePair, ImageSet, find_examples, load_image_set
from analysis.report.subjects.session import SessionResults, find_session
from analysis.report.subjects.strata import Strata, find_strata
from analysis.stats import (
    AnytimeRate,
    Estimate,
    EstimateSettings,
    Existence,
    RawPair,
    VoteCounts,
    anytime_win_rates,
    count_votes,
    estimate,
)
from analysis.stats.errors import NoEstimateError
from analysis.versions import used_versions
from analysis.votes import ExclusionReport, ExclusionRules, VotesTable, exclude
from analysis.votes.table import has_values
from qsched.records import InputError

# Without --by a report divides the votes by category if there are no more than this.
MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Findings:
    """All results of one report. `estimate` is None if none exists; `existence` then says why."""

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
    groups: tuple[ArmGroup, ...]
    collected: Collected
    claims: tuple[Claim, ...]
    raw: tuple[RawPair, ...]
    strata: Strata | None
    variants: tuple[Variant, ...]
    adjusted: Adjusted | None
    anytime: tuple[AnytimeRate, ...]
    assisted: Assisted | None
    session: SessionResults
    annotators: AnnotatorResults
    influence: Influence
    most_agreed: tuple[ExamplePair, ...]
    least_agreed: tuple[ExamplePair, ...]
    image_set: ImageSet | None
    fonts: Fonts
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]

    @property
    def order(self) -> tuple[str, ...]:
        """The arms as tables and figures order them: the strongest first, or by name without an estimate."""
        return self.arms if self.estimate is None else tuple(row.arm for row in self.estimate.strengths)


def find(votes: VotesTable, settings: ReportSettings) -> Findings:
    """Choose, exclude, estimate, check. `votes` may hold several studies or questions; the settings choose one."""
    refuse_sides(votes, settings)
    refuse_assist(settings)
    chosen = choose(votes, settings)
    settings = with_looks(settings, studies=chosen.values("study"), questions=chosen.values("question"))
    screened = _screen(chosen, settings)
    kept, exclusions, counts = screened.kept, screened.exclusions, screened.counts
    existence, found, chosen_estimate = screened.existence, screened.estimate, settings.estimate
    refuse_baseline(settings.baseline, counts.arms, exclusions)
    settings = replace(settings, by=_by(kept, settings.by))
    strata = None
    if settings.by is not None:
        divided = _strata_votes(votes, kept, settings)
        strata = find_strata(divided, settings.by, chosen_estimate, baseline=settings.baseline)
    has_annotators, has_prompts = (has_values(kept.frame, column) for column in ("annotator", "prompt_id"))
    reliability = find_reliability(counts) if found is not None and has_annotators else None
    image_set = None if settings.image_set is None else load_image_set(settings.image_set)
    most, least = find_examples(kept.frame, image_set)
    influence = find_influence(found, counts)
    drawn = (
        *counts.arms,
        *(stratum.name for stratum in (strata.strata if strata else ())),
        *(row.cluster for row in influence.drawn),
    )
    fonts = fonts_for(drawn)
    warnings = (
        *screened.warnings,
        *(found.warnings if found else ()),
        *own_warnings(exclusions, image_set, counts.arms, fonts, drawn),
        *looks_warnings(settings, chosen.values("study")),
    )
    own = (
        *own_notes(exclusions, has_annotators=has_annotators, has_prompts=has_prompts),
        *source_notes(votes),
        *set_notes(image_set, counts.arms),
    )
    return Findings(
        settings=settings,
        sources=votes.sources,
        study=_only(kept, "study"),
        question=_only(kept, "question"),
        n_elsewhere=votes.n_votes - chosen.n_votes,
        arms=tuple(counts.arms),
        n_votes=kept.n_votes,
        n_annotators=_distinct(kept, "annotator"),
        n_prompts=_distinct(kept, "prompt_id"),
        n_simulated=int(kept.frame.get_column("simulated").sum()),
        exclusions=exclusions,
        existence=existence,
        estimate=found,
        groups=find_groups(
            screened.whole, () if found is None else found.fit.arms, lambda arms: _among(chosen, settings, arms)
        ),
        collected=find_collected(kept.frame),
        claims=claims_of(found, settings),
        raw=find_raw_pairs(counts, found, chosen_estimate),
        strata=strata,
        variants=()
        if found is None
        else find_variants(chosen, counts, chosen_estimate, rules=exclusions.rules, reliability=reliability),
        adjusted=find_adjusted(kept, settings.covariates, chosen_estimate),
        anytime=anytime_win_rates(kept, confidence=chosen_estimate.confidence) if settings.sequential else (),
        assisted=None if found is None else find_assisted(kept, settings),
        session=find_session(kept, counts, found, chosen_estimate),
        annotators=AnnotatorResults(
            agreement=find_agreement(kept, chosen_estimate) if has_annotators and has_prompts else None,
            rows=find_conduct(chosen.frame, chosen_estimate, settings.rules) if has_annotators else (),
            reliability=None if isinstance(reliability, str) else reliability,
            excluded=exclusions.annotators,
        ),
        influence=influence,
        most_agreed=most,
        least_agreed=least,
        image_set=image_set,
        fonts=fonts,
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys((*exclusions.notes, *(found.notes if found else ()), *own, *_single(strata)))),
        versions=report_versions(),
    )


def claims_of(found: Estimate | None, settings: ReportSettings) -> tuple[Claim, ...]:
    """Of a study with a stopping rule only what its looks decided: other p-values do not allow for them."""
    if settings.looks is not None:
        return looks_claims(settings.looks)
    return () if found is None else judge_all(found, margin=settings.equivalence_margin)


@dataclass(frozen=True)
class _ScreenedVotes:
    """The kept votes and their estimate, or why there is none; `warnings` name arms that an estimate leaves out.

    `whole`: why all arms together have no estimate.
    """

    kept: VotesTable
    exclusions: ExclusionReport
    counts: VoteCounts
    existence: Existence | None
    estimate: Estimate | None
    whole: Existence | None = None
    warnings: tuple[str, ...] = ()


def _screen(chosen: VotesTable, settings: ReportSettings) -> _ScreenedVotes:
    """Exclude and estimate; if some arms have no finite strength, estimate the largest group of arms that has."""
    whole = _screened(chosen, settings, settings.rules)
    if whole.existence is None:
        return whole
    rest = _without_estimate(whole.existence, settings)
    if not rest:
        return whole
    part = _screened(chosen, settings, replace(settings.rules, arms_without_estimate=rest))
    if part.estimate is None:
        return whole
    return replace(part, whole=whole.existence, warnings=tuple(partial_warnings(whole.existence, rest, whole.counts)))


def _screened(chosen: VotesTable, settings: ReportSettings, rules: ExclusionRules) -> _ScreenedVotes:
    kept, exclusions = exclude(chosen, rules)
    refuse_mixture(exclusions, settings)
    refuse_nothing(exclusions)
    counts = count_votes(kept)
    existence, found = estimate_of(counts, settings.estimate)
    return _ScreenedVotes(kept, exclusions, counts, existence, found, existence)


def _among(chosen: VotesTable, settings: ReportSettings, arms: tuple[str, ...]) -> Estimate | None:
    """The estimate of these arms from the votes of their own pairs."""
    sides = (pl.col(name).cast(pl.String).is_in(arms) for name in ("left_arm", "right_arm"))
    kept = exclude(chosen, settings.rules)[0]
    return estimate_of(count_votes(kept.with_frame(kept.frame.filter(*sides))), settings.estimate)[1]


def _without_estimate(existence: Existence, settings: ReportSettings) -> tuple[str, ...]:
    """The arms outside the one largest group that has an estimate; none if there is no such group."""
    sizes = sorted((len(group) for group in existence.components), reverse=True)
    among = existence.estimable
    if not among or sizes[:2] == [len(among), len(among)] or settings.baseline not in (None, *among):
        return ()
    return tuple(sorted(arm for group in existence.components for arm in group if arm not in among))


def choose(votes: VotesTable, settings: ReportSettings) -> VotesTable:
    """The votes of one study and one question; several questions and no choice among them is an error."""
    chosen = votes.select(study=settings.study, question=settings.question)
    for column, option in (("study", "--study"), ("question", "--question")):
        names = chosen.values(column)
        if len(names) > 1:
            remedy = (
                f"Add {option} NAME: the report is then about that one, and --by {column} compares it with the others."
                if settings.by == column
                else f"Choose one with {option} NAME; add --by {column} to compare it with the others."
            )
            raise InputError(
                f"The votes hold {len(names)} values of {column} ({listed(names)}); one estimate takes one. {remedy}"
            )
    return chosen


def _by(kept: VotesTable, asked: str | None) -> str | None:
    if asked is not None:
        return None if asked == "none" else asked
    return "category" if 2 <= len(kept.categories) <= MOST_CATEGORIES else None


def _single(strata: Strata | None) -> list[str]:
    if strata is None or len(strata.strata) != 1:
        return []
    name = strata.strata[0].name
    return [f"--by {strata.by}: all votes have one {strata.by} ({name!r}); there is nothing to compare."]


def _strata_votes(votes: VotesTable, kept: VotesTable, settings: ReportSettings) -> VotesTable:
    """Categories divide the kept votes; other questions and studies are outside the one that was chosen."""
    if settings.by == "question":
        return exclude(votes.select(study=settings.study), settings.rules)[0]
    if settings.by == "study":
        return exclude(votes.select(question=settings.question), settings.rules)[0]
    return kept


def estimate_of(counts: VoteCounts, settings: EstimateSettings) -> tuple[Existence | None, Estimate | None]:
    try:
        return None, best_first(estimate(counts, settings))
    except NoEstimateError as error:
        return error.diagnosis, None


def report_versions() -> dict[str, str]:
    """Versions of everything that can change a number or a byte of the report."""
    return used_versions("numpy", "scipy", "polars", "matplotlib", "jinja2")


def _distinct(votes: VotesTable, column: str) -> int | None:
    return votes.frame.get_column(column).drop_nulls().n_unique() if has_values(votes.frame, column) else None


def _only(votes: VotesTable, column: str) -> str | None:
    names = votes.values(column)
    return names[0] if len(names) == 1 else None
