"""Who and what was left out of a study, as far as the files show it: excluded people, surplus votes, an early end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from analysis.auditing.checks import listed, standing
from analysis.auditing.read import Evidence, Line
from qsched.command_line import counted as number_of
from qsched.records import Choice, Kind
from qsched.records.evidence import CAME_BACK_LATE, CAME_LATE, SILENT_MS

#: Of a design that does not say how long a pair is held for a person.
LEASE_SECONDS = 180


def check_left_out(evidence: Evidence) -> list[str]:
    """Votes are surplus only where a pair has its votes, nobody's pair has more, and the left-out people are listed."""
    problems = []
    named = {str(one["annotator"]) for one in evidence.excluded}
    marked = {line.row["annotator"] for line in evidence.lines if line.row is not None and line.excluded}
    kept = {line.row["annotator"] for line in evidence.lines if line.row is not None and not line.excluded}
    if marked - named:
        problems.append(f"annotators are excluded without being listed: {listed(sorted(marked - named))}")
    if kept & named:
        problems.append(f"annotators are listed as excluded and their votes count: {listed(sorted(kept & named))}")
    if any(line.row is None and (line.excluded or line.surplus is not None) for line in evidence.lines):
        problems.append("deleted votes are marked as excluded or surplus: nothing but their leaf is left of them")
    problems += _check_marks(evidence)
    first, newest = _targets(evidence, _first_design(evidence)), _targets(evidence, evidence.design)
    if fewer := sorted(pair for pair, votes in newest.items() if votes < first[pair]):
        problems.append(f"a later design asks for fewer votes than the first, of pairs {listed(fewer)}")
    valid = _valid(evidence)
    over = sorted(pair for pair, votes in valid.items() if len(votes) > newest[pair])
    if over:
        most = " or ".join(str(number) for number in sorted({newest[pair] for pair in over}))
        problems.append(f"{len(over)} pairs have more than {most} votes that count: {listed(over)}")
    # Whoever took the slot of a late vote may have left without an answer, and is in no file.
    late = {line.row["pair_id"] for line in _surplus(evidence) if line.row is not None and line.surplus == CAME_LATE}
    unfilled = {pair: votes for pair, votes in _unfilled(evidence).items() if votes and pair not in late}
    deleted = sum(line.row is None for line in evidence.lines)
    if min(sum(unfilled.values()), _left_of_total(evidence)) > deleted:
        words = f"votes are marked as surplus although their pair lacks votes: {listed(sorted(unfilled))}"
        if any(line.surplus == CAME_BACK_LATE for line in _surplus(evidence)):
            # No file shows who holds a pair; to let this pass would let an owner drop votes by these two acts.
            words += (
                " (it looks the same if somebody was included again while another person had the pair on screen, who "
                "then left, and the study ended early)"
            )
        problems.append(words)
    return problems


def _check_marks(evidence: Evidence) -> Iterator[str]:
    """Marks of surplus votes that no server makes: they are not in the chain, so a forger may write them anywhere."""
    rows = {line.row["vote"]: line for line in evidence.lines if line.row is not None}
    if {line.surplus for line in evidence.lines} - {None, CAME_LATE, CAME_BACK_LATE}:
        yield "votes are marked as surplus for a reason that no server gives"
    marked = [line for line in rows.values() if line.surplus is not None]
    if other := [line.position for line in marked if line.row is not None and line.row["kind"] != Kind.TASK]:
        yield f"trials that take no slot, such as practice, are marked as surplus: positions {listed(other)}"
    designs = [json.loads(one["design"]) for one in evidence.designs]
    held_ms = min(SILENT_MS, *(1000 * one.get("lease_seconds", LEASE_SECONDS) for one in designs))
    late = [line for line in marked if line.surplus == CAME_LATE]
    in_time = [line.position for line in late if not _may_be_late(line, rows, held_ms)]
    if in_time:
        yield f"votes are marked as late that came before their slot could be lost: positions {listed(in_time)}"
    if any(line.row is not None and line.row["supersedes"] not in {None, *rows} for line in rows.values()):
        yield "votes correct others that were deleted: whose data are deleted loses all votes"


def _may_be_late(line: Line, rows: dict[int, Line], held_ms: int) -> bool:
    """Whether the slot may have gone to somebody else before the answer: times and corrections are in the chain.

    A slot is lost when the lease runs out or after a long silence (`held_ms` at the earliest), and with an answer that
    skips the pair.
    """
    assert line.row is not None
    before = rows.get(line.row["supersedes"])
    if before is not None and before.row is not None:
        return before.surplus is not None or before.row["choice"] == Choice.SKIP
    return bool(line.row["answered_ms"] - line.row["served_ms"] >= held_ms)


def _unfilled(evidence: Evidence) -> dict[str, int]:
    """Pairs that lack votes and have surplus ones, and how many of the lacking votes the chain does not explain.

    A vote is surplus because its pair had its votes when it came. If somebody is excluded afterwards or corrects an
    answer to a skip, the pair lacks votes again and the surplus vote stays surplus. A deleted vote may explain a
    lacking one, too, but of which pair, no file shows. No file shows either who held a slot and never answered.
    """
    target, valid, gone = _targets(evidence, _first_design(evidence)), _valid(evidence), _gone(evidence)
    return {
        pair: max(0, target[pair] - len(valid.get(pair, ())) - gone[pair])
        for pair in {line.row["pair_id"] for line in _surplus(evidence) if line.row is not None}
        if len(valid.get(pair, ())) < target[pair]
    }


def _left_of_total(evidence: Evidence) -> float:
    """Votes of `votes_total` that were never given: a vote may be surplus, too, because the study had its total."""
    total = _first_design(evidence).get("votes_total")
    if total is None:
        return float("inf")
    given = sum(len(votes) for votes in _valid(evidence).values()) + sum(_gone(evidence).values())
    return max(0, int(total) - given)


def _gone(evidence: Evidence) -> Counter[str]:
    """By pair, how many votes counted once and do not now: of excluded people, or corrected to a skip."""
    gone = Counter({pair: len(votes) for pair, votes in _valid(evidence, excluded=True).items()})
    rows = [line.row for line in evidence.lines if line.row is not None and line.row["kind"] == Kind.TASK]
    corrected = {row["supersedes"] for row in rows}
    answered = {row["assignment"] for row in rows if row["choice"] != Choice.SKIP and row["vote"] not in corrected}
    skipped = {
        line.row["assignment"]: line.row["pair_id"]
        for line in evidence.lines
        if line.row is not None and line.row["vote"] in corrected and line.surplus is None
        if line.row["kind"] == Kind.TASK and line.row["choice"] != Choice.SKIP
    }
    gone.update(pair for assignment, pair in skipped.items() if assignment not in answered)
    return gone


def _surplus(evidence: Evidence) -> Iterator[Line]:
    """Surplus votes on task pairs."""
    for line in evidence.lines:
        if line.row is not None and line.surplus is not None and line.row["kind"] == Kind.TASK:
            yield line


def _valid(evidence: Evidence, *, excluded: bool = False) -> dict[str, set[int]]:
    """The task votes that count and are not skips, by pair; `excluded`: those that would count of excluded people."""
    valid: dict[str, set[int]] = {}
    for line in standing(evidence):
        assert line.row is not None
        if line.excluded == excluded and line.row["kind"] == Kind.TASK and line.row["choice"] != Choice.SKIP:
            valid.setdefault(line.row["pair_id"], set()).add(line.row["assignment"])
    return valid


def _ended_early(evidence: Evidence) -> Iterator[str]:
    """A study without a stopping rule that lacks votes of its design: somebody ended it."""
    target, valid = _targets(evidence, evidence.design), _valid(evidence)
    task = [pair["pair_id"] for pair in evidence.pairs if pair["pool"] == "task"]
    total = evidence.design.get("votes_total")
    asked = sum(target[pair] for pair in task) if total is None else int(total)
    there = sum(len(valid.get(pair, ())) for pair in task)
    if evidence.design.get("stopping") is None and there < asked:
        yield (
            f"{there} of {asked} valid votes that the design asks for are there: the study was ended early, or pairs "
            "were taken out. Who ended it may have seen the answers so far"
        )


def _first_design(evidence: Evidence) -> dict[str, Any]:
    """The design that the study began with; votes for each pair, and in all, can only grow afterwards."""
    return dict(json.loads(evidence.designs[0]["design"]))


def _targets(evidence: Evidence, design: dict[str, Any]) -> dict[str, int]:
    """The votes that a design asks for, by pair; `fidelity: {votes: ...}` has numbers by presentation and arm."""
    everywhere = int(design.get("votes_per_pair", 0))
    own = (design.get("fidelity") or {}).get("votes")
    found = {}
    for pair in evidence.pairs:
        number = None
        if own is not None:
            shown = pair["presentation"]
            named = [own["arms"].get(pair[side], {}).get(shown) for side in ("first_arm", "second_arm")]
            number = max((votes for votes in named if votes), default=own.get(shown))
        found[pair["pair_id"]] = number or everywhere
    return found


def not_judged(evidence: Evidence) -> list[str]:
    """What no hash can judge: who and what was left out, and what changed on the way."""
    deleted = sum(line.row is None for line in evidence.lines)
    out = sum(line.excluded for line in evidence.lines)
    surplus = [line for line in _surplus(evidence) if not line.excluded]
    there = sum(not line.excluded for line in standing(evidence))
    words = [
        f"{evidence.votes} votes were stored; {there} are in the votes table",
        f"{deleted} were deleted at their person's request; whether it was a request, no file shows",
        f"{out} are of {number_of(len(evidence.excluded), 'annotator')} whom the owner excluded, for these reasons:"
        if evidence.excluded
        else "the owner excluded nobody",
    ]
    words += [f"    {one['annotator']}: {one['reason']}" for one in evidence.excluded]
    words.append(f"{len(surplus)} are surplus: given when their pair had its votes")
    back = {line.row["annotator"] for line in surplus if line.row is not None and line.surplus == CAME_BACK_LATE}
    if back:
        words.append(
            f"{sum(line.surplus == CAME_BACK_LATE for line in surplus)} of these are of "
            f"{number_of(len(back), 'annotator')} whom the owner excluded and included again, which no hash shows: "
            f"{listed(sorted(back))}"
        )
    short = len(_unfilled(evidence))
    if short:
        words.append(
            f"{number_of(short, 'pair')} with surplus votes {'lacks' if short == 1 else 'lack'} votes now: other votes "
            "were excluded, deleted or corrected to a skip afterwards, or more were asked for; or somebody held a slot "
            "and did not answer"
        )
    words += _ended_early(evidence)
    if len(evidence.designs) > 1:
        designs = [json.loads(one["design"]) for one in evidence.designs]
        keys = {key for old, new in pairwise(designs) for key in {*old, *new} if old.get(key) != new.get(key)}
        times = number_of(len(designs) - 1, "time")
        named = f": {', '.join(sorted(keys))}" if keys else ""
        words.append(f"the design was changed {times} after it was preregistered or made{named}")
    return words
