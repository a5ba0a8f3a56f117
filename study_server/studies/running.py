"""Against which arm the running estimate of a study is made, and of which arms."""

from __future__ import annotations

from collections import Counter

from study_server.db import Statement, Tx
from study_server.studies.design import Baseline
from study_server.studies.study import Study

# The first picture of a pair is of the arm that comes first in the study.
COMPARED = Statement("""
    SELECT f.arm, g.arm, COUNT(*) FROM pairs p
    JOIN images f ON f.id = p.first_image_id JOIN images g ON g.id = p.second_image_id
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided') GROUP BY f.arm, g.arm
""")
RANKED_TOO = Statement("""
    SELECT DISTINCT i.arm FROM ranked_sets k JOIN pairs p ON p.id = k.pair_id
    JOIN images i ON i.id IN (k.third_image_id, k.fourth_image_id)
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided')
""")


def baseline_and_arms(tx: Tx, study: Study) -> tuple[str, tuple[str, ...]]:
    """The baseline of the design, else the first arm; and every other arm, by name."""
    compared = tx.all(COMPARED, study=study.id)
    arms = {arm for first, second, _ in compared for arm in (first, second)}
    arms |= {arm for (arm,) in tx.all(RANKED_TOO, study=study.id)}
    design = study.design
    named = design.comparisons.baseline if isinstance(design.comparisons, Baseline) else None
    if design.ranking is not None:
        named = design.ranking.baseline
    if named is None:
        seconds = {second for _, second, _ in compared}
        pairs: Counter[str] = Counter()
        for first, _, number in compared:
            pairs[first] += int(number)
        named = min((arm for arm in pairs if arm not in seconds), key=lambda arm: (-pairs[arm], arm), default=min(arms))
    return named, tuple(sorted(arms - {named}))
