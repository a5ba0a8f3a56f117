"""Slots: what makes redundancy exact. A slot of a pair, and where the study has a total, a vote of its budget.

Both are taken by conditional updates in the transaction that makes the lease (or takes a late vote), and given back
in the transaction that ends it. At every commit: load of a pair = its valid votes + its live leases <= its target,
and the sum over the study's task pairs + what is left of the budget = votes_total.
"""

from __future__ import annotations

from qsched.records import Kind
from qsched.records.evidence import SILENT_MS
from study_server.assignment import queries
from study_server.assignment.records import Assignment, AssignmentContext
from study_server.db import Tx
from study_server.db.statements import Row

EXPIRE_AT_ONCE = 500


def take_slot(tx: Tx, context: AssignmentContext, assignment: Assignment) -> bool:
    """Count this assignment in its pair again; False when the pair, or the study, has its votes."""
    design = context.study.design
    if design.votes_total is not None and not take_from_budget(tx, context.study.id):
        return False
    target = _target(tx, context, assignment.pair_id)
    taken = tx.one(queries.TAKE_SLOT, pair=assignment.pair_id, side=assignment.side, target=target) is not None
    if design.votes_total is not None and not taken:
        return_to_budget(tx, study_id=context.study.id)
    return taken


def _target(tx: Tx, context: AssignmentContext, pair: int) -> int:
    """The votes that a pair gets; of a triplet with a number of its own, that of its group."""
    if not context.study.groups:
        return context.study.design.votes_per_pair
    number = tx.scalar(queries.COMPARISON_OF, pair=pair)
    return next(group.votes for group in context.study.groups if group.id == number)


def free_slot(tx: Tx, assignment: Assignment) -> None:
    """Give the slot of a counted assignment back to its pair."""
    _free(tx, assignment.pair_id, assignment.side)


def expire_leases(tx: Tx, *, now: int, limit: int = EXPIRE_AT_ONCE) -> int:
    """Free what absent people hold; returns how many leases ran out, at most `limit`."""
    return _free_all(tx, tx.all(queries.EXPIRE_LEASES, now=now, limit=limit))


def expire_silent_holders(tx: Tx, *, study_id: int, session_id: int, now: int) -> int:
    """Free what other sessions hold that have judged nothing for SILENT_MS, whatever their heartbeats say."""
    silent_since = now - SILENT_MS
    rows = tx.all(
        queries.EXPIRE_SILENT, study=study_id, session=session_id, silent_since=silent_since, limit=EXPIRE_AT_ONCE
    )
    return _free_all(tx, rows)


def _free_all(tx: Tx, rows: list[Row]) -> int:
    # In the order of their keys, so that two processes cannot wait for each other.
    for pair_id, kind, first_on_left in sorted(rows):
        if kind == Kind.TASK:
            _free(tx, pair_id, 1 if first_on_left else -1)
    return len(rows)


def take_from_budget(tx: Tx, study_id: int) -> bool:
    """One vote off the study's total; False when all are given out, or every row is held at this moment."""
    return tx.one(queries.TAKE_FROM_BUDGET, study=study_id) is not None


def return_to_budget(tx: Tx, *, study_id: int) -> None:
    """Give a vote of the study's total back that was taken and not used."""
    tx.run(queries.RETURN_TO_BUDGET, study=study_id)


def _free(tx: Tx, pair_id: int, side: int) -> None:
    tx.run(queries.FREE_SLOT, pair=pair_id, side=side)
    tx.run(queries.RETURN_TO_BUDGET_OF, pair=pair_id)
