"""Which figures a report has, drawn and turned into bytes."""

from __future__ import annotations

import matplotlib

from analysis.report.figures.annotators import draw_annotators
from analysis.report.figures.influence import draw_influence
from analysis.report.figures.matrix import draw_matrix
from analysis.report.figures.strata import draw_strata
from analysis.report.figures.strengths import draw_strengths
from analysis.report.findings import Findings
from analysis.report.kit.fonts import quiet_fonts
from analysis.report.kit.style import RC, Draft, Drawing, finish
from analysis.report.subjects.session import draw_session
from analysis.report.subjects.size import draw_size


def draw_all(found: Findings) -> dict[str, Drawing]:
    """Every figure that the findings allow, by name."""
    with matplotlib.rc_context({**RC, "font.family": list(found.fonts.families)}), quiet_fonts():
        return {draft.name: finish(draft, found.settings.formats) for draft in _drafts(found)}


def _drafts(found: Findings) -> list[Draft]:
    drafts: list[Draft] = []
    estimate = found.estimate
    order = tuple(row.arm for row in estimate.strengths) if estimate else found.arms
    if estimate is not None:
        drafts.append(draw_strengths(estimate))
    drafts.append(draw_matrix(found.raw, order))
    if estimate is not None and found.image_set is not None:
        sizes = found.image_set.sizes()
        if sum(arm in sizes for arm in order) > 1:
            imitated = frozenset(arm.name for arm in found.image_set.manifest.arms if arm.simulated)
            drafts.append(draw_size(estimate, sizes, simulated=imitated))
    if any(stratum.estimate for stratum in found.strata):
        by = found.settings.by or "stratum"
        drafts.append(draw_strata(found.strata, order, by=by, confidence=found.settings.estimate.confidence))
    if found.order or found.histogram:
        drafts.append(draw_session(found.order, found.histogram))
    if any(row.agreement_with_rest is not None for row in found.annotators):
        drafts.append(draw_annotators(found.annotators))
    if found.influence_annotators or found.influence_prompts:
        drafts.append(draw_influence(found.influence_annotators, found.influence_prompts))
    return drafts
