"""What the user says of a file: `--map winner=label,left=model_1`, `--outcome 'A=left,B=right'`, and `--yes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analysis.votes.table import SCHEMA
from qsched.records import InputError

#: Short names in `--map` for columns of the table.
SHORT = {"left": "left_arm", "right": "right_arm", "winner": "choice", "prompt": "prompt_id", "pair": "pair_id"}
#: What a file of another shape may have instead of two arms and a choice.
SHAPES = ("loser", "arm", "rating", "rank", "ranking", "wins_left", "wins_right", "ties")
OUTCOMES = ("left", "right", "tie", "skip")


@dataclass(frozen=True)
class Asked:
    """`columns`: our name -> the file's; `outcomes`: the file's word -> ours; `accept`: guesses need no question."""

    columns: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    accept: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.columns or self.outcomes)


def parse_map(text: str | None) -> dict[str, str]:
    """'winner=label,left=model_1' -> {'choice': 'label', 'left_arm': 'model_1'}; InputError for an unknown name."""
    known = (*SHORT, *(name for name in SCHEMA if name not in ("source", "row")), *SHAPES)
    found: dict[str, str] = {}
    for ours, theirs in _pairs(text, "--map"):
        if ours not in known:
            raise InputError(f"--map {ours}={theirs}: {ours!r} is not one of {', '.join(known)}.")
        name = SHORT.get(ours, ours)
        if name in found:
            raise InputError(f"--map: {ours!r} is named twice.")
        found[name] = theirs
    return found


def parse_outcomes(text: str | None) -> dict[str, str]:
    """'A=left,B=right,T=tie' -> {'A': 'left', ...}; InputError for another outcome."""
    found: dict[str, str] = {}
    for theirs, ours in _pairs(text, "--outcome"):
        if ours not in OUTCOMES:
            raise InputError(f"--outcome {theirs}={ours}: {ours!r} is not one of {', '.join(OUTCOMES)}.")
        if theirs in found:
            raise InputError(f"--outcome: {theirs!r} is named twice.")
        found[theirs] = ours
    return found


def _pairs(text: str | None, option: str) -> list[tuple[str, str]]:
    pairs = []
    for part in (text or "").split(","):
        if not part.strip():
            continue
        one, sign, two = part.partition("=")
        if not sign or not one.strip() or not two.strip():
            raise InputError(f"{option} {part.strip()!r}: write NAME=NAME, several with commas between them.")
        pairs.append((one.strip(), two.strip()))
    return pairs
