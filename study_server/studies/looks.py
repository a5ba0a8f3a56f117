"""Planned looks of a study with a stopping rule: when the next one is due, what was found, and which pairs end.

A look is a function of the stored votes: look k uses the votes up to the one with which every open arm had its k /
looks of the horizon, as they stood with it, however late it is carried out. So nobody chooses its moment. If nothing is
left to hand out before that (people left the deciding question out, or pairs were taken out of the study), the next
look is taken with the votes that there are, and is the last. The estimate is the analysis's; `qsched study look` brings
the two together. Pairs of a decided arm go to the pool "decided", from which nothing is handed out; a vote on one that
is on a screen still counts. After the last look the same happens to all pairs.

In a ranking study all this is of sets: one of k pictures gives each of its arms k - 1 votes on pairs, and every set of
a decided arm ends. If fewer arms are open than a set needs, the smaller sets that were planned for this
(`dropping_sets`) are handed out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qsched.records import Choice
from qsched.records.stopping import ArmLook, Look, Looks, StoppingRule
from study_server.db import Database, Tx
from study_server.studies import looks_queries as queries
from study_server.studies.actions import record_action
from study_server.studies.cache import find_study
from study_server.studies.study import Study

DECIDED = "decided"
#: Who acts when a look is carried out: the design, not a person.
ACTOR = "stopping rule"
# A vote this old has every vote with a lower number before it, also where several processes write.
SETTLED_MS = 10_000
PAIRS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Stopping:
    """The state of a study with a stopping rule: the arms to decide, those still open, the looks so far.

    `votes` counts valid votes and votes on screens by arm, so that it is never too low. `asked` are the arms of pairs
    that are handed out. `number` is the next look, None if no arm is open or the last look is over; it happens at
    `needed` votes of each open arm, or once `exhausted`: nothing can be handed out, and nothing is on a screen.
    `next_set` are the arms of a ranking study's smaller sets whose turn has come, until they are handed out.
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
    next_set: tuple[str, ...] = ()

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
    def is_carried_out(self) -> bool:
        """Whether no pair of a decided arm is handed out any more, and no set of the open ones waits for its turn."""
        return self.asked.isdisjoint(self.ended) and not self.next_set


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
    waiting: dict[frozenset[str], tuple[str, ...]] = {}
    statement = queries.LOADS if study.design.ranking is None else queries.LOADS_OF_SETS
    for load, pairs, taking, kept_back, *row in tx.all(statement, study=study.id, target=study.design.votes_per_pair):
        shown = _arms(row)
        votes.update({arm: int(load) * (len(shown) - 1) for arm in shown})
        asked.update(shown if pairs else ())
        takes_votes |= bool(taking)
        if kept_back:
            waiting[frozenset(shown)] = shown
    arms = tuple(arm for arm in sorted(votes) if arm != rule.baseline)
    looks = tuple(Look.model_validate_json(text) for (text,) in tx.all(queries.LOOKS, study=study.id))
    decided = {arm for look in looks for arm in look.decided}
    undecided = tuple(arm for arm in arms if arm not in decided)
    number = len(looks) + 1
    over = not undecided or (rule.last_look is not None and number > rule.last_look) or any(one.final for one in looks)
    next_set = () if over else waiting.get(frozenset((rule.baseline, *undecided)), ())
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
        exhausted=not (over or takes_votes or next_set) and tx.one(queries.ANY_LEASE, study=study.id) is None,
        next_set=next_set,
    )


def _arms(row: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(arm for arm in row if arm is not None)


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
    statement = queries.VOTES if study.design.ranking is None else queries.VOTES_ON_SETS
    for number, corrects, choice, is_corrected, *row in tx.all(
        statement, study=study.id, question=stopping.question, settled=now - SETTLED_MS
    ):
        votes.subtract(corrected.pop(corrects, ()))
        shown = _arms(row)
        arms = () if choice == Choice.SKIP else shown * (len(shown) - 1)
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
    return tuple(name for (name,) in tx.all(queries.LEFT_OUT, study=study.id))


def store_look(tx: Tx, study: Study, look: Look, *, now: int) -> bool:
    """Keep a look; False if another process was first, whose look is then kept."""
    stored = tx.one(queries.ADD_LOOK, study=study.id, number=look.number, now=now, look=look.model_dump_json())
    if stored is None:
        return False
    found = ", ".join(f"{one.arm} {one.decision}" for one in look.arms if one.decision != "open")
    detail = f"look {look.number}{', the last' if look.final else ''}, {look.votes} votes: {found or 'no arm decided'}"
    record_action(tx, "look", actor=ACTOR, study=study.slug, detail=detail)
    return True


def end_pairs(tx: Tx, study: Study, arm: str) -> bool:
    """Stop asking about some pairs or sets of a decided arm; True while there may be more."""
    pairs = study.design.ranking is None
    tx.all(queries.END_PAIRS if pairs else queries.END_SETS, study=study.id, arm=arm, limit=PAIRS_AT_ONCE)
    left = queries.PAIRS_LEFT_TO_END if pairs else queries.SETS_LEFT_TO_END
    return tx.one(left, study=study.id, arm=arm) is not None


def hand_out_reserve(tx: Tx, study: Study, arms: Sequence[str]) -> bool:
    """Begin to hand out some smaller sets, those of exactly these arms; True while there may be more."""
    first, second, third = (*arms, "")[:3]
    found = tx.all(
        queries.HAND_OUT_RESERVE, study=study.id, first=first, second=second, third=third, limit=PAIRS_AT_ONCE
    )
    return len(found) == PAIRS_AT_ONCE


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
