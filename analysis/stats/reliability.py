"""A re-fit that weighs annotators by how reliable they are: a sensitivity analysis, not the main result.

Each vote of annotator a is a judgement with probability r_a, drawn from Davidson's model (Bradley-Terry if there are
no ties), and otherwise a guess drawn from a's own habit q_a over (left, right, tie), whatever the arms:

    P(vote) = r_a P_model(vote) + (1 - r_a) q_a(vote)

Fitted by expectation-maximisation on the counts by annotator, with weak priors that keep annotators of few votes from
the extremes: r_a ~ Beta(10.5, 1.5), with its mode at 95 %, and q_a ~ Dirichlet around the average habit with the weight
of ten votes. The idea is that of Crowd-BT (Chen, Bennett, Collins-Thompson and Horvitz 2013, WSDM) and of Dawid and
Skene (1979, Appl. Statist. 28:20-28); a guess here is a habit of side instead of the opposite of one's judgement.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse
from scipy.special import xlogy

from analysis.stats.annotator_results import ReliabilityFit, ReliabilityRow
from analysis.stats.counts import VoteCounts, count_votes
from analysis.stats.fit import Design, fit_model, make_design, newton
from analysis.stats.likelihood import outcome_probabilities
from analysis.stats.results import Array, Model, Penalty
from analysis.votes.table import VotesTable
from qsched.records import InputError

_PRIOR_JUDGE, _PRIOR_GUESS = 9.5, 0.5  # Beta(10.5, 1.5) less one
_HABIT_WEIGHT = 10.0
_ITERATIONS = 500
_TOLERANCE = 1e-4


def refit_reliability(votes: VotesTable | pl.DataFrame | VoteCounts) -> ReliabilityFit:
    """Strengths (sum zero), reliability of each annotator (lowest first) and the average habit of guesses.

    Raises InputError without annotator ids, NoEstimateError if the plain model has no estimate.
    """
    counts = votes if isinstance(votes, VoteCounts) else count_votes(votes)
    if "annotator" not in counts.clusters:
        raise InputError("The votes have no annotator ids, so reliability cannot be estimated.")
    part = counts.clusters["annotator"]
    present = part.present()
    # Entries of the table that have votes: annotator, slot (cell and outcome), number. Most of the table is empty.
    entries = sparse.coo_array(sparse.csr_array(part.counts)[present])
    row, slot, n = entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data.astype(np.float64)
    people, slots, outcome = entries.shape[0], entries.shape[1], slot % 3
    n_A = np.bincount(row, n, people)
    model: Model = "davidson" if counts.outcomes[:, 2].sum() > 0 else "bradley-terry"
    plain = fit_model(counts, model=model)
    design = make_design(counts, model=model, position_effect=False)
    beta = plain.parameters
    r_A = np.full(people, 0.9)
    by_outcome = np.bincount(outcome, n, 3)
    habit = by_outcome / by_outcome.sum()
    q_A3 = np.tile(habit, (people, 1))
    change, iterations = np.inf, 0
    while change >= _TOLERANCE and iterations < _ITERATIONS:
        iterations += 1
        judged, mixed = _judged_and_mixed(_slot_chances(design, model, beta)[slot], r_A[row], q_A3[row, outcome])
        # 0 / 0 cannot occur: `mixed` is the chance of a vote that was given.
        kept = n * judged / mixed
        guessed = np.bincount(row * 3 + outcome, n - kept, 3 * people).reshape(people, 3)
        habit = (guessed.sum(axis=0) + by_outcome * 1e-3) / (guessed.sum() + by_outcome.sum() * 1e-3)
        q_A3 = (guessed + _HABIT_WEIGHT * habit) / (guessed.sum(axis=1) + _HABIT_WEIGHT)[:, None]
        new_r = (np.bincount(row, kept, people) + _PRIOR_JUDGE) / (n_A + _PRIOR_JUDGE + _PRIOR_GUESS)
        by_slot = np.bincount(slot, kept, slots).reshape(-1, 3)
        new_beta = newton(design, np.asarray(by_slot, dtype=np.float64), model, Penalty(), beta)[0]
        change = max(float(np.abs(new_beta - beta).max()), float(np.abs(new_r - r_A).max()))
        beta, r_A = new_beta, new_r
    _, mixed = _judged_and_mixed(_slot_chances(design, model, beta)[slot], r_A[row], q_A3[row, outcome])
    labels = [label for label, has in zip(part.labels, present.tolist(), strict=True) if has]
    rows = [
        ReliabilityRow(label, round(float(votes)), float(r)) for label, votes, r in zip(labels, n_A, r_A, strict=True)
    ]
    return ReliabilityFit(
        arms=counts.arms,
        log_strengths=beta[: counts.n_arms],
        annotators=tuple(sorted(rows, key=lambda row: (row.reliability, row.annotator))),
        guess=(float(habit[0]), float(habit[1]), float(habit[2])),
        log_likelihood=float(xlogy(n, mixed).sum()),
        iterations=iterations,
        converged=change < _TOLERANCE,
    )


def _slot_chances(design: Design, model: Model, beta: Array) -> Array:
    """The model's chance of each outcome in each cell, (3 C,)."""
    tau = design.tau(beta)
    return outcome_probabilities(model, design.eta(beta), None if tau is None else float(tau[0])).ravel()


def _judged_and_mixed(p: Array, r: Array, q: Array) -> tuple[Array, Array]:
    """For votes of chance `p` by the model and `q` by habit: the part that is judged, and the vote's whole chance."""
    judged = r * p
    return judged, judged + (1 - r) * q
