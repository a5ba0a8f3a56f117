"""The model with covariates, a second one next to the reported one: its fit, its section and its tables."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.report.kit.section import Section
from analysis.report.kit.table import Column, DataTable, p_value, signed
from analysis.stats import CovariateFit, EstimateSettings, fit_covariates
from analysis.stats.covariates import Covariate
from analysis.stats.errors import AnalysisError
from analysis.votes import VotesTable


@dataclass(frozen=True)
class Adjusted:
    """The fit with covariates, or the reason why these votes give none."""

    fit: CovariateFit | None
    problem: str | None


def find_adjusted(kept: VotesTable, covariates: tuple[str, ...], settings: EstimateSettings) -> Adjusted | None:
    """Fit the kept votes with the covariates; None if no covariate was asked for."""
    if not covariates:
        return None
    try:
        return Adjusted(fit_covariates(kept, covariates, settings=settings), None)
    except AnalysisError as error:
        return Adjusted(None, str(error))


def covariate_section(found: Adjusted | None, alpha: float) -> Section:
    """Empty if no covariate was asked for."""
    if found is None:
        return Section("covariates", "With covariates")
    if found.fit is None:
        return Section("covariates", "With covariates", points=(f"No estimate with covariates. {found.problem}",))
    fit, terms = found.fit, terms_table(found.fit)
    return Section(
        "covariates",
        "With covariates",
        paragraphs=(_what(fit), _verdict(fit, alpha), *fit.warnings),
        tables=(adjusted_table(fit), terms.without_empty()),
        csv=(terms,),
    )


def _what(fit: CovariateFit) -> str:
    text = "A second model, in addition to the reported one, with " + "; ".join(
        _meaning(each) for each in fit.covariates
    )
    text += f". {fit.n_votes:,} votes"
    if fit.n_left_out:
        text += f"; {fit.n_left_out:,} without a value are left out of it"
    return (
        f"{text}. Its intervals are sandwiches of the kind “{fit.intervals}”. A covariate was measured, not assigned: "
        "a coefficient is an association, not necessarily a cause."
    )


def _meaning(each: Covariate) -> str:
    if each.kind == "levels":
        return f"{each.name} ({', '.join(each.levels)}): what each arm gains or loses there, against the plain average"
    scale = f"{each.sd:.3g}" if each.sd is not None else ""
    if each.kind == "difference":
        return f"the difference in {each.name}, left minus right, in units of its standard deviation ({scale})"
    name = f"the logarithm of {each.name}" if each.log else each.name
    return f"{name}: what each arm gains or loses for one standard deviation ({scale}) above the mean"


def _verdict(fit: CovariateFit, alpha: float) -> str:
    detected = [term for term in fit.terms if term.p_holm < alpha]
    if not detected:
        return (
            "No coefficient was detected after adjustment for their number; this does not say that there is none: see "
            "the intervals."
        )
    first = min(detected, key=lambda term: term.p_holm)
    where = " ".join(word for word in (first.covariate, first.level) if word)
    what = f"for {first.arm} with {where}" if first.arm else f"of {where}"
    return (
        f"{len(detected)} of {len(fit.terms)} coefficients were detected after Holm's adjustment, first the one {what} "
        f"({signed(first.coefficient, 3)} log-odds, adjusted p {p_value(first.p_holm)})."
    )


def adjusted_table(fit: CovariateFit) -> DataTable:
    """Strengths at equal pictures, mean values and average levels, next to those without covariates."""
    return DataTable(
        name="adjusted",
        caption="Log strength in the model with covariates, and without them on the same votes",
        columns=(
            Column("arm", "Arm", "text"),
            Column("log_strength", "With", digits=3),
            Column("se", "SE", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("without", "Without", digits=3),
        ),
        rows=tuple((row.arm, row.log_strength, row.se, row.low, row.high, row.without) for row in fit.strengths),
        note="Log-odds change scale when a model explains more: a strength may grow without any difference in taste.",
    )


def terms_table(fit: CovariateFit) -> DataTable:
    """Every coefficient."""
    return DataTable(
        name="covariates",
        caption="Coefficients of the covariates, in log-odds",
        columns=(
            Column("covariate", "Covariate", "text"),
            Column("level", "Level", "text"),
            Column("arm", "Arm", "text"),
            Column("coefficient", "Coefficient", digits=3),
            Column("se", "SE", digits=3),
            Column("low", "Low", digits=3),
            Column("high", "High", digits=3),
            Column("p", "p", "p"),
            Column("p_holm", "p (Holm)", "p"),
        ),
        rows=tuple((t.covariate, t.level, t.arm, t.coefficient, t.se, t.low, t.high, t.p, t.p_holm) for t in fit.terms),
    )
