"""The tables of pairs of arms: votes and raw win rates, contrasts of the model, bounds for every look."""

from __future__ import annotations

from analysis.report.findings import Findings
from analysis.report.kit.table import Column, Table, Value
from analysis.report.subjects.claims import percent_words, share_words
from analysis.stats import Estimate, PairRow, RawPair, win_probability


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
    confidence = estimate.settings.confidence
    alpha, percent = 1 - confidence, percent_words(confidence)
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
        rows=tuple(_contrast_cells(pair, alpha) for pair in estimate.pairwise),
        note=(
            f"Low and High: {percent} interval of the pair alone; 'all pairs': intervals that hold for all pairs at "
            "once. P(stronger): one-sided confidence that the first arm is the stronger. "
            f"Detected: Holm-adjusted p below {alpha:.3g}. Detectable from: the true win rate that four of five such "
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


def sequential_table(found: Findings) -> Table:
    """Anytime-valid intervals of each pair; no rows where they were not asked for."""
    return Table.of(
        "sequential",
        found.anytime,
        caption=f"Win rate with {percent_words(found.settings.estimate.confidence)} bounds that hold at every look",
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
    )
