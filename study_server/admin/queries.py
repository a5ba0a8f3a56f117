"""Statements of the owner's pages. Each walks what one page shows; the heavy ones run beside the votes, not before."""

from __future__ import annotations

from study_server.db import Statement

STUDY = Statement("SELECT id, slug, title, status FROM studies WHERE slug = :slug AND status <> 'importing'")

# An assignment's id begins with the time at which it was made, so the latest ones are one range of the primary key;
# CROSS JOIN has SQLite walk it.
VOTES_BY_HOUR = Statement("""
    SELECT a.served_ms / 3600000, COUNT(*)
    FROM assignments a [[sqlite: CROSS | postgresql: ]] JOIN sessions s ON s.id = a.session_id
    WHERE a.id >= :first AND a.id < :end AND s.study_id = :study AND a.state = 'voted' AND a.counted
    GROUP BY a.served_ms / 3600000
""")
# How many actions made votes of earlier hours count, or cease to. Not the latest one's number: PostgreSQL may commit it
# before a lower one.
RECOUNTS = Statement("""
    SELECT COUNT(*) FROM owner_actions
    WHERE study = :slug AND action IN ('excluded', 'included again', 'data of one person deleted')
""")
VOTES_SINCE = Statement("""
    SELECT COUNT(*), MIN(a.served_ms)
    FROM assignments a [[sqlite: CROSS | postgresql: ]] JOIN sessions s ON s.id = a.session_id
    WHERE a.id >= :first AND s.study_id = :study AND a.state = 'voted' AND a.counted
""")

FUNNEL = Statement("""
    SELECT COUNT(*),
           COALESCE(SUM(CASE WHEN position > 0 THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN done > 0 THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'finished' THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'screened_out' THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'not_understood' THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'excluded' THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'active' AND COALESCE(tab_seen_ms, started_ms) >= :here_since
                             THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN state = 'active' AND COALESCE(tab_seen_ms, started_ms) < :gone_since
                             THEN 1 ELSE 0 END), 0),
           COALESCE(SUM(CASE WHEN simulated THEN 1 ELSE 0 END), 0)
    FROM sessions WHERE study_id = :study AND NOT preview
""")

ARRIVALS = Statement("SELECT browsers FROM study_arrivals WHERE study_id = :study")

LATEST_ANSWERS = Statement("""
    SELECT v.answered_ms, p.pair_key, r.prompt_key, a.kind, a.first_on_left, f.arm, s2.arm, v.question, v.choice,
           a.expected, v.response_ms, a.counted
    FROM sessions s
    JOIN assignments a ON a.session_id = s.id
    JOIN votes v ON v.assignment_id = a.id
    JOIN pairs p ON p.id = a.pair_id
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s2 ON s2.id = p.second_image_id
    WHERE s.annotator_id = :annotator AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    ORDER BY v.id DESC LIMIT :limit
""")

# How many assignments come next, and the last of them, None if there are none.
PIECE = Statement("""
    SELECT COUNT(*), MAX(id)
    FROM (SELECT id FROM assignments WHERE id > :after AND id <= :end ORDER BY id LIMIT :limit) AS piece
""")
# The votes of some assignments that stand and count, by comparison and question: first arm preferred, second arm
# preferred, tie. CROSS JOIN has SQLite walk the assignments.
_OF_PIECE = """
    FROM assignments a
    [[sqlite: CROSS | postgresql: ]] JOIN votes v ON v.assignment_id = a.id
    [[sqlite: CROSS | postgresql: ]] JOIN pairs p ON p.id = a.pair_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s ON s.id = p.second_image_id
"""
_COUNTS = """
    WHERE a.id > :after AND a.id <= :last AND p.study_id = :study
      AND a.kind = 'task' AND a.counted AND a.state = 'voted' AND v.surplus_reason IS NULL
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
"""
COUNTS = Statement(f"""
    SELECT f.arm, s.arm, v.question,
           SUM(CASE WHEN (v.choice = 'left' AND a.first_on_left) OR (v.choice = 'right' AND NOT a.first_on_left)
                    THEN 1 ELSE 0 END),
           SUM(CASE WHEN (v.choice = 'right' AND a.first_on_left) OR (v.choice = 'left' AND NOT a.first_on_left)
                    THEN 1 ELSE 0 END),
           SUM(CASE WHEN v.choice = 'tie' THEN 1 ELSE 0 END)
    {_OF_PIECE} {_COUNTS} AND a.places IS NULL
    GROUP BY f.arm, s.arm, v.question
""")
# The same of sets that are ranked: each order of each two to four arms, how often.
RANKED_COUNTS = Statement(f"""
    SELECT f.arm, s.arm, t.arm, o.arm, v.question, v.choice, COUNT(*)
    {_OF_PIECE}
    LEFT JOIN ranked_sets k ON k.pair_id = p.id
    LEFT JOIN images t ON t.id = k.third_image_id
    LEFT JOIN images o ON o.id = k.fourth_image_id
    {_COUNTS} AND a.places IS NOT NULL AND v.choice <> 'skip'
    GROUP BY f.arm, s.arm, t.arm, o.arm, v.question, v.choice
""")

# NOT INDEXED: SQLite then walks the pairs in the order of their numbers instead of sorting all of the study.
PAIRS_PAGE = Statement("""
    SELECT p.id, p.pair_key, r.prompt_key, r.prompt, p.sample_index, p.pool, f.arm, s.arm, f.id, s.id, p.load,
           p.disabled, p.problems, t.reference_image_id, t.presentation
    FROM pairs p [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s ON s.id = p.second_image_id
    LEFT JOIN triplets t ON t.pair_id = p.id
    WHERE p.id > :after AND p.study_id = :study
      AND (CAST(:prompt AS TEXT) = '' OR r.prompt_key = :prompt) AND (:only_disabled = 0 OR p.disabled)
    ORDER BY p.id LIMIT :limit
""")
PAIR = Statement("""
    SELECT p.id, p.pair_key, r.prompt_key, r.prompt, p.sample_index, p.pool, f.arm, s.arm, f.id, s.id, p.load,
           p.disabled, p.problems, t.reference_image_id, t.presentation
    FROM pairs p
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images s ON s.id = p.second_image_id
    LEFT JOIN triplets t ON t.pair_id = p.id
    WHERE p.study_id = :study AND p.pair_key = :pair_key
""")
# The answers to a pair by what was preferred: valid task votes for task pairs, all answers for the others.
PAIR_COUNTS = Statement("""
    SELECT CASE WHEN v.choice IN ('tie', 'skip') THEN v.choice WHEN a.places IS NOT NULL THEN 'ranked'
                WHEN (v.choice = 'left' AND a.first_on_left) OR (v.choice = 'right' AND NOT a.first_on_left)
                THEN 'first' ELSE 'second' END,
           COUNT(*)
    FROM assignments a
    [[sqlite: CROSS | postgresql: ]] JOIN sessions s ON s.id = a.session_id
    [[sqlite: CROSS | postgresql: ]] JOIN votes v ON v.assignment_id = a.id
    WHERE a.pair_id = :pair AND a.kind IN ('task', 'gold', 'practice', 'trap', 'bias') AND a.state = 'voted'
      AND s.state <> 'excluded' AND NOT s.preview AND v.surplus_reason IS NULL
      AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    GROUP BY 1
""")
PAIR_ANSWERS = Statement("""
    SELECT v.answered_ms, an.pseudonym, a.kind, v.question, v.choice, a.first_on_left, v.response_ms, a.counted,
           s.state, v.surplus_reason
    FROM assignments a
    JOIN sessions s ON s.id = a.session_id
    JOIN annotators an ON an.id = s.annotator_id
    JOIN votes v ON v.assignment_id = a.id
    WHERE a.pair_id = :pair AND NOT s.preview AND NOT EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    ORDER BY v.id DESC LIMIT :limit
""")
IMAGE_OF_STUDY = Statement("SELECT 1 FROM images WHERE id = :image AND study_id = :study")

REPORTS = Statement("""
    SELECT r.id, r.reported_ms, p.pair_key, q.prompt_key, an.pseudonym, r.problem, r.detail, p.disabled
    FROM sessions s
    JOIN reports r ON r.session_id = s.id
    JOIN annotators an ON an.id = s.annotator_id
    JOIN assignments a ON a.id = r.assignment_id
    JOIN pairs p ON p.id = a.pair_id
    JOIN prompts q ON q.id = p.prompt_id
    WHERE s.study_id = :study AND NOT s.preview AND r.id < :before
    ORDER BY r.id DESC LIMIT :limit
""")
DISABLED = Statement("""
    SELECT p.pair_key, r.prompt_key, p.problems FROM pairs p JOIN prompts r ON r.id = p.prompt_id
    WHERE p.study_id = :study AND p.disabled ORDER BY p.id
""")
