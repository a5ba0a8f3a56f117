"""A second look at a leaderboard: does an estimate exist, does the model fit, and which ranks do the votes support?

The numbers are those of the report (`findings`); this page says only what a reader of somebody's leaderboard asks, with
what a vote-level interval would have claimed beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from analysis.report.drawings import draw_all
from analysis.report.findings import Findings
from analysis.report.kit.escape import visible_text
from analysis.report.kit.section import Section
from analysis.report.kit.table import p_words, percent, signed
from analysis.report.prose.summary import summary_points
from analysis.report.subjects.contrasts import contrasts_section
from analysis.report.subjects.session import position_words
from analysis.report.subjects.strengths import strengths_section
from analysis.stats import ContrastRow, Estimate, EstimateSettings, QuadraticTest, count_votes, omnibus_test
from analysis.stats.errors import AnalysisError
from analysis.stats.spread import quantile
from analysis.votes import VotesTable
from analysis.votes.table import has_values
from qsched.pages import Cell, Figure, Table, render_page

TEMPLATE = Path(__file__).with_name("review.html.j2")
POWER = 0.8
#: Beyond this a number of votes only says that two arms are alike.
MOST_NEEDED = 10_000_000
#: More arms than this are in the report's files only.
ARMS_SHOWN = 60


@dataclass(frozen=True)
class Neighbours:
    """Two arms next to each other in the ranking: separated by the two-way interval, and by the vote-level one?

    `votes_needed`: votes in all for four of five such studies to separate them, if annotators, prompts and votes grow
    alike; None if they are separated, or if their estimates are equal.
    """

    first: str
    second: str
    win_rate: float
    low: float
    high: float
    p: float
    separated: bool
    separated_by_votes: bool
    votes_needed: float | None


def find_neighbours(estimate: Estimate) -> tuple[Neighbours, ...]:
    """In the order of the ranking; each pair is tested by itself."""
    pairs = {(pair.arm_a, pair.arm_b): pair for pair in estimate.pairwise}
    order = [row.arm for row in estimate.strengths]
    return tuple(_neighbours(pairs[a, b], estimate) for a, b in pairwise(order))


def _neighbours(pair: ContrastRow, estimate: Estimate) -> Neighbours:
    confidence = estimate.settings.confidence
    separated = pair.p < 1 - confidence
    needed = None
    if not separated and pair.log_odds != 0:
        wanted = quantile(confidence, math.inf) + quantile(2 * POWER - 1, math.inf)
        needed = estimate.n_votes * max(1.0, (wanted * pair.se / abs(pair.log_odds)) ** 2)
    by_votes = abs(pair.log_odds) > quantile(confidence, math.inf) * _vote_se(pair)
    return Neighbours(
        first=pair.arm_a,
        second=pair.arm_b,
        win_rate=pair.win_probability,
        low=pair.win_probability_low,
        high=pair.win_probability_high,
        p=pair.p,
        separated=separated,
        separated_by_votes=by_votes,
        votes_needed=needed,
    )


def _vote_se(pair: ContrastRow) -> float:
    return pair.se / math.sqrt(pair.design_effect) if pair.design_effect > 0 else pair.se


def separated_pairs(estimate: Estimate) -> tuple[int, int]:
    """Pairs that the two-way interval separates, and pairs that the vote-level interval would, each tested alone."""
    normal = quantile(estimate.settings.confidence, math.inf)
    ours = sum(pair.p < 1 - estimate.settings.confidence for pair in estimate.pairwise)
    theirs = sum(abs(pair.log_odds) > normal * _vote_se(pair) for pair in estimate.pairwise)
    return ours, theirs


def time_test(kept: VotesTable, settings: EstimateSettings) -> QuadraticTest | str:
    """Whether strengths differ between the earlier and the later half of the votes, or why that is not known."""
    time = next((name for name in ("answered_at", "served_at") if has_values(kept.frame, name)), None)
    if time is None:
        return "the votes have no times"
    known = kept.frame.filter(pl.col(time).is_not_null())
    middle = known[time].median()
    halves = {"earlier": known.filter(pl.col(time) <= middle), "later": known.filter(pl.col(time) > middle)}
    if any(half.is_empty() for half in halves.values()):
        return "all votes have one time"
    try:
        found = omnibus_test({name: count_votes(kept.with_frame(half)) for name, half in halves.items()}, settings)
    except AnalysisError as error:
        return f"a half of the votes has no estimate: {error}"
    return "the halves have fewer than two arms in common" if found is None else found


def review_page(found: Findings, time: QuadraticTest | str) -> str:
    """The page as text; everything that is not known is said."""
    settings = found.settings
    estimate = found.estimate
    figures: tuple[Figure, ...] = ()
    if estimate is not None:
        sections = (
            strengths_section(estimate, baseline=None),
            contrasts_section(estimate, baseline=None, margin=None),
        )
        figures = _figures(sections, found)
    neighbours = () if estimate is None else find_neighbours(estimate)
    return render_page(
        TEMPLATE,
        title=visible_text(settings.title),
        findings=tuple(visible_text(text) for text in _findings(found, neighbours, time)),
        warnings=tuple(visible_text(text) for text in found.warnings),
        simulated=found.n_simulated,
        figures=figures,
        ranks=None if estimate is None else _ranks(estimate),
        neighbours=_neighbours_table(neighbours),
        notes=tuple(visible_text(text) for text in found.notes),
        methods=_methods(found),
        command=settings.command,
        versions=", ".join(f"{name} {number}" for name, number in found.versions.items()),
    )


def _figures(sections: tuple[Section, ...], found: Findings) -> tuple[Figure, ...]:
    drawn = draw_all(sections, fonts=found.fonts, formats=())
    made = []
    for section in sections:
        for figure in drawn[section.anchor]:
            made.append(Figure(str(figure.svg), visible_text(figure.caption)))
    return tuple(made)


def _findings(found: Findings, neighbours: tuple[Neighbours, ...], time: QuadraticTest | str) -> list[str]:
    """What the votes support, most important first."""
    estimate = found.estimate
    if estimate is None:
        return [*summary_points(found)]
    alpha, k = found.settings.alpha, len(estimate.strengths)
    ours, theirs = separated_pairs(estimate)
    n_pairs, apart = len(estimate.pairwise), sum(row.separated for row in neighbours)
    best = estimate.strengths[0]
    points = [
        f"An estimate exists for {k} arms from {estimate.n_votes:,} votes"
        + (f" by {found.n_annotators:,} annotators" if found.n_annotators else "")
        + (f" on {found.n_prompts:,} prompts" if found.n_prompts else "")
        + ".",
        f"{ours} of {n_pairs} pairs, each by itself, are separated by intervals of the kind "
        f"“{estimate.uncertainty.kind}”; intervals that take votes as independent, as leaderboards print them, "
        f"would separate {theirs}.",
        f"Of {len(neighbours)} neighbours in the ranking {apart} are separated. {best.arm} is first; its rank may be "
        f"{best.rank_low} to {best.rank_high}.",
    ]
    if math.isfinite(estimate.design_effect):
        points.append(
            f"The design effect is {estimate.design_effect:.2f}: the votes know about as much as "
            f"{estimate.n_votes / estimate.design_effect:,.0f} independent ones."
        )
    fit = estimate.model_fit
    if fit.test is None:
        points.append(f"Whether one strength for each arm fits was not tested: {fit.why}.")
    elif fit.test.p < alpha:
        points.append(fit.words(alpha))
    else:
        points.append(f"No misfit of the model was detected (p {p_words(fit.test.p)}).")
    points.append(
        position_words(found.session.position, confidence=found.settings.estimate.confidence, modelled=None)
        or "Nothing is known of a preference for a side."
    )
    points.append(_time_words(time, alpha))
    return points


def _time_words(time: QuadraticTest | str, alpha: float) -> str:
    if isinstance(time, str):
        return f"Whether strengths changed over time is not known: {time}."
    verb = "Strengths differ" if time.p < alpha else "No difference was detected"
    return f"{verb} between the earlier and the later half of the votes (p {p_words(time.p)})."


def _ranks(estimate: Estimate) -> Table:
    rows = tuple(
        (
            Cell(visible_text(row.arm)),
            f"{row.rank_low}" if row.rank_low == row.rank_high else f"{row.rank_low} to {row.rank_high}",
            signed(row.elo, 0),
            Cell("", unbroken=f"{signed(row.elo_low, 0)} to {signed(row.elo_high, 0)}"),
            f"±{signed((row.high_vote - row.low_vote) / 2 * (row.elo_high - row.elo_low) / (row.high - row.low), 0)}",
            f"{row.n_votes:,}",
        )
        for row in tuple(estimate.strengths)[:ARMS_SHOWN]
    )
    columns = ("arm", "rank", "Elo", "interval", "if votes were independent", "votes")
    return Table(columns, rows, caption="Ranks that no comparison of all arms at once excludes; Elo 1000 is the mean")


def _neighbours_table(neighbours: tuple[Neighbours, ...]) -> Table:
    rows = tuple(
        (
            Cell(f"{visible_text(row.first)} – {visible_text(row.second)}"),
            f"{percent(row.win_rate)}",
            Cell("", unbroken=f"{percent(row.low)} to {percent(row.high)}"),
            "yes" if row.separated else "no",
            "yes" if row.separated_by_votes else "no",
            "" if row.votes_needed is None else _roughly(row.votes_needed),
        )
        for row in neighbours[:ARMS_SHOWN]
    )
    columns = ("neighbours", "win rate", "interval", "separated", "by vote-level", "votes needed in all")
    return Table(columns, rows, caption="Neighbours in the ranking, each pair by itself")


def _roughly(votes: float) -> str:
    """Two digits: the number rests on an uncertain difference."""
    if votes > MOST_NEEDED:
        return f"over {MOST_NEEDED:,}"
    return f"{float(f'{votes:.2g}'):,.0f}"


def _methods(found: Findings) -> str:
    level = percent(found.settings.estimate.confidence)
    return (
        f"Bradley-Terry strengths by maximum likelihood, a tie as half a win. {level} intervals count annotators and "
        "prompts as random (Cameron, Gelbach and Miller 2011), with small-sample corrections for every contrast; the "
        "vote-level ones are of the same fit with independent votes. “Votes needed”: votes in all for four of five "
        "such studies to separate the two, if their difference is what it seems and annotators, prompts and votes grow "
        "alike; more votes by the same people on the same prompts do less. The test over time compares the earlier and "
        "the later half of the votes."
    )
