"""What an audit checks, each as a function from the evidence to a list of problems in words.

The chain fixes the votes from the moment at which a head was published; the preregistration fixes design, pictures,
arms and plan from before the first vote. Nothing fixes who was left out afterwards, and why: left_out.py.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from analysis.auditing.read import TRIPLETS, Evidence, Head, Line
from qsched.records import Choice, TripletAnswer
from qsched.records.evidence import PLACES_FIELD, arms_commitment, chain_start, extend, leaf_of, sha256
from qsched.records.rankings import votes_of_ranking

#: A vote is sealed seconds after it was stored; older than the last seal by more than this, it was added afterwards.
LATE_MS = 60_000
#: Of the sides of all votes: so far from half that a fair draw does it less than once in 100,000 studies.
MOST_SIDE_DEVIATION = 4.5
SHOWN = 3
#: Columns of the votes table that are compared with the chain, under the names that they have there.
TABLE_COLUMNS = {
    "study": "study",
    "question": "question",
    "pair_id": "pair_id",
    "prompt_id": "prompt_id",
    "category": "category",
    "sample_index": "sample_index",
    "left_arm": "left_arm",
    "right_arm": "right_arm",
    "choice": "choice",
    "annotator": "annotator",
    "session": "session",
    "served_at": "served_ms",
    "answered_at": "answered_ms",
    "response_ms": "response_ms",
    "kind": "kind",
    "expected": "expected",
    "simulated": "simulated",
    "strength": "strength",
    "selection_probability": "selection_probability",
    "doubt": "doubt",
}
#: The same of the triplets table: what the chain has, and what the preregistered pair has.
_TRIPLET_COLUMNS = {
    "study": "study",
    "triplet_id": "pair_id",
    "prompt_id": "prompt_id",
    "sample_index": "sample_index",
    "left_arm": "left_arm",
    "right_arm": "right_arm",
    "answer": "choice",
    "annotator": "annotator",
    "session": "session",
    "served_at": "served_ms",
    "answered_at": "answered_ms",
    "response_ms": "response_ms",
    "kind": "kind",
    "simulated": "simulated",
}
_OF_PAIR = {
    name: name
    for name in (
        "reference_arm",
        "presentation",
        "factor",
        "crop_x",
        "crop_y",
        "crop_width",
        "crop_height",
        "clipped",
    )
}


def run(check: Callable[[], list[str]]) -> list[str]:
    """The problems that a check finds; fields that are missing or of another kind are a problem, not a crash."""
    try:
        return check()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        return [f"the files do not hold what they should: {type(error).__name__}: {error}"]


def check_chain(evidence: Evidence, published: Mapping[int, Head]) -> list[str]:
    """Every leaf is that of its row, and the chain passes through every seal and every published head."""
    problems = []
    wrong = [
        line.position
        for line in evidence.lines
        if line.row is not None and leaf_of(evidence.salt, line.row) != line.leaf
    ]
    if wrong:
        problems.append(f"{len(wrong)} votes were changed after they were sealed: positions {listed(wrong)}")
    if [line.position for line in evidence.lines] != list(range(evidence.votes)):
        problems.append(f"the chain has {evidence.votes} votes, but the positions in rows.jsonl are not 0 to the last")
        return problems
    heads, head = {0: chain_start(evidence.salt)}, chain_start(evidence.salt)
    for line in evidence.lines:
        head = extend(head, (line.leaf,))
        heads[line.position + 1] = head
    if head != evidence.head:
        problems.append("the chain does not end in the head of chain.json: a vote was dropped, added or moved")
    seals = {int(seal["votes"]): Head(str(seal["head"]), int(seal["sealed_ms"])) for seal in evidence.seals}
    if len(seals) != len(evidence.seals):
        problems.append("two seals are of the same number of votes")
    for name, marks in (("seal", seals), ("published head", published)):
        broken = sorted(votes for votes, mark in marks.items() if heads.get(votes) != mark.head)
        if broken:
            problems.append(f"{len(broken)} {name}s do not agree with the chain: after {listed(broken)} votes")
    other = sorted(votes for votes, mark in published.items() if seals.get(votes) != mark)
    if other:
        problems.append(
            f"{len(other)} published seals are not in seals.jsonl as they were: after {listed(other)} votes"
        )
    if evidence.votes and evidence.votes not in seals:
        problems.append("the last votes of the chain were never sealed")
    return problems + _check_times(evidence)


def _check_times(evidence: Evidence) -> list[str]:
    """A vote is older than the seal that holds it, and not much older than the one before."""
    problems, start, before = [], 0, None
    for seal in sorted(evidence.seals, key=lambda seal: int(seal["votes"])):
        rows = [line.row for line in evidence.lines[start : int(seal["votes"])] if line.row is not None]
        if before is not None and seal["sealed_ms"] < before:
            problems.append(f"the seal after {seal['votes']} votes is older than the one before it")
        if any(row["answered_ms"] > seal["sealed_ms"] + LATE_MS for row in rows):
            problems.append(f"a vote in the seal after {seal['votes']} votes is dated after it")
        if before is not None and any(row["answered_ms"] < before - LATE_MS for row in rows):
            problems.append(
                f"a vote in the seal after {seal['votes']} votes is dated long before the seal before it: it was added "
                "afterwards"
            )
        start, before = int(seal["votes"]), seal["sealed_ms"]
    return problems


def check_preregistration(evidence: Evidence) -> list[str]:
    """Design, arms and salt are the preregistered ones, and the preregistration is older than the first vote."""
    document = evidence.preregistered
    if evidence.preregistration is None:
        return []
    wanted = {
        "study": evidence.study,
        "design_sha256": sha256(evidence.designs[0]["design"]) if evidence.designs else None,
        "pairs": len(evidence.pairs),
        "arms_commitment": arms_commitment(evidence.salt, evidence.pairs),
        "salt_sha256": sha256(evidence.salt),
        "chain_start": chain_start(evidence.salt),
    }
    names = {
        "study": "the study's name",
        "design_sha256": "the first design",
        "pairs": "the number of pairs",
        "arms_commitment": "which picture is of which arm",
        "salt_sha256": "the salt",
        "chain_start": "the beginning of the chain",
    }
    problems = [
        f"{names[key]} is not what was preregistered" for key, value in wanted.items() if document.get(key) != value
    ]
    if [design["version"] for design in evidence.designs] != list(range(1, len(evidence.designs) + 1)):
        problems.append("a design is missing, doubled or out of order")
    served = [line.row["served_ms"] for line in evidence.lines if line.row is not None]
    try:
        preregistered_ms = datetime.fromisoformat(str(document.get("preregistered_at"))).timestamp() * 1000
    except ValueError:
        return [*problems, "the preregistration does not say when it was made"]
    if served and min(served) < preregistered_ms:
        problems.append("a pair was shown before the study was preregistered")
    return problems


def check_votes_table(evidence: Evidence) -> list[str]:
    """The table holds exactly the votes of the chain that count, and each as it was sealed.

    Of a triplet, what the preregistered pair says of it is compared too. Zoom, flicker and toggles are
    reported by the page and are not sealed: a person may have them deleted while the vote is kept.
    """
    triplets = evidence.table == TRIPLETS
    columns = {**_TRIPLET_COLUMNS, **_OF_PAIR} if triplets else TABLE_COLUMNS
    try:
        frame = pl.read_parquet(evidence.folder / evidence.table)
    except (pl.exceptions.PolarsError, OSError) as error:
        return [f"{evidence.table} cannot be read: {error}"]
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        return [f"{evidence.table} lacks the columns {', '.join(missing)}"]
    times = [pl.col(name).dt.epoch("ms") for name in ("served_at", "answered_at")]
    table = Counter(frame.with_columns(*times).select(*columns).iter_rows())
    pairs = {pair["pair_id"]: pair for pair in evidence.pairs}
    rows = [line.row for line in standing(evidence) if line.row is not None and not line.excluded]
    chain = Counter(
        made
        for row in rows
        for made in ([_as_triplet_row(row, pairs[row["pair_id"]])] if triplets else as_table_rows(row, pairs))
    )
    extra, lost = table - chain, chain - table
    problems = []
    if extra:
        problems.append(
            f"{extra.total()} rows of {evidence.table} are not votes of the chain that count, as they stand there"
        )
    if lost:
        problems.append(f"{lost.total()} votes of the chain that count are not in {evidence.table} as they were sealed")
    return problems


def standing(evidence: Evidence) -> Iterator[Line]:
    """The votes that stand, not corrected, not surplus, not deleted; also those of people who were left out."""
    corrected = {line.row["supersedes"] for line in evidence.lines if line.row is not None}
    for line in evidence.lines:
        if line.row is not None and line.surplus is None and line.row["vote"] not in corrected:
            yield line


def check_chances(evidence: Evidence) -> list[str]:
    """Sides look like fair draws, and selection probabilities are probabilities where the design draws."""
    first = {pair["pair_id"]: pair["first_arm"] for pair in evidence.pairs}
    seen = {
        line.row["assignment"]: line.row
        for line in evidence.lines
        if line.row is not None and line.row["kind"] in ("task", "warmup") and line.row["pair_id"] in first
    }
    n = len(seen)
    on_left = sum(row["left_arm"] == first[row["pair_id"]] for row in seen.values())
    problems = []
    if n and abs(on_left - n / 2) > MOST_SIDE_DEVIATION * math.sqrt(n) / 2:
        problems.append(f"the first picture was on the left in {on_left} of {n} pairs: sides were not drawn at random")
    drawn = evidence.design.get("comparisons") == "adaptive"
    wrong = [row["vote"] for row in seen.values() if row["kind"] == "task" and not _is_chance(row, drawn=drawn)]
    if wrong:
        rule = "lack a selection probability in (0, 1]" if drawn else "have one, but the design draws no comparison"
        problems.append(f"{len(wrong)} votes {rule}")
    return problems


def _is_chance(row: Mapping[str, Any], *, drawn: bool) -> bool:
    probability = row["selection_probability"]
    return (probability is not None and 0 < probability <= 1) if drawn else probability is None


def as_table_row(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A vote of the chain as a row of the votes table, in the order of TABLE_COLUMNS."""
    values = dict(row)
    expected = values["expected"]
    if expected is not None and expected.startswith("{"):
        values["expected"] = json.loads(expected).get(values["question"])
    return tuple(values[name] for name in TABLE_COLUMNS.values())


def arms_of_pair(pair: Mapping[str, Any]) -> tuple[str, ...]:
    """The arms of a pair, or of all pictures of a set."""
    return tuple(pair[side] for side in ("first_arm", "second_arm", "third_arm", "fourth_arm") if side in pair)


def as_table_rows(row: Mapping[str, Any], pairs: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """A vote of the chain as rows of the votes table: of a ranking one for every two pictures."""
    if PLACES_FIELD not in row:
        return [as_table_row(row)]
    known = row["expected"]
    if row["choice"] == Choice.SKIP:
        return [as_table_row({**row, "expected": None})]
    arms = arms_of_pair(pairs[row["pair_id"]])
    return [
        as_table_row(
            {
                **row,
                "left_arm": arms[i if i_left else j],
                "right_arm": arms[j if i_left else i],
                "choice": answer.value,
                "expected": expected,
            }
        )
        for i, j, i_left, answer, expected in votes_of_ranking(row["choice"], row[PLACES_FIELD], known)
    ]


def _as_triplet_row(row: Mapping[str, Any], pair: Mapping[str, Any]) -> tuple[Any, ...]:
    values = {**row, "choice": TripletAnswer.NOT_SURE.value if row["choice"] == "tie" else row["choice"]}
    sealed = [values[name] for name in _TRIPLET_COLUMNS.values()]
    return (*sealed, *(pair.get(name) for name in _OF_PAIR.values()))


def listed(values: Iterable[object]) -> str:
    """The first few of the values, in words."""
    every = [str(value) for value in values]
    return ", ".join(every[:SHOWN]) + (", ..." if len(every) > SHOWN else "")
