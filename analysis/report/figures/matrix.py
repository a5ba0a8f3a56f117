"""Win-rate matrix: the share of votes that the row's arm won against the column's arm, with counts."""

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from analysis.report.kit.escape import short_labels
from analysis.report.kit.style import CELL_INK, GRID, MUTED, Draft, new_figure
from analysis.stats import RawPair

# Blue and orange stay apart for every common form of colour blindness; both ends are light enough for dark text.
DIVERGING = LinearSegmentedColormap.from_list(
    "orange-white-blue", ["#ee9a48", "#f8d9b6", "#f5f5f5", "#c4dff4", "#5ba3e0"]
)
WRITTEN_UP_TO = 14
# Colours run from a win rate of 20 % to one of 80 %; few pairs of image models lie outside.
LOW_END = 0.2


def draw_matrix(raw: tuple[RawPair, ...], order: tuple[str, ...]) -> Draft:
    """`order` gives rows from top and columns from left. Above fourteen arms cells carry colour only."""
    k = len(order)
    labels = short_labels(order, width=22)
    rates: dict[tuple[str, str], tuple[float | None, int]] = {}
    for pair in raw:
        rates[pair.arm_a, pair.arm_b] = (pair.win_rate, pair.n_votes)
        rates[pair.arm_b, pair.arm_a] = (None if pair.win_rate is None else 1 - pair.win_rate, pair.n_votes)
    written = k <= WRITTEN_UP_TO
    cell_w, cell_h = (0.72, 0.48) if written else (0.26, 0.26)
    figure = new_figure(1.9 + cell_w * k, 1.3 + cell_h * k)
    axes = figure.add_subplot()
    for i, row in enumerate(order):
        for j, column in enumerate(order):
            rate, n = rates.get((row, column), (None, 0))
            known = rate is not None
            axes.add_patch(
                Rectangle(
                    (j - 0.5, i - 0.5),
                    1,
                    1,
                    facecolor=DIVERGING((rate - LOW_END) / (1 - 2 * LOW_END)) if rate is not None else "none",
                    edgecolor=GRID,
                    linewidth=0.7,
                    hatch=None if known or i == j else "///",
                )
            )
            if written and rate is not None:
                axes.text(j, i - 0.1, f"{100 * rate:.1f} %", ha="center", va="center", color=CELL_INK, fontsize=8.5)
                axes.text(j, i + 0.24, f"n = {n:,}", ha="center", va="center", color=CELL_INK, fontsize=8)
            elif written and i != j:
                axes.text(j, i, "no votes", ha="center", va="center", color=MUTED, fontsize=8)
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
            "against the column's arm, a tie as half a win, and the number of votes. The same numbers stand in the "
            "table of pairs."
        ),
        caption=(
            "Share of votes that the arm in the row won against the arm in the column (a tie counts as half a win) "
            "and the number of votes. Blue: the row's arm won more; orange: it won less."
        ),
    )
