"""The sections of the report in reading order, each from its own part of the findings."""

from __future__ import annotations

from analysis.report.findings import Findings
from analysis.report.kit.section import Section
from analysis.report.subjects.annotators import annotators_section
from analysis.report.subjects.assisted import assisted_section
from analysis.report.subjects.certificate import certificate_section
from analysis.report.subjects.choices import choices_section
from analysis.report.subjects.collected import collected_section
from analysis.report.subjects.contrasts import contrasts_section
from analysis.report.subjects.covariates import covariate_section
from analysis.report.subjects.groups import groups_section
from analysis.report.subjects.influence import influence_section
from analysis.report.subjects.looks import looks_section
from analysis.report.subjects.pairs import pairs_section, sequential_section
from analysis.report.subjects.session import session_section
from analysis.report.subjects.size import size_section
from analysis.report.subjects.strata import strata_section
from analysis.report.subjects.strengths import intervals_section, strengths_section

# Every name that a report may write. A run removes from its folder those that an earlier one left and it did not write.
FIGURES = (
    "contrasts",
    "contrasts-baseline",
    "strengths",
    "winrates",
    "elo-size",
    "by-*",
    "session",
    "annotators",
    "influence",
)
LATEX = ("winrates", "exclusions", "strengths", "contrasts", "agreement")
CSV = (
    "winrates",
    "strengths",
    "contrasts",
    "exclusions",
    "annotators",
    "strata",
    "strata-contrasts",
    "covariates",
    "sensitivity",
    "assisted",
    "kappas",
    "looks",
)


def report_sections(found: Findings) -> tuple[Section, ...]:
    """All sections that have something to show."""
    settings, estimate, arms = found.settings, found.estimate, found.order
    confidence = settings.estimate.confidence
    sections = (
        looks_section(settings.looks),
        contrasts_section(estimate, baseline=settings.baseline, margin=settings.equivalence_margin),
        strengths_section(estimate, baseline=settings.baseline),
        groups_section(found.groups),
        pairs_section(found.raw, estimate, arms=arms, ties=settings.estimate.ties),
        size_section(estimate, found.image_set),
        strata_section(found.strata, arms=arms, confidence=confidence),
        covariate_section(found.adjusted, settings.alpha),
        intervals_section(estimate),
        sequential_section(found.anytime, confidence=confidence),
        assisted_section(found.assisted, confidence=confidence),
        collected_section(found.collected, wording=settings.wording),
        session_section(found.session, confidence=confidence, modelled=settings.estimate.position_effect),
        annotators_section(found.annotators),
        influence_section(found.influence, found.claims),
        certificate_section(settings.certificate),
        choices_section(found.exclusions, found.variants, arms=arms, n_annotators=found.n_annotators),
    )
    return tuple(section for section in sections if not section.is_empty)
