"""What columns of vote files are usually called, and the words for an outcome. A name from here is a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analysis.votes import arena
from analysis.votes.table import SCHEMA

_ARM = (
    "model",
    "arm",
    "system",
    "method",
    "option",
    "image",
    "picture",
    "player",
    "item",
    "candidate",
    "team",
    "codec",
)
_ARM_TOO = ("answer", "response", "video", "variant", "name", "condition")


def _of_side(*sides: str) -> tuple[str, ...]:
    """'modela', 'amodel', ..., then the side alone; "1" and "2" alone name no column."""
    arms = (*_ARM, *_ARM_TOO)
    both = (*(arm + side for arm in arms for side in sides), *(side + arm for arm in arms for side in sides))
    return (*both, *(side for side in sides if not side.isdigit()))


#: Our name -> names in other files, without blanks and signs, in lower case; the first one that a file has is used.
USUAL: dict[str, tuple[str, ...]] = {
    "left_arm": _of_side("a", "1", "left", "first"),
    "right_arm": _of_side("b", "2", "right", "second"),
    **{
        ours: tuple(names.split())
        for ours, names in {
            "choice": "winner choice label preference preferred vote outcome result judgement judgment verdict "
            "decision better answer response selected selection won",
            "loser": "loser lost worse rejected",
            "annotator": "annotator annotatorid judge judgeid user userid worker workerid rater raterid participant "
            "participantid subject subjectid observer evaluator assessor voter prolificpid person personid",
            "prompt_id": "promptid prompt questionid query queryid item itemid caption stimulus scene content "
            "instruction topic imageid imgnum",
            "session": "session sessionid",
            "category": "category",
            "response_ms": "responsems rtms durationms",
            "arm": "arm model system method modelname algorithm condition variant codec",
            "rating": "rating score stars mos opinion",
            "rank": "rank place position",
            "ranking": "ranking order ranked",
            "wins_left": "winsa winsleft wins1 awins leftwins win1 wina winnermodela winnera",
            "wins_right": "winsb winsright wins2 bwins rightwins win2 winb winnermodelb winnerb",
            "ties": "ties tie draws winnertie tiecount",
            "rating_left": "scorea scoreleft score1 ratinga ratingleft rating1 ascore leftscore",
            "rating_right": "scoreb scoreright score2 ratingb ratingright rating2 bscore rightscore",
        }.items()
    },
}

#: Words whose meaning is clear enough to be guessed. A number is not: 1 is the left one here, the second one there.
WORDS: dict[str, str] = {
    **{word: "left" for word in ("left", "l", "a", "first", "model_a", "model_1", "arm_a", "option_a", "image_a")},
    **{word: "right" for word in ("right", "r", "b", "second", "model_b", "model_2", "arm_b", "option_b", "image_b")},
    **{word: "tie" for word in ("tie", "draw", "equal", "same", "both", "tied", "no preference", "neither", "bothbad")},
    **{word: "tie" for word in ("tie (bothbad)", "both bad", "both_bad", "=", "neutral", "about the same")},
    **{word: "skip" for word in ("skip", "skipped")},
}


def plain(name: str) -> str:
    """A column's name without case, blanks and signs: 'Model A' -> 'modela'."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def is_known(ours: str, theirs: str) -> bool:
    """Whether the file's name is one of the contract or of arena-style files, which nobody has to confirm."""
    return theirs == ours or theirs in arena.SYNONYMS.get(ours, ()) or (ours, theirs) == ("choice", "winner")


def guessed(columns: Sequence[str], asked: Mapping[str, str]) -> dict[str, str]:
    """Our name -> the file's for every column that has a usual name and is not already spoken for by `asked`."""
    by_name: dict[str, str] = {}
    for column in columns:
        by_name.setdefault(plain(column), column)
    found = dict(asked)
    for ours in SCHEMA:
        if ours in columns and ours not in found and ours not in found.values():
            found[ours] = ours
    for ours, names in USUAL.items():
        taken = set(found.values())
        if ours not in found:
            theirs = next((by_name[name] for name in names if name in by_name and by_name[name] not in taken), None)
            if theirs is not None:
                found[ours] = theirs
    return found
