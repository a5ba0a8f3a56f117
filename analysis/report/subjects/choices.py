"""What the analyst chose: the votes left out, and the strengths under other choices.

The other choices put exclusions back, treat ties differently, and give unreliable annotators less weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.report.kit.section import Section, with_rows
from analysis.report.kit.table import Column, DataTable, Value
from analysis.stats import EstimateSettings, VoteCounts, count_votes, fit_model
from analysis.stats.annotator_results import ReliabilityFit
from analysis.stats.errors import AnalysisError
from analysis.stats.results import Ties
from analysis.votes import ExclusionReport, ExclusionRules, VotesTable, exclude


@dataclass(frozen=True)
class Variant:
    """Strengths by arm under one other choice; `strengths` is None if that choice has no estimate (`problem`).

    `n_votes`: those that the choice uses; the decided ones if it drops ties.
    """

    name: str
    n_votes: int
    strengths: dict[str, float] | None
    problem: str | None = None


def find_variants(
    chosen: VotesTable,
    counts: VoteCounts,
    settings: EstimateSettings,
    *,
    rules: ExclusionRules,
    reliability: ReliabilityFit | str | None,
) -> tuple[Variant, ...]:
    """The reported choice first, then each of the others; `chosen` are the votes before exclusions.

    `reliability` is the re-fit, the reason why there is none, or None if the votes name no annotators.
    """
    rows = [_fitted("as reported", counts, settings)]
    n_before = counts.n_votes
    lenient = replace(
        rules,
        skips=True,
        min_gold_accuracy=None,
        max_instructed_failures=None,
        doubtful=False,
        min_response_ms=0,
        min_votes=0,
    )
    for name, other in (
        ("exclusions by conduct put back", lenient),
        (
            "every comparison of two arms put back",
            replace(lenient, kinds=("practice", "instructed", "bias", "trap"), annotators=()),
        ),
    ):
        more = count_votes(exclude(chosen, other)[0])
        if more.n_votes != n_before:
            rows.append(_fitted(name, more, settings))
            n_before = more.n_votes
    return (*rows, *model_variants(counts, settings, reliability))


def variants_of_counts(
    counts: VoteCounts, settings: EstimateSettings, reliability: ReliabilityFit | str | None
) -> tuple[Variant, ...]:
    """The reported choice and other models; which votes count was decided before they were counted."""
    return (_fitted("as reported", counts, settings), *model_variants(counts, settings, reliability))


def model_variants(
    counts: VoteCounts, settings: EstimateSettings, reliability: ReliabilityFit | str | None
) -> tuple[Variant, ...]:
    """Other treatments of ties, of sides and of annotators, with the same votes."""
    rows: list[Variant] = []
    ties: Ties = "drop" if settings.ties == "half" else "half"
    if settings.model == "bradley-terry":
        other_ties = replace(settings, ties=ties)
        rows.append(_fitted("ties dropped" if ties == "drop" else "ties as half a win", counts, other_ties))
        davidson = replace(settings, model="davidson", ties="half")
        rows.append(_fitted("Davidson's model of ties", counts, davidson))
    side = not settings.position_effect
    other_side = replace(settings, position_effect=side)
    rows.append(_fitted("with a position effect" if side else "without a position effect", counts, other_side))
    name, n = "annotators weighted by reliability", round(counts.n_votes)
    if isinstance(reliability, str):
        rows.append(Variant(name, n, None, reliability))
    elif reliability is not None:
        strengths = dict(zip(reliability.arms, map(float, reliability.log_strengths), strict=True))
        rows.append(Variant(name, n, strengths))
    return tuple(rows)


def _fitted(name: str, counts: VoteCounts, settings: EstimateSettings) -> Variant:
    n = round((counts.without_ties() if settings.ties == "drop" else counts).n_votes)
    try:
        fit = fit_model(
            counts,
            model=settings.model,
            ties=settings.ties,
            position_effect=settings.position_effect,
            penalty=settings.penalty,
        )
    except AnalysisError as error:
        return Variant(name, n, None, str(error))
    return Variant(name, n, dict(zip(fit.arms, map(float, fit.log_strengths), strict=True)))


def choices_section(
    exclusions: ExclusionReport, variants: tuple[Variant, ...], *, arms: tuple[str, ...], n_annotators: int | None
) -> Section:
    """Both tables; `arms` gives the order of the columns, `n_annotators` counts those of the kept votes."""
    left_out, other = exclusions_table(exclusions, n_annotators=n_annotators), variants_table(variants, arms=arms)
    return Section(
        "exclusions",
        "Exclusions, and the estimate under other choices",
        paragraphs=(
            f"{exclusions.n_read:,} votes were read, {exclusions.n_excluded:,} excluded, {exclusions.n_kept:,} kept.",
        ),
        tables=with_rows(_that_hit(left_out), other),
        points=tuple(f"{v.name}: {v.problem}" for v in variants if v.problem),
        csv=(left_out, other) if other.rows else (left_out,),
        latex=(left_out,),
    )


def exclusions_table(report: ExclusionReport, *, n_annotators: int | None) -> DataTable:
    """Every rule in use, with its count; first what was read, last what was kept."""
    rows: list[tuple[Value, ...]] = [("read", "", report.n_read, None)]
    rows += [(row.reason, row.rule, row.n_votes, row.n_annotators) for row in report.rows]
    rows.append(("kept", "", report.n_kept, n_annotators))
    return DataTable(
        name="exclusions",
        caption="Votes read, excluded under each rule in this order, and kept",
        columns=(
            Column("reason", "Step", "text"),
            Column("rule", "Rule", "text"),
            Column("n_votes", "Votes", "count"),
            Column("n_annotators", "Annotators", "count"),
        ),
        rows=tuple(rows),
    )


def _that_hit(table: DataTable) -> DataTable:
    """The table without rules that left nothing out; a note names them."""
    shown = tuple(row for row in table.rows if row[2] or row[0] in ("read", "kept"))
    idle = [f"{row[0]} ({row[1]})" for row in table.rows if row not in shown]
    note = f"Rules that left out no vote: {'; '.join(idle)}." if idle else ""
    return replace(table, rows=shown, note=note)


def variants_table(variants: tuple[Variant, ...], *, arms: tuple[str, ...]) -> DataTable:
    """Log strengths under each other choice, one column per arm."""
    return DataTable(
        name="sensitivity",
        caption="Log strength of each arm under other choices",
        columns=(
            Column("choice", "Choice", "text"),
            Column("n_votes", "Votes", "count"),
            *(Column(arm, arm, digits=3) for arm in arms),
        ),
        rows=tuple(
            (
                variant.name if variant.strengths is not None else f"{variant.name}: no estimate",
                variant.n_votes,
                *(None if variant.strengths is None else variant.strengths.get(arm) for arm in arms),
            )
            for variant in variants
        ),
    )
