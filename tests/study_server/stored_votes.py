"""People and votes put into the database as the server would store them, for tests that need many."""

from __future__ import annotations

from study_server.db import Tx
from study_server.db.statements import Statement


def store_person(tx: Tx, who: int) -> None:
    """Somebody who has finished the study with id 1; `who` is the id of the annotator and of the session."""
    tx.run(
        Statement("INSERT INTO annotators (id, study_id, pseudonym, created_ms) VALUES (:id, 1, :name, 1)"),
        id=who,
        name=f"a-{who}",
    )
    tx.run(
        Statement(
            "INSERT INTO sessions (id, study_id, annotator_id, pseudonym, simulated, state, consent_version, "
            "started_ms, plan) VALUES (:id, 1, :id, :name, FALSE, 'finished', '1', 1, '')"
        ),
        id=who,
        name=f"s-{who}",
    )


def store_vote(tx: Tx, *, who: int, pair: int, choice: str, first_left: bool, places: str | None = None) -> None:
    """A valid vote of `who` on a pair, or with `places` a ranking of a set; its load is one more."""
    number = who * 1000 + pair
    tx.run(
        Statement(
            "INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, "
            "state, counted, served_ms, lease_expires_ms, places) VALUES (:id, :who, :who, :pair, 'task', 0, "
            ":first_left, 'voted', TRUE, 1, 1, :places)"
        ),
        id=number,
        who=who,
        pair=pair,
        first_left=first_left,
        places=places,
    )
    tx.run(
        Statement(
            "INSERT INTO votes (assignment_id, session_id, question, choice, response_ms, hidden_ms, "
            "answered_ms, idempotency_key) VALUES (:id, :who, 'overall', :choice, 900, 0, 2, :key)"
        ),
        id=number,
        who=who,
        choice=choice,
        key=str(number),
    )
    tx.run(Statement("UPDATE pairs SET load = load + 1 WHERE id = :pair"), pair=pair)
