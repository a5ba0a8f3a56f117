"""The contrasts: how far each arm is from the baseline, or each pair apart, by the model. The figure of the paper.

Each contrast has the interval of its own and the one that holds for all pairs at once; the summary's words come from
the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from operator import attrgetter

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from analysis.report.kit.escape import short_labels
from analysis.report.kit.section import LATEX_ROWS, ROWS_SHOWN, Draw, Section
from analysis.report.kit.style import BLUE, GRID, INK, MOST_ARMS, MUTED, PAPER, ROW_GAP, Draft, name_rows, new_figure
from analysis.report.kit.table import Column, DataTable, Value
from analysis.report.subjects.claims import margin_words, percent_words, share_words
from analysis.report.subjects.pairs import turn_pair
from analysis.stats import ContrastRow, Estimate, log_odds, win_probability

# All pairs are drawn up to those of eight arms; with more arms, neighbours in the order of strength.
PAIRS_DRAWN = 28


def contrasts_section(estimate: Estimate | None, *, baseline: str | None, margin: float | None) -> Section:
    """Forest plots of the contrasts and their table; empty without an estimate."""
    title = "Differences between arms" if baseline is None else f"Differences from {baseline}"
    if estimate is None:
        return Section("contrasts", title)
    every = contrasts_table(estimate)
    table = every if baseline is None else contrasts_table(estimate, baseline=baseline)
    return Section(
        "contrasts",
        title,
        figures=_figures(estimate, baseline, margin),
        tables=(table.first(ROWS_SHOWN, file="contrasts.csv"),),
        csv=(contrasts_csv_table(estimate, every),),
        latex=(every.first(LATEX_ROWS, file="contrasts.csv"),),
    )


def _figures(estimate: Estimate, baseline: str | None, margin: float | None) -> tuple[Draw, ...]:
    pairs = tuple(estimate.pairwise)
    against = of_baseline(pairs, baseline)
    if len(pairs) <= PAIRS_DRAWN:
        drawn, which = pairs, "every pair of arms"
    else:
        order = [row.arm for row in estimate.strengths]
        neighbours = set(pairwise(order))
        drawn, which = tuple(pair for pair in pairs if (pair.arm_a, pair.arm_b) in neighbours), "neighbours in strength"
    named = partial(draw_contrasts, estimate=estimate, margin=margin)
    figures: list[Draw] = []
    if against:
        figures.append(partial(named, against, name="contrasts-baseline", which=f"each arm against {baseline}"))
    if not against or len(pairs) > len(against):
        figures.append(partial(named, drawn, name="contrasts", which=which))
    return tuple(figures)


def of_baseline(pairs: Sequence[ContrastRow], baseline: str | None) -> tuple[ContrastRow, ...]:
    """The pairs with the baseline, which comes second in each; in the order of the arms' strength."""
    if baseline is None:
        return ()
    turned = (
        pair if pair.arm_b == baseline else turn_pair(pair) for pair in pairs if baseline in (pair.arm_a, pair.arm_b)
    )
    return tuple(sorted(turned, key=lambda pair: (-pair.log_odds, pair.arm_a)))


def draw_contrasts(
    pairs: tuple[ContrastRow, ...], *, estimate: Estimate, margin: float | None, name: str, which: str
) -> Draft:
    """One row per contrast: estimate, its own interval (thick) and the one for all pairs at once (thin)."""
    left_out = max(0, len(pairs) - MOST_ARMS)
    pairs = pairs[:MOST_ARMS]
    alpha, percent = 1 - estimate.settings.confidence, percent_words(estimate.settings.confidence)
    one_baseline = name == "contrasts-baseline"
    width = 28 if one_baseline else 18
    first = short_labels(tuple(dict.fromkeys(pair.arm_a for pair in pairs)), width=width)
    second = short_labels(tuple(dict.fromkeys(pair.arm_b for pair in pairs)), width=width)
    label_a = dict(zip(dict.fromkeys(pair.arm_a for pair in pairs), first, strict=True))
    label_b = dict(zip(dict.fromkeys(pair.arm_b for pair in pairs), second, strict=True))
    labels = [label_a[p.arm_a] if one_baseline else f"{label_a[p.arm_a]} – {label_b[p.arm_b]}" for p in pairs]
    figure = new_figure(6.4, 1.35 + 0.25 * len(pairs))
    axes = figure.add_subplot()
    axes.axvline(0, color=MUTED, linewidth=1, zorder=0)
    if margin is not None:
        axes.axvspan(-log_odds(0.5 + margin), log_odds(0.5 + margin), color=GRID, alpha=0.6, linewidth=0, zorder=0)
    _draw_rows(axes, pairs, alpha=alpha)
    name_rows(axes, range(len(pairs) - 1, -1, -1), labels)
    axes.set_ylim(-0.7, len(pairs) - 0.3)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * win_probability(value):.0f} %"))
    axes.set_xticks(_ticks(*axes.get_xlim()))
    axes.set_xlabel(f"win rate of the first arm, by the model ({share_words(estimate)})")
    _write_numbers(axes, pairs)
    handles = [
        axes.plot([], [], color=BLUE, linewidth=3, marker="o", markersize=5)[0],
        axes.plot([], [], color=BLUE, linewidth=1)[0],
        axes.plot([], [], "o", color=BLUE, markerfacecolor=PAPER, markersize=5)[0],
    ]
    names = [f"{percent} interval of the pair", "for all pairs at once", "difference not detected"]
    figure.legend(handles, names, loc="outside lower center", ncols=3, labelcolor=INK)
    spoken = "; ".join(
        f"{label} {100 * p.win_probability:.1f} %, {100 * p.win_probability_low:.1f} to "
        f"{100 * p.win_probability_high:.1f} %"
        for label, p in zip(labels, pairs, strict=True)
    )
    caption = (
        f"Win rate by the model, {which}. Thick: {percent} interval of the pair alone; thin: intervals that hold for "
        "all pairs at once. Filled: a difference was detected (p adjusted by Holm). Each interval is of the difference "
        "itself, not of an arm."
    )
    if margin is not None:
        caption += f" Grey: within {margin_words(margin)}."
    if left_out:
        caption += f" {left_out} more are in contrasts.csv."
    return Draft(
        name=name,
        figure=figure,
        title=f"Differences: {which}",
        alt=f"Forest plot of win rates with {percent} intervals. {spoken}.",
        caption=caption,
    )


def _draw_rows(axes: Axes, pairs: tuple[ContrastRow, ...], *, alpha: float) -> None:
    """All intervals in two collections and all markers in two lines: an artist for each would take most of the time."""
    places = range(len(pairs) - 1, -1, -1)
    axes.hlines(places, [p.low_all for p in pairs], [p.high_all for p in pairs], color=BLUE, linewidth=1, zorder=2)
    axes.hlines(places, [p.low for p in pairs], [p.high for p in pairs], color=BLUE, linewidth=3, zorder=2)
    for face, detected in ((BLUE, True), (PAPER, False)):
        chosen = [(p.log_odds, place) for p, place in zip(pairs, places, strict=True) if (p.p_holm < alpha) == detected]
        if chosen:
            x, y = zip(*chosen, strict=True)
            axes.plot(x, y, "o", color=BLUE, markerfacecolor=face, markersize=5.5, markeredgewidth=1.3)


def _ticks(low: float, high: float) -> list[float]:
    """Round win rates inside the axis, as log-odds: at most nine."""
    for step in (1, 2, 5, 10, 20):
        rates = [rate / 100 for rate in range(step, 100, step) if rate % step == 50 % step]
        found = [log_odds(rate) for rate in rates if low <= log_odds(rate) <= high]
        if len(found) <= 9:
            return found
    return [log_odds(rate) for rate in (0.01, 0.1, 0.5, 0.9, 0.99)]


def _write_numbers(axes: Axes, pairs: tuple[ContrastRow, ...]) -> None:
    """The interval in figures at the right of each row."""
    placed, vertical, horizontal = axes.get_yaxis_text2_transform(ROW_GAP)
    for place, p in zip(range(len(pairs) - 1, -1, -1), pairs, strict=True):
        low, high = 100 * p.win_probability_low, 100 * p.win_probability_high
        text = f"{100 * p.win_probability:.1f} ({low:.1f} to {high:.1f})"
        axes.text(1, place, text, transform=placed, va=vertical, ha=horizontal, color=MUTED, fontsize=8)


def contrasts_table(estimate: Estimate, *, baseline: str | None = None) -> DataTable:
    """The model's contrast of every pair, or of those with the baseline, with what would have been detected."""
    confidence = estimate.settings.confidence
    alpha, percent = 1 - confidence, percent_words(confidence)
    pairs = of_baseline(estimate.pairwise, baseline) or tuple(estimate.pairwise)
    which = "of arms" if baseline is None else f"from {baseline} (all pairs are in contrasts.csv)"
    return DataTable(
        name="contrasts",
        caption=f"Differences {which} by the model: win rate of the first arm ({share_words(estimate)})",
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
        rows=tuple(_contrast_cells(pair, alpha) for pair in pairs),
        note=(
            f"Low and High: {percent} interval of the pair alone; 'all pairs': intervals that hold for all pairs at "
            "once. P(stronger): one-sided confidence that the first arm is the stronger. "
            f"Detected: Holm-adjusted p below {alpha:.3g}. Detectable from: the true win rate that four of five such "
            "studies would have detected; 'not detected' says nothing about differences below it."
            + "".join(f" {warning}" for warning in estimate.uncertainty.warnings)
        ),
    )


def _contrast_cells(pair: ContrastRow, alpha: float) -> tuple[Value, ...]:
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


def contrasts_csv_table(estimate: Estimate, shown: DataTable) -> DataTable:
    """The contents of `contrasts.csv`: every pair as in the table `shown`, then its contrast as log-odds and in Elo."""
    more = {
        "log_odds": "log_odds",
        "log_odds_se": "se",
        "log_odds_low": "low",
        "log_odds_high": "high",
        "log_odds_low_all": "low_all",
        "log_odds_high_all": "high_all",
        "elo_difference": "elo_difference",
    }
    own = attrgetter(*more.values())
    rows = zip(shown.rows, estimate.pairwise, strict=True)
    return DataTable(
        name="contrasts",
        caption=shown.caption,
        columns=(*shown.columns, *(Column(name, "") for name in more)),
        rows=tuple((*cells, *own(pair)) for cells, pair in rows),
    )
