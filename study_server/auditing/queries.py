"""Statements of sealing, registering and opening a study."""

from __future__ import annotations

from study_server.db import Statement

CHAIN = Statement("""
    SELECT salt, head, length, preregistration FROM vote_chains
    WHERE study_id = :study [[sqlite: | postgresql: FOR UPDATE]]
""")
READ_CHAIN = Statement("SELECT salt, head, length, preregistration FROM vote_chains WHERE study_id = :study")
PUBLIC_CHAIN = Statement("SELECT preregistration FROM vote_chains WHERE study_id = :study")
BEGIN_CHAIN = Statement("""
    INSERT INTO vote_chains (study_id, salt, head, length) VALUES (:study, :salt, :head, 0)
    ON CONFLICT (study_id) DO NOTHING
""")
EXTEND_CHAIN = Statement("UPDATE vote_chains SET head = :head, length = :length WHERE study_id = :study")
REGISTER = Statement("UPDATE vote_chains SET preregistration = :preregistration WHERE study_id = :study")
ADD_LEAF = Statement("""
    INSERT INTO vote_leaves (study_id, position, leaf, vote_id) VALUES (:study, :position, :leaf, :vote)
""")
ADD_SEAL = Statement("""
    INSERT INTO vote_seals (study_id, votes, head, sealed_ms) VALUES (:study, :votes, :head, :now)
""")
SEALS = Statement("""
    SELECT votes, head, sealed_ms FROM vote_seals WHERE study_id = :study ORDER BY votes DESC LIMIT :newest
""")
# Processes seal one after the other; SQLite has one writer anyway.
TAKE_TURNS = Statement("[[sqlite: SELECT 1 | postgresql: SELECT pg_advisory_xact_lock(7310591)]]")
NEWEST_SEALED = Statement("SELECT COALESCE(MAX(vote_id), 0) FROM vote_leaves")
# Chains that are longer than their newest seal.
UNNOTED = Statement("""
    SELECT c.study_id, c.head, c.length FROM vote_chains c
    WHERE c.length > COALESCE((SELECT MAX(s.votes) FROM vote_seals s WHERE s.study_id = c.study_id), 0)
""")
ANY_VOTE = Statement("""
    SELECT 1 FROM votes v JOIN sessions s ON s.id = v.session_id WHERE s.study_id = :study AND NOT s.preview LIMIT 1
""")

# In the order of qsched.records.evidence.ROW_FIELDS, and the places of a ranking.
# PostgreSQL may commit a vote after one with a higher id, so that
# sealing looks back a little.
_ROW = """
    v.id, v.supersedes_id, a.id, st.slug, v.question, p.pair_key, r.prompt_key, r.category,
    p.sample_index,
    CASE WHEN a.first_on_left THEN f.arm ELSE g.arm END, CASE WHEN a.first_on_left THEN g.arm ELSE f.arm END,
    v.choice, n.pseudonym, s.pseudonym, a.served_ms, v.answered_ms, v.response_ms, v.hidden_ms, a.kind, a.expected,
    s.simulated, v.strength, a.selection_probability, v.doubt, a.places
"""
_JOINS = """
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions s ON s.id = v.session_id
    JOIN annotators n ON n.id = s.annotator_id
    JOIN studies st ON st.id = s.study_id
    JOIN pairs p ON p.id = a.pair_id
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images g ON g.id = p.second_image_id
"""
# The votes are chosen first, by a walk of the newest numbers that ends after `limit` of them, and joined afterwards:
# PostgreSQL would else join and sort every vote that waits to be sealed, for each group.
UNSEALED = Statement(f"""
    SELECT s.study_id, {_ROW} FROM (
        SELECT w.* FROM votes w JOIN sessions n ON n.id = w.session_id
        WHERE w.id > :after AND NOT n.preview AND NOT EXISTS (SELECT 1 FROM vote_leaves l WHERE l.vote_id = w.id)
        ORDER BY w.id LIMIT :limit
    ) v {_JOINS}
    ORDER BY v.id
""")
SEALED = Statement(f"""
    SELECT l.position, l.leaf, v.surplus_reason, n.excluded_ms IS NOT NULL, {_ROW}
    FROM vote_leaves l JOIN votes v ON v.id = l.vote_id {_JOINS}
    WHERE l.study_id = :study ORDER BY l.position
""")
DELETED = Statement("""
    SELECT position, leaf FROM vote_leaves WHERE study_id = :study AND vote_id IS NULL ORDER BY position
""")
EXCLUDED = Statement("""
    SELECT pseudonym, excluded_ms, excluded_reason FROM annotators
    WHERE study_id = :study AND excluded_ms IS NOT NULL ORDER BY excluded_ms, id
""")
DESIGN = Statement("SELECT slug, uid, set_id, design FROM studies WHERE id = :study")
DESIGNS = Statement("""
    SELECT design FROM design_versions WHERE study_id = :study ORDER BY version
""")
STATUS = Statement("SELECT status FROM studies WHERE id = :study")

# A pair of a decided arm, and a set whose turn has not come, are task pairs as they were preregistered.
PAIRS = Statement("""
    SELECT p.pair_key, r.prompt_key, p.sample_index,
           CASE WHEN p.pool IN ('decided', 'reserve') THEN 'task' ELSE p.pool END,
           f.arm, g.arm, f.sha256, g.sha256
    FROM pairs p
    JOIN prompts r ON r.id = p.prompt_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images g ON g.id = p.second_image_id
    WHERE p.study_id = :study ORDER BY p.pair_key
""")

# What makes triplets of a fidelity study's pairs: the reference, and the pictures as they were served.
TRIPLETS = Statement("""
    SELECT p.pair_key, ref.arm, ref.sha256, t.presentation, sr.sha256, sf.sha256, sg.sha256,
           t.factor, t.rate_hz, t.crop_x, t.crop_y, t.crop_width, t.crop_height, t.clipped
    FROM triplets t
    JOIN pairs p ON p.id = t.pair_id
    JOIN images ref ON ref.id = t.reference_image_id
    JOIN images sr ON sr.id = t.shown_reference_id
    JOIN images sf ON sf.id = t.shown_first_id
    JOIN images sg ON sg.id = t.shown_second_id
    WHERE p.study_id = :study
""")

RANKED_SETS = Statement("""
    SELECT p.pair_key, t.arm, t.sha256, o.arm, o.sha256
    FROM ranked_sets k
    JOIN pairs p ON p.id = k.pair_id
    JOIN images t ON t.id = k.third_image_id
    LEFT JOIN images o ON o.id = k.fourth_image_id
    WHERE p.study_id = :study
""")
