"""The pairs of arms: votes and raw win rates, their matrix with the residuals of the model, bounds for every look.

Everywhere the stronger estimate of a pair comes first, and pairs are ordered as the strengths are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from analysis.report.kit.escape import short_labels
from analysis.report.kit.section import LATEX_ROWS, ROWS_SHOWN, Section, with_rows
from analysis.report.kit.style import CELL_INK, GRID, MOST_ARMS, MUTED, Draft, new_figure
from analysis.report.kit.table import Column, DataTable, Value, p_words, signed
from analysis.report.subjects.claims import percent_words
from analysis.stats import (
    AnytimeRate,
    ContrastRow,
    Estimate,
    EstimateSettings,
    PairResidual,
    RawPair,
    Rows,
    VoteCounts,
    raw_pairs,
)
from analysis.stats.results import Ties

# Blue and orange stay apart for every common form of colour blindness; both ends are light enough for dark text.
DIVERGING = LinearSegmentedColormap.from_list(
    "orange-white-blue", ["#ee9a48", "#f8d9b6", "#f5f5f5", "#c4dff4", "#5ba3e0"]
)

WRITTEN_UP_TO = 14

#: By (arm, other arm): share of the pair's votes that the arm won beyond the model.
Residuals = dict[tuple[str, str], float]

# Colours run from a win rate of 20 % to one of 80 %; few pairs of image models are outside.
LOW_END = 0.2


def find_raw_pairs(counts: VoteCounts, estimate: Estimate | None, settings: EstimateSettings) -> tuple[RawPair, ...]:
    """Counts of every pair; with ties dropped, rate and bounds are of the decided votes and the ties stay counted."""
    if estimate is not None:
        return tuple(pair.raw for pair in estimate.pairwise)
    return raw_pairs(counts, confidence=settings.confidence, intervals=settings.intervals, ties=settings.ties)


def best_first(estimate: Estimate) -> Estimate:
    """The same estimate; its pairs run from (best, second) to (last but one, last), never the weaker arm first."""
    place = {row.arm: index for index, row in enumerate(estimate.strengths)}
    turned = [p if place[p.arm_a] < place[p.arm_b] else turn_pair(p) for p in estimate.pairwise]
    return replace(estimate, pairwise=Rows(sorted(turned, key=lambda pair: (place[pair.arm_a], place[pair.arm_b]))))


def turn_pair(pair: ContrastRow) -> ContrastRow:
    """The same contrast seen from the other arm."""
    # Not by dataclasses.replace, which takes three times as long: three hundred arms have 44,850 pairs.
    turned = {
        "arm_a": pair.arm_b,
        "arm_b": pair.arm_a,
        "raw": turn_raw(pair.raw),
        "log_odds": -pair.log_odds,
        "low": -pair.high,
        "high": -pair.low,
        "low_all": -pair.high_all,
        "high_all": -pair.low_all,
        "win_probability": 1 - pair.win_probability,
        "win_probability_low": 1 - pair.win_probability_high,
        "win_probability_high": 1 - pair.win_probability_low,
        "elo_difference": -pair.elo_difference,
        "prob_superior": 1 - pair.prob_superior,
    }
    return ContrastRow(**{**vars(pair), **turned})


def turn_raw(pair: RawPair) -> RawPair:
    """The same counts seen from the other arm."""
    turned = {
        "arm_a": pair.arm_b,
        "arm_b": pair.arm_a,
        "wins_a": pair.wins_b,
        "wins_b": pair.wins_a,
        "win_rate": _rest(pair.win_rate),
        "low": _rest(pair.high),
        "high": _rest(pair.low),
        "win_rate_without_ties": _rest(pair.win_rate_without_ties),
    }
    return RawPair(**{**vars(pair), **turned})


def _rest(share: float | None) -> float | None:
    return None if share is None else 1 - share


def pairs_section(raw: tuple[RawPair, ...], estimate: Estimate | None, *, arms: tuple[str, ...], ties: Ties) -> Section:
    """Every pair: what the votes say, and the model's contrast. `arms` gives the order of the matrix."""
    counted = raw_table(raw, ties=ties)
    residuals = {} if estimate is None else _residuals(estimate)
    return Section(
        "pairs",
        "Win rates of pairs",
        paragraphs=() if estimate is None else (fit_words(estimate),),
        figures=(partial(draw_matrix, raw, arms, residuals),),
        tables=(counted.first(ROWS_SHOWN, file="winrates.csv"),),
        csv=(winrates_csv_table(counted, estimate),),
        latex=(counted.first(LATEX_ROWS, file="winrates.csv"),),
    )


def fit_words(estimate: Estimate) -> str:
    """Whether one strength for each arm fits the votes, and how far that was tested."""
    fit, alpha = estimate.model_fit, 1 - estimate.settings.confidence
    text = f"The deviance of the model is {signed(fit.deviance, 1)} on {fit.deviance_df:,} degrees of freedom."
    if fit.test is None:
        return f"{text} The fit was not tested: {fit.why}."
    found = (
        "the model does not fit, see the warning above"
        if fit.test.p < alpha
        else "no misfit was detected; a small one may exist"
    )
    return (
        f"{text} One test of all pairs together, with annotators and prompts as clusters, gives p "
        f"{p_words(fit.test.p)}: {found}. The matrix states for each pair by how many points the votes exceed the "
        "model's expectation."
    )


def _residuals(estimate: Estimate) -> Residuals:
    """What each arm won beyond the model, by (arm, other arm), as a share of the pair's votes."""
    found: Residuals = {}
    for row in estimate.model_fit.residuals:
        found[row.arm_a, row.arm_b], found[row.arm_b, row.arm_a] = row.excess, -row.excess
    return found


def sequential_section(anytime: tuple[AnytimeRate, ...], *, confidence: float) -> Section:
    """Intervals that hold at every look; empty if they were not asked for."""
    title = "Looking while the study runs"
    if not anytime:
        return Section("sequential", title)
    return Section(
        "sequential",
        title,
        paragraphs=(
            "These intervals hold at every look and for all pairs together, so a study may be watched and stopped by "
            "what they show; the other intervals and p-values of this report may not be used that way. They are wider "
            "for it. The rate is the model's, and annotators and prompts count as random, as elsewhere in the report.",
        ),
        tables=with_rows(sequential_table(anytime, confidence=confidence)),
    )


def raw_table(raw: tuple[RawPair, ...], *, ties: Ties) -> DataTable:
    """Counts and raw win rate of each pair that has votes."""
    counted = "left out" if ties == "drop" else "as half a win"
    return DataTable(
        name="winrates",
        caption=f"Votes of each pair of arms; win rate of the first arm with ties {counted}",
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
        rows=tuple(_raw_cells(pair) for pair in raw),
    )


def _raw_cells(pair: RawPair) -> tuple[Value, ...]:
    counts = (pair.n_votes, pair.wins_a, pair.wins_b, pair.ties)
    return (pair.arm_a, pair.arm_b, *counts, pair.win_rate, pair.low, pair.high)


def winrates_csv_table(raw: DataTable, estimate: Estimate | None) -> DataTable:
    """The contents of `winrates.csv`: the table of counts (`raw`), then the model's contrast if there is one."""
    more = (
        Column("model_win_rate", ""),
        Column("model_low", ""),
        Column("model_high", ""),
        Column("p", ""),
        Column("p_holm", ""),
        Column("excess", ""),
        Column("excess_p_holm", ""),
    )
    misfits = {} if estimate is None else {(r.arm_a, r.arm_b): r for r in estimate.model_fit.residuals}
    by_pair = {} if estimate is None else {(p.arm_a, p.arm_b): p for p in estimate.pairwise}
    rows = []
    for cells in raw.rows:
        contrast = by_pair.get((str(cells[0]), str(cells[1])))
        model: tuple[Value, ...] = (None,) * len(more)
        if contrast is not None:
            model = (
                contrast.win_probability,
                contrast.win_probability_low,
                contrast.win_probability_high,
                contrast.p,
                contrast.p_holm,
                *_misfit_cells(misfits, contrast.arm_a, contrast.arm_b),
            )
        rows.append((*cells, *model))
    return DataTable(name="winrates", caption=raw.caption, columns=(*raw.columns, *more), rows=tuple(rows))


def _misfit_cells(misfits: dict[tuple[str, str], PairResidual], arm_a: str, arm_b: str) -> tuple[Value, Value]:
    if (arm_a, arm_b) in misfits:
        row = misfits[arm_a, arm_b]
        return row.excess, row.p_holm
    if (arm_b, arm_a) in misfits:
        row = misfits[arm_b, arm_a]
        return -row.excess, row.p_holm
    return None, None


def sequential_table(anytime: tuple[AnytimeRate, ...], *, confidence: float) -> DataTable:
    """Intervals of each pair that hold at every look."""
    return DataTable.of(
        "sequential",
        anytime,
        caption=f"Win rate with {percent_words(confidence)} bounds that hold for all pairs at every look",
        columns=(
            Column("arm_a", "Arm", "text"),
            Column("arm_b", "Against", "text"),
            Column("n_annotators", "Annotators so far", "count"),
            Column("n_votes", "Votes so far", "count"),
            Column("win_rate", "Win rate", "percent"),
            Column("low", "Low", "percent"),
            Column("high", "High", "percent"),
            Column("verdict", "Verdict", "text"),
            Column("decided_after", "Even rate excluded after", "count"),
        ),
    )


def _write_cell(
    axes: Axes, x: int, y: int, rate: float | None, n: int, residual: float | None, *, with_fit: bool
) -> None:
    """The numbers of one cell; nothing in the diagonal."""
    if rate is None:
        if x != y:
            axes.text(x, y, "no votes", ha="center", va="center", color=MUTED, fontsize=8)
        return
    lines = [(f"{100 * rate:.1f} %", 8.5), (f"n = {n:,}", 8.0)]
    if residual is not None:
        lines.append((f"fit {'+' if residual > 0 else ''}{signed(100 * residual, 1)}", 8.0))
    top, step = (-0.3, 0.29) if with_fit else (-0.1, 0.34)
    for line, (text, size) in enumerate(lines):
        axes.text(
            x, y + top + line * step, text, ha="center", va="center", color=CELL_INK, fontsize=size, in_layout=False
        )


def _closed(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [*corners, corners[0]]


def draw_matrix(raw: tuple[RawPair, ...], order: tuple[str, ...], residuals: Residuals) -> Draft:
    """`order` gives rows from top and columns from left. Above fourteen arms cells carry colour only."""
    left_out = max(0, len(order) - MOST_ARMS)
    order = order[:MOST_ARMS]
    k = len(order)
    labels = short_labels(order, width=22)
    rates: dict[tuple[str, str], tuple[float | None, int]] = {}
    for pair in raw:
        rates[pair.arm_a, pair.arm_b] = (pair.win_rate, pair.n_votes)
        rates[pair.arm_b, pair.arm_a] = (None if pair.win_rate is None else 1 - pair.win_rate, pair.n_votes)
    written = k <= WRITTEN_UP_TO
    with_fit = bool(written and residuals)
    cell_w, cell_h = (0.72, 0.6 if with_fit else 0.48) if written else (0.26, 0.26)
    figure = new_figure(1.9 + cell_w * k, 1.3 + cell_h * k)
    axes = figure.add_subplot()
    known, unknown, colours = [], [], []
    for i, row in enumerate(order):
        for j, column in enumerate(order):
            rate, n = rates.get((row, column), (None, 0))
            cell = [(j - 0.5, i - 0.5), (j + 0.5, i - 0.5), (j + 0.5, i + 0.5), (j - 0.5, i + 0.5)]
            if rate is not None:
                known.append(cell)
                colours.append(DIVERGING((rate - LOW_END) / (1 - 2 * LOW_END)))
            elif i != j:
                unknown.append(cell)
            if written:
                _write_cell(axes, j, i, rate, n, residuals.get((row, column)), with_fit=with_fit)
    # A collection and one path: a thousand single or hatched rectangles take longer than the rest of the report.
    axes.add_collection(PolyCollection(known, facecolors=colours, edgecolors=GRID, linewidths=0.7))
    if unknown:
        outlines = Path.make_compound_path(*(Path(cell, closed=True) for cell in map(_closed, unknown)))
        axes.add_patch(PathPatch(outlines, facecolor="none", edgecolor=GRID, linewidth=0.7, hatch="///"))
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k - 0.5, -0.5)
    axes.set_xticks(
        range(k), labels, rotation=35 if k > 2 else 0, ha="left" if k > 2 else "center", rotation_mode="anchor"
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_yticks(range(k), labels)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("… against this arm")
    axes.set_ylabel("this arm won …")
    n_pairs = sum(pair.n_votes > 0 for pair in raw)
    return Draft(
        name="winrates",
        figure=figure,
        title="Win rate of each arm against each other arm",
        alt=(
            f"Matrix of {k} by {k} arms, {n_pairs} compared pairs. Each cell gives the share of votes that the "
            f"row's arm won "
            "against the column's arm, a tie as half a win, and the number of votes. The same numbers are in the "
            "table of pairs."
        ),
        caption=(
            "Share of votes that the arm in the row won against the arm in the column (a tie counts as half a win) "
            "and the number of votes. Blue: the row's arm won more; orange: it won less."
            + (
                " “fit”: points that the row's arm won beyond what the strengths and, if the model has one, the "
                "position effect say."
                if with_fit
                else ""
            )
            + (f" The first {MOST_ARMS} arms; {left_out} more are in winrates.csv." if left_out else "")
        ),
    )
