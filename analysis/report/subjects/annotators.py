"""The tables about annotators: how far they agree, how each behaved, who drives the result."""

from __future__ import annotations

from analysis.report.findings import FAST_MS, Findings
from analysis.report.kit.table import Column, Table, Value

ANNOTATORS_SHOWN = 40
INFLUENCE_SHOWN = 10
RELIABILITY_NOTE = "Reliability: the estimated chance of judging rather than guessing; no verdict on a person."


def agreement_table(found: Findings) -> Table:
    """Raw agreement, Krippendorff's alpha twice, mean kappa."""
    agreed = found.agreement
    rows: list[tuple[Value, ...]] = []
    if agreed is not None:
        nominal, ordinal = agreed.alpha_nominal, agreed.alpha_ordinal
        rows = [
            (
                "Raw agreement of two annotators on one item",
                agreed.raw,
                agreed.raw_low,
                agreed.raw_high,
                agreed.n_items,
            ),
            ("Krippendorff's alpha, nominal", nominal.value, nominal.low, nominal.high, nominal.n_units),
            ("Krippendorff's alpha, ordinal", ordinal.value, ordinal.low, ordinal.high, ordinal.n_units),
            ("Mean pairwise kappa (Cohen)", agreed.mean_kappa, None, None, None),
        ]
    return Table(
        name="agreement",
        caption="Agreement between annotators on the same item",
        columns=(
            Column("measure", "Measure", "text"),
            Column("value", "Value", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("n_items", "Items", "count"),
        ),
        rows=tuple(rows),
        note="0 is chance and 1 is complete agreement for alpha and kappa; raw agreement is a plain share.",
    )


def annotators_table(found: Findings, *, limit: int | None = ANNOTATORS_SHOWN) -> Table:
    """Conduct of each annotator, most votes first."""
    rows = sorted(found.annotators, key=lambda row: (-row.n_votes, row.annotator))
    excluded = dict(found.exclusions.annotators)
    reliability = (
        {} if found.reliability is None else {r.annotator: r.reliability for r in found.reliability.annotators}
    )
    shown = rows if limit is None else rows[:limit]
    return Table(
        name="annotators",
        caption="Annotators (pseudonyms), most votes first"
        + (f"; {len(shown)} of {len(rows)}, all in annotators.csv" if len(shown) < len(rows) else ""),
        columns=(
            Column("annotator", "Annotator", "text"),
            Column("n_votes", "Votes", "count"),
            Column("agreement_with_rest", "Agrees with rest", "percent"),
            Column("repeat_consistency", "Repeats alike", "percent"),
            Column("gold_accuracy", "Gold right", "percent"),
            Column("left_share", "Left", "percent"),
            Column("side_p_holm", "Side p (Holm)", "p"),
            Column("entropy_bits", "Entropy, bits", digits=2),
            Column("median_ms", "Median ms", "count"),
            Column("fast_share", "Fast", "percent"),
            Column("reliability", "Reliability", digits=2),
            Column("excluded", "Excluded", "text"),
        ),
        rows=tuple(
            (
                row.annotator,
                row.n_votes,
                row.agreement_with_rest,
                row.repeat_consistency,
                row.gold_accuracy,
                row.left_share,
                row.side_p_holm,
                row.entropy_bits,
                row.median_ms,
                row.fast_share,
                reliability.get(row.annotator),
                excluded.get(row.annotator),
            )
            for row in shown
        ),
        note=" ".join(
            (
                *(
                    (f"Fast: answered in less than {FAST_MS} ms.",)
                    if any(r.fast_share is not None for r in shown)
                    else ()
                ),
                *((RELIABILITY_NOTE,) if reliability else ()),
            )
        ),
    )


def influence_table(found: Findings) -> Table:
    """The annotators and prompts whose absence moves a contrast most."""
    rows = (*found.influence_annotators[:INFLUENCE_SHOWN], *found.influence_prompts[:INFLUENCE_SHOWN])
    return Table.of(
        "influence",
        rows,
        caption="Leaving one out: the contrast that moves most",
        columns=(
            Column("cluster", "Left out", "text"),
            Column("kind", "Kind", "text"),
            Column("n_votes", "Votes", "count"),
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("change_log_odds", "Change, log-odds", digits=3),
            Column("change_in_se", "Change, SE", digits=2),
            Column("changes_order", "Order turns", "yes"),
        ),
    )


def kappas_table(found: Findings) -> Table:
    """What `kappas.csv` holds: agreement of each two annotators."""
    kappas = found.agreement.kappas if found.agreement else ()
    return Table.of(
        "kappas",
        kappas,
        caption="Cohen's kappa of each two annotators on the items that both judged",
        columns=(
            Column("annotator_a", "Annotator", "text"),
            Column("annotator_b", "And", "text"),
            Column("n_items", "Items", "count"),
            Column("observed", "Agreement"),
            Column("kappa", "Kappa"),
        ),
    )
