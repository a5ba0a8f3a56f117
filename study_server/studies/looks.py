"""Planned looks of a study with a stopping rule: when the next one is due, what was found, and which pairs end.

A look is a function of the stored votes: look k uses the votes up to the one with which every open arm had its k /
looks of the horizon, as they stood with it, however late it is carried out. So nobody chooses its moment. If nothing is
left to hand out before that (people left the deciding question out, or pairs were taken out of the study), the next
look is taken with the votes that there are, and is the last. The estimate is the analysis's; `qsched study look` brings
the two together. Pairs of a decided arm go to the pool "decided", from which nothing is handed out; a vote on one that
is on a screen still counts. After the last look the same happens to all pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from qsched.records import Choice
from qsched.records.stopping import ArmLook, Look, Looks, StoppingRule
from study_server.db import Database, Statement, Tx
from study_server.studies.actions import record_action
from study_server.studies.cache import find_study
from study_server.studies.study import Study

DECIDED = "decided"
#: Who acts when a look is carried out: the design, not a person.
ACTOR = "stopping rule"
# A vote this old has every vote with a lower number before it, also where several processes write.
SETTLED_MS = 10_000
PAIRS_AT_ONCE = 500

WITH_RULE = Statement("""
    SELECT slug FROM studies WHERE status IN ('open', 'paused') AND design LIKE '%"stopping":{%' ORDER BY id
""")
LOOKS = Statement("SELECT look FROM study_looks WHERE study_id = :study ORDER BY number")
ADD_LOOK = Statement("""
    INSERT INTO study_looks (study_id, number, at_ms, look) VALUES (:study, :number, :now, :look)
    ON CONFLICT (study_id, number) DO NOTHING RETURNING number
""")
# Valid votes and live leases by comparison: how many votes an arm can have by now. And how many pairs are asked about,
# how many of them still take votes.
LOADS = Statement("""
    SELECT f.arm, s.arm, SUM(p.load), SUM(CASE WHEN p.pool = 'task' THEN 1 ELSE 0 END),
           SUM(CASE WHEN p.pool = 'task' AND NOT p.disabled AND p.load < :target THEN 1 ELSE 0 END)
    FROM pairs p JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided')
    GROUP BY f.arm, s.arm
""")
# Walks the live leases. A pair that is on a screen may still get its vote.
ANY_LEASE = Statement("""
    SELECT 1 FROM assignments a JOIN pairs p ON p.id = a.pair_id
    WHERE a.state = 'leased' AND a.kind = 'task' AND p.study_id = :study LIMIT 1
""")
# The votes that count or that counted until they were corrected, in the order in which they came: each with the one
# that it corrects, and whether a later one corrects it.
VOTES = Statement("""
    SELECT v.id, v.supersedes_id, v.choice, f.arm, g.arm,
           EXISTS (SELECT 1 FROM votes n WHERE n.supersedes_id = v.id)
    FROM votes v [[sqlite: NOT INDEXED | postgresql: ]]
    JOIN assignments a ON a.id = v.assignment_id
    JOIN sessions s ON s.id = v.session_id
    JOIN pairs p ON p.id = a.pair_id
    JOIN images f ON f.id = p.first_image_id
    JOIN images g ON g.id = p.second_image_id
    WHERE s.study_id = :study AND s.state <> 'excluded' AND NOT s.preview AND a.kind = 'task'
      AND v.question = :question AND v.surplus_reason IS NULL AND v.answered_ms <= :settled
    ORDER BY v.id
""")
LEFT_OUT = Statement("""
    SELECT pseudonym FROM annotators WHERE study_id = :study AND excluded_ms IS NOT NULL ORDER BY pseudonym
""")
END_PAIRS = Statement("""
    UPDATE pairs SET pool = 'decided' WHERE id IN (
        SELECT p.id FROM pairs p
        JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id
        WHERE p.study_id = :study AND p.pool = 'task' AND (f.arm = :arm OR s.arm = :arm)
        LIMIT :limit [[sqlite: | postgresql: FOR UPDATE OF p SKIP LOCKED]])
    RETURNING id
""")
LEFT_TO_END = Statement("""
    SELECT 1 FROM pairs p
    JOIN images f ON f.id = p.first_image_id JOIN images s ON s.id = p.second_image_id
    WHERE p.study_id = :study AND p.pool = 'task' AND (f.arm = :arm OR s.arm = :arm) LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Stopping:
    """The state of a study with a stopping rule: the arms to decide, those still open, the looks so far.

    `votes` counts valid votes and votes on screens by arm, so that it is never too low. `asked` are the arms of pairs
    that are handed out. `number` is the next look, None if no arm is open or the last look is over; it happens at
    `needed` votes of each open arm, or once `exhausted`: nothing can be handed out, and nothing is on a screen.
    """

    rule: StoppingRule
    question: str
    arms: tuple[str, ...]
    undecided: tuple[str, ...]
    looks: tuple[Look, ...]
    votes: Mapping[str, int]
    asked: frozenset[str]
    number: int | None
    needed: int
    exhausted: bool

    def latest(self) -> tuple[tuple[int, ArmLook], ...]:
        """The last word on each arm with the number of its look, 0 before the first one."""
        found = {arm: (0, ArmLook(arm=arm, votes=self.votes[arm])) for arm in self.arms}
        for look in self.looks:
            found.update({one.arm: (look.number, one) for one in look.arms})
        return tuple(found.values())

    @property
    def ended(self) -> tuple[str, ...]:
        """The arms about which nothing more is asked."""
        return self.arms if self.number is None else tuple(arm for arm in self.arms if arm not in self.undecided)

    @property
    def may_be_due(self) -> bool:
        """Whether the next look can be due, by votes and leases together."""
        enough = self.number is not None and min(self.votes[arm] for arm in self.undecided) >= self.needed
        return enough or self.exhausted

    @property
    def has_pairs_to_end(self) -> bool:
        """Whether pairs of a decided arm are still handed out: a look was taken and not carried out to the end."""
        return not self.asked.isdisjoint(self.ended)


@dataclass(frozen=True, slots=True)
class DueLook:
    """The next look: its number, and the vote with which every open arm had enough; if `final`, the last of all."""

    number: int
    through: int
    final: bool = False


def read_stopping(tx: Tx, study: Study) -> Stopping | None:
    """The state of a study's rule; None without one."""
    rule = study.design.stopping
    if rule is None:
        return None
    votes: Counter[str] = Counter()
    asked: set[str] = set()
    takes_votes = False
    for first, second, load, pairs, taking in tx.all(LOADS, study=study.id, target=study.design.votes_per_pair):
        votes[first] += int(load)
        votes[second] += int(load)
        asked.update((first, second) if pairs else ())
        takes_votes |= bool(taking)
    arms = tuple(arm for arm in sorted(votes) if arm != rule.baseline)
    looks = tuple(Look.model_validate_json(text) for (text,) in tx.all(LOOKS, study=study.id))
    decided = {arm for look in looks for arm in look.decided}
    undecided = tuple(arm for arm in arms if arm not in decided)
    number = len(looks) + 1
    over = not undecided or (rule.last_look is not None and number > rule.last_look) or any(one.final for one in looks)
    return Stopping(
        rule=rule,
        question=question_of(study),
        arms=arms,
        undecided=undecided,
        looks=looks,
        votes=votes,
        asked=frozenset(asked),
        number=None if over else number,
        needed=0 if over else rule.votes_at(number),
        exhausted=not (over or takes_votes) and tx.one(ANY_LEASE, study=study.id) is None,
    )


def question_of(study: Study) -> str:
    """The question whose answers decide."""
    rule = study.design.stopping
    return (rule.question if rule is not None else None) or study.design.questions[0].id


def find_due_look(tx: Tx, study: Study, stopping: Stopping, *, now: int) -> DueLook | None:
    """The next look if its votes are there, or if no more can come; None otherwise.

    Reads the votes in order until they suffice. A vote counts until it is corrected, as it did then.
    """
    if not stopping.may_be_due or stopping.number is None:
        return None
    votes: Counter[str] = Counter()
    corrected: dict[int, tuple[str, ...]] = {}
    last = 0
    for number, corrects, choice, first, second, is_corrected in tx.all(
        VOTES, study=study.id, question=stopping.question, settled=now - SETTLED_MS
    ):
        votes.subtract(corrected.pop(corrects, ()))
        arms = () if choice == Choice.SKIP else (first, second)
        votes.update(arms)
        if is_corrected:
            corrected[number] = arms
        if corrects is None:
            last = int(number)
        if all(votes[arm] >= stopping.needed for arm in stopping.undecided):
            return DueLook(stopping.number, int(number))
    return DueLook(stopping.number, last, final=True) if stopping.exhausted and last else None


def left_out_of(tx: Tx, study: Study) -> tuple[str, ...]:
    """The annotators whose votes do not count."""
    return tuple(name for (name,) in tx.all(LEFT_OUT, study=study.id))


def store_look(tx: Tx, study: Study, look: Look, *, now: int) -> bool:
    """Keep a look; False if another process was first, whose look is then kept."""
    stored = tx.one(ADD_LOOK, study=study.id, number=look.number, now=now, look=look.model_dump_json())
    if stored is None:
        return False
    found = ", ".join(f"{one.arm} {one.decision}" for one in look.arms if one.decision != "open")
    detail = f"look {look.number}{', the last' if look.final else ''}, {look.votes} votes: {found or 'no arm decided'}"
    record_action(tx, "look", actor=ACTOR, study=study.slug, detail=detail)
    return True


def end_pairs(tx: Tx, study: Study, arm: str) -> bool:
    """Stop asking about some pairs of a decided arm; True while there may be more."""
    tx.all(END_PAIRS, study=study.id, arm=arm, limit=PAIRS_AT_ONCE)
    return tx.one(LEFT_TO_END, study=study.id, arm=arm) is not None


def looks_of(database: Database, slug: str) -> Looks | None:
    """Every look of a study as it is exported; None without a rule."""
    with database.snapshot() as tx:
        study = find_study(tx, slug)
        stopping = read_stopping(tx, study)
    if stopping is None:
        return None
    return Looks(
        study=study.slug,
        question=stopping.question,
        arms=len(stopping.arms),
        rule=stopping.rule,
        looks=stopping.looks,
    )
