"""Statements of voting."""

from __future__ import annotations

from study_server.assignment.queries import ASSIGNMENT_COLUMNS, HELD_PAIRS, SESSION_COLUMNS
from study_server.db import Statement

INSERT_VOTE = Statement("""
    INSERT INTO votes (assignment_id, session_id, question, choice, response_ms, hidden_ms, painted_ms, answered_ms,
                       idempotency_key, display, supersedes_id, surplus_reason, strength, doubt)
    VALUES (:assignment, :session, :question, :choice, :response_ms, :hidden_ms, :painted_ms, :now,
            :key, :display, :supersedes, :surplus, :strength, :doubt)
    RETURNING id
""")

FINISH_ASSIGNMENT = Statement("""
    UPDATE assignments
    SET state = :state, counted = :counted, reopened = FALSE, successor_id = COALESCE(:successor, successor_id)
    WHERE id = :assignment
""")

REOPEN = Statement("UPDATE assignments SET reopened = TRUE WHERE id = :assignment")

# All that a first vote on an open lease needs, locked. Another session's vote is never seen here, but one that this
# statement had to wait for may be missing in `known`; the state of the assignment is the one after the wait. For a
# table without statistics PostgreSQL would join NOT EXISTS by reading `votes` whole, and find a session by its study;
# hence the scalar subquery and the sum.
_COLUMNS = f"SELECT {SESSION_COLUMNS}, {ASSIGNMENT_COLUMNS}"
_OF_FIRST_VOTE = """
    FROM sessions s
    JOIN studies st ON st.id = s.study_id
    JOIN assignments a ON a.id = :assignment AND a.session_id = s.id
    WHERE s.token_hash = :hash AND s.study_id + 0 = :study AND a.state = 'leased'
      AND (SELECT v.id FROM votes v WHERE v.session_id = s.id AND v.idempotency_key = :key LIMIT 1) IS NULL
"""
SESSION_AND_LEASE = Statement(f"""
    [[sqlite: {_COLUMNS}, NULL {_OF_FIRST_VOTE}
    | postgresql: WITH mine AS ({_COLUMNS} {_OF_FIRST_VOTE} FOR UPDATE OF s, a)
                  SELECT mine.*, {HELD_PAIRS} FROM mine]]
""")

# The assignment, locked as by ASSIGNMENT, and the first vote with this idempotency key.
ASSIGNMENT_AND_KEY = Statement(f"""
    SELECT {ASSIGNMENT_COLUMNS},
           (SELECT MIN(v.id) FROM votes v WHERE v.session_id = :session AND v.idempotency_key = :key),
           (SELECT MIN(v.assignment_id) FROM votes v WHERE v.session_id = :session AND v.idempotency_key = :key)
    FROM assignments a
    WHERE a.id = :assignment AND a.session_id = :session [[sqlite: | postgresql: FOR UPDATE OF a]]
""")

SHOWN_REFERENCE = Statement("""
    SELECT t.shown_reference_id FROM assignments a JOIN triplets t ON t.pair_id = a.pair_id WHERE a.id = :assignment
""")

# The first two pictures of a set can be in any place, so all of them are compared.
SHOWN_OTHERS = Statement("""
    SELECT p.first_image_id, p.second_image_id, k.third_image_id, k.fourth_image_id
    FROM assignments a JOIN pairs p ON p.id = a.pair_id LEFT JOIN ranked_sets k ON k.pair_id = p.id
    WHERE a.id = :assignment
""")

SCREENING = Statement("SELECT screening FROM sessions WHERE id = :session")

# The answers that stand: no later row supersedes them.
EFFECTIVE = Statement("""
    SELECT v.id, v.question FROM votes v
    WHERE v.assignment_id = :assignment
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    ORDER BY v.id
""")

INSERT_REPORT = Statement("""
    INSERT INTO reports (session_id, assignment_id, problem, detail, reported_ms, idempotency_key)
    VALUES (:session, :assignment, :problem, :detail, :now, :key)
""")

SAME_REPORT = Statement("SELECT assignment_id FROM reports WHERE session_id = :session AND idempotency_key = :key")

# `problems` counts people; it begins anew when the owner hands the pair out again.
COUNT_PROBLEM = Statement("UPDATE pairs SET problems = problems + 1 WHERE id = :pair RETURNING problems")

DISABLE_PAIR = Statement("UPDATE pairs SET disabled = TRUE WHERE id = :pair")

REPORTS_OF_SESSION = Statement("""
    SELECT COUNT(*) FROM reports WHERE session_id = :session AND problem = 'image_missing'
""")

REPORTS_OF_PERSON = Statement("""
    SELECT COUNT(*) FROM assignments a JOIN reports r ON r.assignment_id = a.id
    WHERE a.pair_id = :pair AND a.annotator_id = :annotator AND r.problem = 'image_missing'
""")

DISABLED_PAIRS = Statement("""
    SELECT COUNT(*) FROM pairs WHERE study_id = :study AND pool = 'task' AND disabled = TRUE
""")

# Answers to the first question that was answered, corrections included.
ANSWERS_OF = Statement("""
    SELECT COUNT(*) FROM votes
    WHERE assignment_id = :assignment
      AND question = (SELECT question FROM votes WHERE assignment_id = :assignment ORDER BY id LIMIT 1)
""")

# Of the attention checks that a session answered, those without the answer that was asked for.
FAILED_CHECKS = Statement("""
    SELECT COUNT(DISTINCT a.id) FROM assignments a JOIN votes v ON v.assignment_id = a.id
    WHERE a.session_id = :session AND a.kind = 'instructed' AND a.id <> :besides AND v.choice <> a.expected
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
""")

# The rule excludes a person once: whoever has answered since was included again by an owner.
EXCLUDED_BEFORE = Statement("""
    SELECT 1 FROM owner_actions o JOIN annotators a ON a.id = :annotator
    WHERE o.study = :slug AND o.actor = :rule AND o.action = 'excluded' AND o.detail LIKE a.pseudonym || ': %'
    LIMIT 1
""")

COMPREHENSION = Statement("SELECT comprehension FROM sessions WHERE id = :session")

PSEUDONYM = Statement("SELECT pseudonym FROM sessions WHERE id = :session")
