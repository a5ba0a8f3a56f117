"""Who and what was left out of a study, as far as the files show it: excluded people, surplus votes, an early end."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.auditing.checks import listed, standing
from analysis.auditing.read import Evidence, Line
from qsched.command_line import counted as number_of
from qsched.records.evidence import CAME_BACK_LATE, CAME_LATE


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
    if {line.surplus for line in evidence.lines} - {None, CAME_LATE, CAME_BACK_LATE}:
        problems.append("votes are marked as surplus for a reason that no server gives")
    if any(line.row is None and (line.excluded or line.surplus is not None) for line in evidence.lines):
        problems.append("deleted votes are marked as excluded or surplus: nothing but their leaf is left of them")
    target, valid = _targets(evidence), _valid(evidence)
    over = sorted(pair for pair, votes in valid.items() if len(votes) > target[pair])
    if over:
        most = " or ".join(str(number) for number in sorted({target[pair] for pair in over}))
        problems.append(f"{len(over)} pairs have more than {most} votes that count: {listed(over)}")
    unfilled = _unfilled(evidence)
    deleted = sum(line.row is None for line in evidence.lines)
    if sum(unfilled.values()) > deleted:
        early = sorted(pair for pair, votes in unfilled.items() if votes)
        problems.append(f"votes are marked as surplus although their pair lacks votes: {listed(early)}")
    return problems


def _unfilled(evidence: Evidence) -> dict[str, int]:
    """Pairs that lack votes and have surplus ones, and how many of the lacking votes no exclusion explains.

    A vote is surplus because its pair had its votes when it came. If somebody is excluded afterwards, the pair lacks
    votes again and the surplus vote stays surplus. A deleted vote may explain a lacking one, too, but of which pair, no
    file shows.
    """
    if evidence.design.get("votes_total") is not None:
        return {}
    target, valid, out = _targets(evidence), _valid(evidence), _valid(evidence, excluded=True)
    return {
        pair: max(0, target[pair] - len(valid.get(pair, ())) - len(out.get(pair, ())))
        for pair in {line.row["pair_id"] for line in _surplus(evidence) if line.row is not None}
        if len(valid.get(pair, ())) < target[pair]
    }


def _surplus(evidence: Evidence) -> Iterator[Line]:
    """Surplus votes on task pairs."""
    for line in evidence.lines:
        if line.row is not None and line.surplus is not None and line.row["kind"] == "task":
            yield line


def _valid(evidence: Evidence, *, excluded: bool = False) -> dict[str, set[int]]:
    """The task votes that count and are not skips, by pair; `excluded`: those that would count of excluded people."""
    valid: dict[str, set[int]] = {}
    for line in standing(evidence):
        assert line.row is not None
        if line.excluded == excluded and line.row["kind"] == "task" and line.row["choice"] != "skip":
            valid.setdefault(line.row["pair_id"], set()).add(line.row["assignment"])
    return valid


def _ended_early(evidence: Evidence) -> Iterator[str]:
    """A study without a stopping rule that lacks votes of its design: somebody ended it."""
    target, valid = _targets(evidence), _valid(evidence)
    task = [pair["pair_id"] for pair in evidence.pairs if pair["pool"] == "task"]
    total = evidence.design.get("votes_total")
    asked = sum(target[pair] for pair in task) if total is None else int(total)
    there = sum(len(valid.get(pair, ())) for pair in task)
    if evidence.design.get("stopping") is None and there < asked:
        yield (
            f"{there} of {asked} valid votes that the design asks for are there: the study was ended early, or pairs "
            "were taken out. Who ended it may have seen the answers so far"
        )


def _targets(evidence: Evidence) -> dict[str, int]:
    """The votes that the design asks for, by pair; `fidelity: {votes: ...}` has numbers by presentation and arm."""
    everywhere = int(evidence.design.get("votes_per_pair", 0))
    own = (evidence.design.get("fidelity") or {}).get("votes")
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
    surplus = sum(line.surplus is not None and not line.excluded for line in evidence.lines)
    there = sum(not line.excluded for line in standing(evidence))
    words = [
        f"{evidence.votes} votes were stored; {there} are in the votes table",
        f"{deleted} were deleted at their person's request; whether it was a request, no file shows",
        f"{out} are of {number_of(len(evidence.excluded), 'annotator')} whom the owner excluded, for these reasons:"
        if evidence.excluded
        else "the owner excluded nobody",
    ]
    words += [f"    {one['annotator']}: {one['reason']}" for one in evidence.excluded]
    words.append(f"{surplus} are surplus: given when their pair had its votes")
    short = len(_unfilled(evidence))
    if short:
        words.append(f"{number_of(short, 'pair')} with surplus votes lost others afterwards, and lack votes now")
    words += _ended_early(evidence)
    if len(evidence.designs) > 1:
        words.append(f"the design was changed {len(evidence.designs) - 1} times after it was preregistered or made")
    return words
