"""The power curve of a plan: power against the true win rate, with and without differences of taste."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.planning.simulation import SimulatedPower
from qsched.planning import StudyPlan, planned_power
from qsched.records import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png", ".pdf")
_BLUE, _GREY, _RED = "#1f5fa8", "#777777", "#b3412e"


def write_curve(
    plan: StudyPlan, path: Path, *, power: float, detectable: float | None, simulated: SimulatedPower | None
) -> None:
    """Draw the curve into `path`; its ending gives the format."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not one of {', '.join(FORMATS)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without dates and random ids the same plan gives the same bytes.
    options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 150} if path.suffix == ".png" else {}
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "power"
    power_curve(plan, power=power, detectable=detectable, simulated=simulated).savefig(path, **options)


def power_curve(plan: StudyPlan, *, power: float, detectable: float | None, simulated: SimulatedPower | None) -> Figure:
    """The figure: the formula, the same with independent votes, the detectable win rate, the simulated point."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    top = min(1 - plan.tie_rate / 2 - 1e-3, max(0.7, 0.5 + 2 * ((detectable or 0.7) - 0.5)))
    rates = np.linspace(0.5, top, 61)
    found = [planned_power(plan, float(rate)) for rate in rates]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    alone = [f.power_if_independent for f in found]
    axes.plot(rates, alone, "--", color=_GREY, lw=1.3, label="if votes were independent")
    axes.plot(rates, [f.power for f in found], color=_BLUE, lw=2, label="tastes differ (formula)")
    axes.axhline(power, color=_GREY, lw=0.8, ls=":")
    if detectable is not None:
        axes.plot([detectable], [power], "o", color=_BLUE, ms=6)
        axes.annotate(
            f"{100 * detectable:.1f} %", (detectable, power), xytext=(8, -14), textcoords="offset points", color=_BLUE
        )
    if simulated is not None:
        axes.errorbar(
            [simulated.win_rate],
            [simulated.power],
            yerr=[1.96 * simulated.error],
            fmt="s",
            color=_RED,
            ms=5,
            capsize=3,
            label=f"simulated ({simulated.studies} studies)",
        )
    axes.set(
        xlabel="true win rate (ties half)",
        ylabel="power",
        xlim=(0.5, top),
        ylim=(0, 1.02),
        title=f"{plan.annotators} annotators, {plan.prompts} prompts, {plan.votes_per_pair} votes per pair"
        + (f", {plan.tests} comparisons" if plan.tests > 1 else ""),
    )
    axes.xaxis.set_major_locator(MultipleLocator(0.05 if top - 0.5 > 0.12 else 0.02))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
