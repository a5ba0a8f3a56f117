"""Statements of assignment: the window of open pairs, leases, and their return."""

from __future__ import annotations

from study_server.db import Statement

SESSION_COLUMNS = """
    s.id, s.study_id, s.annotator_id, s.simulated, s.state, s.started_ms, s.plan, s.position, s.done,
    s.practice_done, s.voided, s.left_balance, s.recent, s.last_assignment_id, s.tab_token, s.tab_seen_ms, s.judged_ms,
    s.preview, CASE WHEN s.preview THEN 'open' ELSE st.status END
"""

LOCK_SESSION = Statement(f"""
    SELECT {SESSION_COLUMNS}
    FROM sessions s JOIN studies st ON st.id = s.study_id
    WHERE s.token_hash = :key AND s.study_id = :study [[sqlite: | postgresql: FOR UPDATE OF s]]
""")

SAVE_SESSION = Statement("""
    UPDATE sessions
    SET state = :state, position = :position, done = :done, practice_done = :practice_done,
        voided = :voided, left_balance = :left_balance, recent = :recent,
        last_assignment_id = :last_assignment_id, tab_token = :tab_token, tab_seen_ms = :tab_seen_ms,
        judged_ms = :judged_ms,
        finished_ms = CASE WHEN :state = 'finished' THEN COALESCE(finished_ms, :now) ELSE finished_ms END
    WHERE id = :session
""")

# Apart from SAVE_SESSION: a plan of 100,000 trials does not change with each vote.
SAVE_PLAN = Statement("UPDATE sessions SET plan = :plan WHERE id = :session")

# A scalar subquery: one probe of uq_assignments_once a pair. PostgreSQL may turn EXISTS into a join over every pair or,
# while the tables have no statistics, of each candidate with all that the person has seen (30 ms after 600 pairs).
_UNSEEN = """
    (SELECT a.id FROM assignments a
     WHERE a.annotator_id = :annotator AND a.pair_id = p.id
       AND a.kind IN ('task', 'warmup', 'gold', 'trap', 'bias') AND a.state <> 'void'
     LIMIT 1) IS NULL
"""

# The open pairs that come first for the session of the row `mine`, locked until the transaction ends, so that whichever
# is chosen can be claimed without another look. Only pairs that are still as the walk saw them. None if no more than
# `spare` pairs are open: another person, who comes meanwhile, must find one. A subquery with a lock is a probe for each
# row.
HELD_PAIRS = f"""
    ARRAY(
        SELECT ARRAY[p.id, p.prompt_id, p.load, p.side_balance]
        FROM (SELECT id, prompt_id, load, side_balance, rank FROM pairs
              WHERE study_id = :study AND pool = 'task' AND disabled = FALSE AND load < :target
              ORDER BY load, rank LIMIT :probes) p,
             LATERAL (SELECT h.id FROM pairs h
                      WHERE h.id = p.id AND h.load = p.load AND h.side_balance = p.side_balance AND h.disabled = FALSE
                        AND h.pool = 'task'
                      FOR UPDATE SKIP LOCKED) held
        WHERE mine.state = 'active' AND mine.status = 'open'
          AND substr(mine.plan, CAST(mine.position + 1 AS int), 1) = 'T'
          AND (SELECT n.id FROM pairs n
               WHERE n.study_id = :study AND n.pool = 'task' AND n.disabled = FALSE AND n.load < :target
               ORDER BY n.load, n.rank LIMIT 1 OFFSET :spare) IS NOT NULL
          AND p.prompt_id <> ALL (string_to_array(mine.recent, ',')::bigint[])
          AND {_UNSEEN.replace(":annotator", "mine.annotator_id")}
        ORDER BY p.load, p.rank
        LIMIT :window)
"""

# `{scope}` is one range of ix_pairs_open (a pool of a study) or of ix_pairs_comparison (a comparison of an adaptive
# study). The inner query walks it from (load, rank) on and ends after `probes` rows, so that neither a person's history
# nor the study's size makes it expensive. SQLite keeps the order of the subquery and would sort again.
_OPEN = """
    SELECT p.id, p.prompt_id, p.load, p.side_balance
    FROM (SELECT id, prompt_id, load, side_balance, rank FROM pairs
          WHERE {scope} AND disabled = FALSE AND load < :target AND (load, rank) >= (:load, :rank)
          ORDER BY load, rank LIMIT :probes) p
    WHERE p.prompt_id NOT IN (:r0, :r1, :r2, :r3, :r4, :r5, :r6, :r7)
      AND {unseen}
    [[sqlite: | postgresql: ORDER BY p.load, p.rank]]
    LIMIT :window
"""
# The lowest number of votes and leases above `load` that any open pair has, with the first and last rank there.
_LEVEL = """
    SELECT l.load,
           (SELECT rank FROM pairs WHERE {scope} AND disabled = FALSE AND load = l.load ORDER BY rank LIMIT 1),
           (SELECT rank FROM pairs WHERE {scope} AND disabled = FALSE AND load = l.load ORDER BY rank DESC LIMIT 1)
    FROM (SELECT load FROM pairs
          WHERE {scope} AND disabled = FALSE AND load > :load AND load < :target ORDER BY load LIMIT 1) l
"""
# Where in the order this session is: the rank of the pair that it was given last.
LATEST_RANK = Statement("""
    SELECT p.rank FROM assignments a JOIN pairs p ON p.id = a.pair_id
    WHERE a.session_id = :session ORDER BY a.position DESC LIMIT 1
""")
_OF_STUDY = "study_id = :study AND pool = :pool"
_OF_COMPARISON = "comparison_id = :comparison AND pool = 'task'"

OPEN_PAIRS = Statement(_OPEN.format(scope=_OF_STUDY, unseen=_UNSEEN))
OPEN_PAIRS_OF = Statement(_OPEN.format(scope=_OF_COMPARISON, unseen=_UNSEEN))
LEVEL = Statement(_LEVEL.format(scope=_OF_STUDY))
LEVEL_OF = Statement(_LEVEL.format(scope=_OF_COMPARISON))

_OPEN_IN_COMPARISON = f"""
      (SELECT p.id
       FROM (SELECT id, prompt_id FROM pairs
             WHERE comparison_id = c.id AND pool = 'task' AND disabled = FALSE AND load < :target {{start}}
             ORDER BY load, rank LIMIT :probes) p
       WHERE p.prompt_id NOT IN (:r0, :r1, :r2, :r3, :r4, :r5, :r6, :r7) AND {_UNSEEN}
       LIMIT 1) IS NOT NULL
"""
_FROM_A_PLACE = """
             AND (load, rank) >= ((SELECT f.load FROM pairs f WHERE f.comparison_id = c.id AND f.pool = 'task'
                                   AND f.disabled = FALSE AND f.load < :target ORDER BY f.load LIMIT 1), :rank)
"""
# A walk of ix_pairs_comparison for each comparison, and another from a rank where the first finds nothing, each of
# `probes` rows at most: its cost grows with the number of comparisons, not of pairs.
OPEN_COMPARISONS = Statement(f"""
    SELECT c.id FROM comparisons c
    WHERE c.study_id = :study
      AND ({_OPEN_IN_COMPARISON.format(start="")} OR {_OPEN_IN_COMPARISON.format(start=_FROM_A_PLACE)})
    ORDER BY c.id
""")

COMPARISONS = Statement("SELECT id, first_arm, second_arm FROM comparisons WHERE study_id = :study ORDER BY id")

COMPARISON_OF = Statement("SELECT comparison_id FROM pairs WHERE id = :pair")

# The votes that stand, by comparison: first arm preferred, second arm preferred, tie.
TALLY = Statement("""
    SELECT p.comparison_id,
           SUM(CASE WHEN (v.choice = 'left' AND a.first_on_left) OR (v.choice = 'right' AND NOT a.first_on_left)
                    THEN 1 ELSE 0 END),
           SUM(CASE WHEN (v.choice = 'right' AND a.first_on_left) OR (v.choice = 'left' AND NOT a.first_on_left)
                    THEN 1 ELSE 0 END),
           SUM(CASE WHEN v.choice = 'tie' THEN 1 ELSE 0 END)
    FROM comparisons c
    JOIN pairs p ON p.comparison_id = c.id
    JOIN assignments a ON a.pair_id = p.id
    JOIN votes v ON v.assignment_id = a.id
    WHERE c.study_id = :study AND a.kind = 'task' AND a.counted AND a.state = 'voted'
      AND v.question = :question AND v.surplus_reason IS NULL
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    GROUP BY p.comparison_id
""")

# One vote off the study's total, from a row that no other transaction holds.
TAKE_FROM_BUDGET = Statement("""
    UPDATE vote_budgets SET remaining = remaining - 1
    WHERE id = (SELECT id FROM vote_budgets WHERE study_id = :study AND remaining > 0 ORDER BY id LIMIT 1
                [[sqlite: | postgresql: FOR UPDATE SKIP LOCKED]])
    RETURNING id
""")

RETURN_TO_BUDGET = Statement("""
    UPDATE vote_budgets SET remaining = remaining + 1
    WHERE id = (SELECT id FROM vote_budgets WHERE study_id = :study ORDER BY remaining, id LIMIT 1)
""")

# The study is found by the pair; without votes_total there is no row and nothing happens.
RETURN_TO_BUDGET_OF = Statement("""
    UPDATE vote_budgets SET remaining = remaining + 1
    WHERE id = (SELECT b.id FROM pairs p JOIN vote_budgets b ON b.study_id = p.study_id
                WHERE p.id = :pair ORDER BY b.remaining, b.id LIMIT 1)
""")

BUDGET_LEFT = Statement("""
    SELECT CAST(COALESCE(SUM(remaining), 0) AS BIGINT) FROM vote_budgets WHERE study_id = :study
""")

# Walks the live leases, of which there are no more than people.
LEASED_BY_OTHERS = Statement("""
    SELECT 1 FROM assignments a JOIN pairs p ON p.id = a.pair_id
    WHERE a.state = 'leased' AND a.kind = 'task' AND p.study_id = :study AND a.annotator_id <> :annotator
    LIMIT 1
""")

# Takes the slot only if the pair is still as the choice saw it, and neither decided nor taken out since; a pair that
# another transaction holds is passed by.
CLAIM_PAIR = Statement("""
    UPDATE pairs SET load = load + 1, side_balance = side_balance + :side
    WHERE load = :load AND side_balance = :balance AND pool = 'task' AND disabled = FALSE AND id =
      [[sqlite: :pair | postgresql: (SELECT id FROM pairs WHERE id = :pair FOR UPDATE SKIP LOCKED)]]
    RETURNING id
""")

# Of a pair that this transaction holds.
CLAIM_HELD = Statement("UPDATE pairs SET load = load + 1, side_balance = side_balance + :side WHERE id = :pair")

# For a late or corrected vote, and for a pair that comes back to the person who had it.
TAKE_SLOT = Statement("""
    UPDATE pairs SET load = load + 1, side_balance = side_balance + :side
    WHERE id = :pair AND load < :target AND disabled = FALSE
    RETURNING id
""")

FREE_SLOT = Statement("UPDATE pairs SET load = load - 1, side_balance = side_balance - :side WHERE id = :pair")

# Walks the live leases, not the pairs: a full study of a million pairs answers each newcomer at once.
HELD_BY_OTHERS = Statement(f"""
    SELECT 1
    FROM assignments l JOIN pairs p ON p.id = l.pair_id
    WHERE l.state = 'leased' AND l.kind = 'task'
      AND p.study_id = :study AND p.pool = 'task' AND p.disabled = FALSE AND p.load >= :target
      AND {_UNSEEN}
    LIMIT 1
""")

PRACTICE_PAIR = Statement("""
    SELECT id, prompt_id, load, side_balance FROM pairs
    WHERE study_id = :study AND pool = 'practice' ORDER BY rank LIMIT 1 OFFSET :number
""")

# NOT IN, looked up once: a correlated NOT EXISTS reads the session again for each row, 90 ms after 600 trials.
REPEATABLE = Statement("""
    SELECT a.pair_id, p.prompt_id, a.first_on_left
    FROM assignments a JOIN pairs p ON p.id = a.pair_id
    WHERE a.session_id = :session AND a.kind = 'task' AND a.state = 'voted' AND a.position <= :latest
      AND p.disabled = FALSE
      AND a.pair_id NOT IN (SELECT r.pair_id FROM assignments r WHERE r.session_id = :session AND r.kind = 'repeat')
""")

INSERT_ASSIGNMENT = Statement("""
    INSERT INTO assignments (id, session_id, annotator_id, pair_id, kind, position, first_on_left, expected, state,
                             counted, reopened, served_ms, lease_expires_ms, selection_probability, places)
    VALUES (:id, :session, :annotator, :pair, :kind, :position, :first_on_left, :expected, 'leased',
            :counted, FALSE, :now, :expires, :probability, :places)
""")

ASSIGNMENT_COLUMNS = """
    a.id AS assignment, a.pair_id, a.kind, a.position AS place, a.first_on_left, a.expected, a.state AS lease,
    a.counted, a.reopened, a.lease_expires_ms, a.successor_id, a.served_ms, a.places
"""

# Locked: otherwise its lease could be swept between this look and the vote, and its pair's slot freed under the vote.
ASSIGNMENT = Statement(f"""
    SELECT {ASSIGNMENT_COLUMNS} FROM assignments a
    WHERE a.id = :assignment AND a.session_id = :session [[sqlite: | postgresql: FOR UPDATE OF a]]
""")

# What a reloaded page gets back: what is open, what ran out, and a vote that was reopened.
UNFINISHED = Statement(f"""
    SELECT {ASSIGNMENT_COLUMNS} FROM assignments a
    WHERE a.session_id = :session AND (a.state IN ('leased', 'expired') OR a.reopened)
    ORDER BY a.reopened DESC, a.position
""")

RENEW_LEASE = Statement("""
    UPDATE assignments SET lease_expires_ms = :expires
    WHERE id = :assignment AND session_id = :session AND state = 'leased'
    RETURNING id
""")

REVIVE = Statement("""
    UPDATE assignments SET state = 'leased', lease_expires_ms = :expires, counted = :counted WHERE id = :assignment
""")

VOID = Statement("UPDATE assignments SET state = :state, counted = FALSE WHERE id = :assignment")

# What sessions hold that have judged nothing since `silent_since`, when somebody else would have to wait for it.
EXPIRE_SILENT = Statement("""
    UPDATE assignments SET state = 'expired', counted = FALSE
    WHERE id IN (SELECT a.id FROM assignments a JOIN sessions s ON s.id = a.session_id
                 WHERE a.state = 'leased' AND s.study_id = :study AND s.id <> :session
                   AND a.served_ms < :silent_since AND COALESCE(s.judged_ms, s.started_ms) < :silent_since
                 LIMIT :limit [[sqlite: | postgresql: FOR UPDATE OF a SKIP LOCKED]])
    RETURNING pair_id, kind, first_on_left
""")

# A leased task assignment always holds a slot, so `kind` tells which pairs get one back.
EXPIRE_LEASES = Statement("""
    UPDATE assignments SET state = 'expired', counted = FALSE
    WHERE id IN (SELECT id FROM assignments WHERE state = 'leased' AND lease_expires_ms < :now
                 ORDER BY lease_expires_ms LIMIT :limit [[sqlite: | postgresql: FOR UPDATE SKIP LOCKED]])
    RETURNING pair_id, kind, first_on_left
""")

PAIR_CONTENT = Statement("""
    SELECT pr.prompt, p.prompt_id, p.better, p.why, fi.id, fi.width, fi.height, si.id, si.width, si.height,
           ri.id, ri.width, ri.height, t.factor, t.rate_hz,
           ti.id, ti.width, ti.height, oi.id, oi.width, oi.height
    FROM pairs p
    JOIN prompts pr ON pr.id = p.prompt_id
    LEFT JOIN triplets t ON t.pair_id = p.id
    JOIN images fi ON fi.id = COALESCE(t.shown_first_id, p.first_image_id)
    JOIN images si ON si.id = COALESCE(t.shown_second_id, p.second_image_id)
    LEFT JOIN images ri ON ri.id = t.shown_reference_id
    LEFT JOIN ranked_sets k ON k.pair_id = p.id
    LEFT JOIN images ti ON ti.id = k.third_image_id
    LEFT JOIN images oi ON oi.id = k.fourth_image_id
    WHERE p.id = :pair
""")
