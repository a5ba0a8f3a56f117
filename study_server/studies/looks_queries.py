"""The statements of planned looks; of a ranking study over all pictures of a set, of others over the two of a pair."""

from __future__ import annotations

from study_server.db import Statement

WITH_RULE = Statement("""
    SELECT slug FROM studies WHERE status IN ('open', 'paused') AND design LIKE '%"stopping":{%' ORDER BY id
""")
LOOKS = Statement("SELECT look FROM study_looks WHERE study_id = :study ORDER BY number")
ADD_LOOK = Statement("""
    INSERT INTO study_looks (study_id, number, at_ms, look) VALUES (:study, :number, :now, :look)
    ON CONFLICT (study_id, number) DO NOTHING RETURNING number
""")

_OF_PAIR = """
    JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id
"""
# The smallest sets of a ranking study have two pictures and no row in ranked_sets.
_OF_SET = f"""{_OF_PAIR}
    LEFT JOIN ranked_sets k ON k.pair_id = p.id
    LEFT JOIN images t ON t.id = k.third_image_id LEFT JOIN images o ON o.id = k.fourth_image_id
"""
# Valid votes and live leases by comparison: how many votes an arm can have by now. And how many pairs are asked about,
# how many of them still take votes, how many wait until no larger set is left.
_LOADS = """
    SELECT SUM(p.load), SUM(CASE WHEN p.pool = 'task' THEN 1 ELSE 0 END),
           SUM(CASE WHEN p.pool = 'task' AND NOT p.disabled AND p.load < :target THEN 1 ELSE 0 END),
           SUM(CASE WHEN p.pool = 'reserve' THEN 1 ELSE 0 END), {arms}
    FROM pairs p {joins}
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided', 'reserve')
    GROUP BY {arms}
"""
# The votes that count or that counted until they were corrected, in the order in which they came: each with the one
# that it corrects, and whether a later one corrects it.
_VOTES = """
    SELECT v.id, v.supersedes_id, v.choice, EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id), {arms}
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions e ON e.id = v.session_id
    JOIN pairs p ON p.id = a.pair_id {joins}
    WHERE e.study_id = :study AND e.state <> 'excluded' AND NOT e.preview AND a.kind = 'task'
      AND v.question = :question AND v.surplus_reason IS NULL AND v.answered_ms <= :settled
    ORDER BY v.id
"""
_END = """
    UPDATE pairs SET pool = 'decided' WHERE id IN (
        SELECT p.id FROM pairs p {joins}
        WHERE p.study_id = :study AND p.pool = 'task' AND :arm IN ({arms})
        LIMIT :limit [[sqlite: | postgresql: FOR UPDATE OF p SKIP LOCKED]])
    RETURNING id
"""
_LEFT_TO_END = """
    SELECT 1 FROM pairs p {joins} WHERE p.study_id = :study AND p.pool = 'task' AND :arm IN ({arms}) LIMIT 1
"""
PAIR, SET = {"joins": _OF_PAIR, "arms": "f.arm, s.arm"}, {"joins": _OF_SET, "arms": "f.arm, s.arm, t.arm, o.arm"}
LOADS, LOADS_OF_SETS = Statement(_LOADS.format(**PAIR)), Statement(_LOADS.format(**SET))
VOTES, VOTES_ON_SETS = Statement(_VOTES.format(**PAIR)), Statement(_VOTES.format(**SET))
END_PAIRS, END_SETS = Statement(_END.format(**PAIR)), Statement(_END.format(**SET))
PAIRS_LEFT_TO_END, SETS_LEFT_TO_END = Statement(_LEFT_TO_END.format(**PAIR)), Statement(_LEFT_TO_END.format(**SET))

# Walks the live leases. A pair that is on a screen may still get its vote.
ANY_LEASE = Statement("""
    SELECT 1 FROM assignments a JOIN pairs p ON p.id = a.pair_id
    WHERE a.state = 'leased' AND a.kind = 'task' AND p.study_id = :study LIMIT 1
""")
LEFT_OUT = Statement("""
    SELECT pseudonym FROM annotators WHERE study_id = :study AND excluded_ms IS NOT NULL ORDER BY pseudonym
""")
HAND_OUT_RESERVE = Statement(f"""
    UPDATE pairs SET pool = 'task' WHERE id IN (
        SELECT p.id FROM pairs p {_OF_SET}
        WHERE p.study_id = :study AND p.pool = 'reserve'
          AND f.arm = :first AND s.arm = :second AND COALESCE(t.arm, '') = :third AND o.arm IS NULL
        LIMIT :limit)
    RETURNING id
""")
