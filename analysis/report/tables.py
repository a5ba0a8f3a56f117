"""The tables of a report, built from its findings. Each goes to the page; the main ones also to CSV and LaTeX."""

from __future__ import annotations

from dataclasses import fields

from analysis.report.findings import Findings
from analysis.report.table import Column, Table, Value
from analysis.report.words import share_words
from analysis.stats import Estimate, PairRow, RawPair, StrengthRow, rebase, win_probability

CONTRASTS_SHOWN = 30


def strengths_table(estimate: Estimate) -> Table:
    """Arms, best first: strength, Elo, both intervals, ranks."""
    percent = _percent(estimate)
    return Table(
        name="strengths",
        caption=f"Strength of each arm with {percent} intervals, strongest estimate first",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_strength", "Log strength", digits=3),
            Column("se", "SE", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Elo low", digits=1),
            Column("elo_high", "Elo high", digits=1),
            Column("rank_low", "Best rank", "count"),
            Column("rank_high", "Worst rank", "count"),
            Column("n_votes", "Votes", "count"),
        ),
        rows=tuple(
            (
                row.arm,
                row.log_strength,
                row.se,
                row.low,
                row.high,
                row.elo,
                row.elo_low,
                row.elo_high,
                row.rank_low,
                row.rank_high,
                row.n_votes,
            )
            for row in estimate.strengths
        ),
        note=" ".join(
            (
                "Best and worst rank: no comparison that holds for all arms at once excludes a rank between them.",
                *estimate.uncertainty.warnings,
            )
        ),
    )


def strengths_csv_table(estimate: Estimate | None) -> Table:
    """What `strengths.csv` holds: every column of a strength; no rows where there is no estimate."""
    names = [item.name for item in fields(StrengthRow)]
    rows = () if estimate is None else tuple(tuple(getattr(row, name) for name in names) for row in estimate.strengths)
    return Table(name="strengths", caption="", columns=tuple(Column(name, "") for name in names), rows=rows)


def intervals_table(estimate: Estimate) -> Table:
    """The default interval of each arm beside the one that takes votes as independent."""
    kind = estimate.uncertainty.kind
    return Table(
        name="intervals",
        caption=f"Width of the {_percent(estimate)} intervals of log strength: {kind} beside vote level",
        columns=(
            Column("arm", "Arm", "text"),
            Column("low", f"Low ({kind})", digits=3),
            Column("high", f"High ({kind})", digits=3),
            Column("low_vote", "Low (votes independent)", digits=3),
            Column("high_vote", "High (votes independent)", digits=3),
            Column("design_effect", "Design effect", digits=2),
        ),
        rows=tuple((r.arm, r.low, r.high, r.low_vote, r.high_vote, r.design_effect) for r in estimate.strengths),
        note=(
            "Design effect: variance over the variance if every vote were independent. 2 means that the study "
            "knows what an independent study of half its size would know."
        ),
    )


def baseline_table(estimate: Estimate, baseline: str) -> Table:
    """Strengths measured from one arm."""
    return Table(
        name="baseline",
        caption=f"Strength relative to {baseline}, with {_percent(estimate)} intervals",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_odds", "Log-odds", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("win_rate", "Win rate", "percent"),
            Column("win_low", "Low", "percent"),
            Column("win_high", "High", "percent"),
        ),
        rows=tuple(
            (
                row.arm,
                row.log_strength,
                row.low,
                row.high,
                win_probability(row.log_strength),
                win_probability(row.low),
                win_probability(row.high),
            )
            for row in rebase(estimate, baseline)
            if row.arm != baseline
        ),
        note=f"Win rate: the model's win rate of the arm against {baseline} ({share_words(estimate)}).",
    )


def raw_table(found: Findings) -> Table:
    """Counts and raw win rate of each pair that has votes."""
    ties = "left out" if found.settings.estimate.ties == "drop" else "as half a win"
    return Table(
        name="winrates",
        caption=f"Votes of each pair of arms; win rate of the first arm with ties {ties}",
        columns=(
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("n_votes", "Votes", "count"),
            Column("wins_a", "Won", "count"),
            Column("wins_b", "Lost", "count"),
            Column("ties", "Ties", "count"),
            Column("win_rate", "Win rate", "percent"),
            Column("low", "Low", "percent"),
            Column("high", "High", "percent"),
        ),
        rows=tuple(_raw_cells(pair) for pair in found.raw),
    )


def _raw_cells(pair: RawPair) -> tuple[Value, ...]:
    counts = (pair.n_votes, pair.wins_a, pair.wins_b, pair.ties)
    return (pair.arm_a, pair.arm_b, *counts, pair.win_rate, pair.low, pair.high)


def contrasts_table(estimate: Estimate) -> Table:
    """The model's contrast of every pair, with p-values and what would have been detected."""
    return Table(
        name="contrasts",
        caption=f"Differences between arms from the model: win rate of the first arm ({share_words(estimate)})",
        columns=(
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("model_win_rate", "Win rate", "percent"),
            Column("model_low", "Low", "percent"),
            Column("model_high", "High", "percent"),
            Column("low_all", "Low, all pairs", "percent"),
            Column("high_all", "High, all pairs", "percent"),
            Column("p", "p", "p"),
            Column("p_holm", "p (Holm)", "p"),
            Column("prob_superior", "P(stronger)", "p"),
            Column("detected", "Detected", "yes"),
            Column("detectable", "Detectable from", "percent"),
        ),
        rows=tuple(_contrast_cells(pair, 1 - estimate.settings.confidence) for pair in estimate.pairwise),
        note=(
            f"Low and High: {_percent(estimate)} interval of the pair alone; 'all pairs': intervals that hold for "
            "all pairs at once. P(stronger): one-sided confidence that the first arm is the stronger. "
            "Detected: Holm-adjusted p below "
            f"{1 - estimate.settings.confidence:.3g}. Detectable from: the true win rate that four of five such "
            "studies would have detected; 'not detected' says nothing about differences below it."
            + "".join(f" {warning}" for warning in estimate.uncertainty.warnings)
        ),
    )


def _contrast_cells(pair: PairRow, alpha: float) -> tuple[Value, ...]:
    return (
        pair.arm_a,
        pair.arm_b,
        pair.win_probability,
        pair.win_probability_low,
        pair.win_probability_high,
        win_probability(pair.low_all),
        win_probability(pair.high_all),
        pair.p,
        pair.p_holm,
        pair.prob_superior,
        pair.p_holm < alpha,
        win_probability(abs(pair.detectable)),
    )


def contrasts_csv_table(estimate: Estimate) -> Table:
    """What `contrasts.csv` holds: the table of the page, then the contrast as log-odds and on the Elo scale."""
    shown = contrasts_table(estimate)
    more = {
        "log_odds": "log_odds",
        "log_odds_se": "se",
        "log_odds_low": "low",
        "log_odds_high": "high",
        "log_odds_low_all": "low_all",
        "log_odds_high_all": "high_all",
        "elo_difference": "elo_difference",
    }
    rows = zip(shown.rows, estimate.pairwise, strict=True)
    return Table(
        name="contrasts",
        caption=shown.caption,
        columns=(*shown.columns, *(Column(name, "") for name in more)),
        rows=tuple((*cells, *(getattr(pair, field) for field in more.values())) for cells, pair in rows),
    )


def winrates_csv_table(found: Findings) -> Table:
    """What `winrates.csv` holds: counts and raw win rate, then the model's contrast where there is one."""
    raw = raw_table(found)
    more = (
        Column("model_win_rate", ""),
        Column("model_low", ""),
        Column("model_high", ""),
        Column("p", ""),
        Column("p_holm", ""),
    )
    by_pair = {} if found.estimate is None else {(p.arm_a, p.arm_b): p for p in found.estimate.pairwise}
    rows = []
    for pair, cells in zip(found.raw, raw.rows, strict=True):
        contrast = by_pair.get((pair.arm_a, pair.arm_b))
        model: tuple[Value, ...] = (None,) * len(more)
        if contrast is not None:
            model = (
                contrast.win_probability,
                contrast.win_probability_low,
                contrast.win_probability_high,
                contrast.p,
                contrast.p_holm,
            )
        rows.append((*cells, *model))
    return Table(name="winrates", caption=raw.caption, columns=(*raw.columns, *more), rows=tuple(rows))


def exclusions_table(found: Findings) -> Table:
    """Every rule that was on, with its count; first what was read, last what was kept."""
    report = found.exclusions
    rows: list[tuple[Value, ...]] = [("read", "", report.n_read, None)]
    rows += [(row.reason, row.rule, row.n_votes, row.n_annotators) for row in report.rows]
    rows.append(("kept", "", report.n_kept, found.n_annotators))
    return Table(
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


def variants_table(found: Findings) -> Table:
    """Log strengths under each other choice, one column an arm."""
    arms = tuple(row.arm for row in found.estimate.strengths) if found.estimate else found.arms
    return Table(
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
            for variant in found.variants
        ),
    )


def strata_table(found: Findings) -> Table:
    """Elo of each arm in each stratum."""
    by = found.settings.by or "stratum"
    rows: list[tuple[Value, ...]] = []
    for stratum in found.strata:
        if stratum.estimate is None:
            rows.append((stratum.name, stratum.n_votes, "no estimate", None, None, None))
            continue
        rows += [
            (stratum.name, stratum.n_votes, row.arm, row.elo, row.elo_low, row.elo_high)
            for row in stratum.estimate.strengths
        ]
    return Table(
        name="strata",
        caption=f"Elo of each arm by {by}",
        columns=(
            Column(by, by.capitalize(), "text"),
            Column("n_votes", "Votes", "count"),
            Column("arm", "Arm", "text"),
            Column("elo", "Elo", digits=1),
            Column("elo_low", "Low", digits=1),
            Column("elo_high", "High", digits=1),
        ),
        rows=tuple(rows),
        note=found.strata_note,
    )


def strata_contrasts_table(found: Findings, *, limit: int | None = CONTRASTS_SHOWN) -> Table:
    """How contrasts of arms differ between strata, smallest p first."""
    rows = sorted(found.strata_contrasts, key=lambda r: (r.p, r.stratum_a, r.stratum_b, r.arm_a, r.arm_b))
    shown = rows if limit is None else rows[:limit]
    return Table(
        name="strata-contrasts",
        caption=f"Difference of each contrast of arms between two values of {found.settings.by}, in log-odds"
        + (
            f"; {len(shown)} with the smallest p, all {len(rows)} in strata-contrasts.csv"
            if len(shown) < len(rows)
            else ""
        ),
        columns=(
            Column("stratum_a", "In", "text"),
            Column("stratum_b", "Against", "text"),
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against arm", "text"),
            Column("difference", "Difference", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("p", "p", "p"),
            Column("p_holm", "p (Holm)", "p"),
        ),
        rows=tuple(
            (r.stratum_a, r.stratum_b, r.arm_a, r.arm_b, r.difference, r.low, r.high, r.p, r.p_holm) for r in shown
        ),
    )


def sequential_table(found: Findings) -> Table:
    """Anytime-valid intervals of each pair; no rows where they were not asked for."""
    return Table(
        name="sequential",
        caption=f"Win rate with {100 * found.settings.estimate.confidence:g} % bounds that hold at every look",
        columns=(
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("n_annotators", "Annotators", "count"),
            Column("n_votes", "Votes", "count"),
            Column("win_rate", "Win rate", "percent"),
            Column("low", "Low", "percent"),
            Column("high", "High", "percent"),
            Column("decided_after", "Even rate excluded after", "count"),
        ),
        rows=tuple(
            (r.arm_a, r.arm_b, r.n_annotators, r.n_votes, r.win_rate, r.low, r.high, r.decided_after)
            for r in found.anytime
        ),
    )


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.settings.confidence:g} %"
