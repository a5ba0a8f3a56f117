"""The `ranking` section of study.yaml: three or four pictures of one prompt and noise, put in order at once."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, model_validator

from qsched.records.rankings import FEWEST, MOST
from study_server.studies.section import DesignSection, Word

CONSENT = (
    "You will see several pictures at once and put them in order, the best one first.\n\n"
    "Your answers are stored under a random name, without your address, and are used for research.\n"
    "You may stop at any time by closing this page."
)
QUESTION = "Which picture do you prefer? Put them in order."
#: Assumed until it is measured: benchmarks/human_hours.py says from how many seconds on rankings pay.
SECONDS = {3: 18.0, 4: 24.0}
#: Votes on pairs that a full ranking is worth for the contrasts of its arms, in simulation (docs/study-design.md).
WORTH = {3: 2.9, 4: 5.0}
#: Keys of a preference study that a ranking study has no use for, with what takes their place.
REFUSED = {
    "comparisons": "which arms are shown together follows from `ranking: {pictures, baseline}`",
    "adaptive": "its sets of pictures get their votes in turn",
    "strength": "a ranking has places and no strength",
    "gold": "its known answers are rankings with a known worst picture: `ranking: {gold: [{prompt, worst}]}`",
    "practice": "practice is a ranking with a known worst picture: `ranking: {practice: [{prompt, worst}]}`",
    "instructed": "its checks are `ranking: {gold: [{prompt, worst}]}`",
    "end_after_failed_checks": "it has no attention checks",
    "bias_items": "its checks are `ranking: {gold: [{prompt, worst}]}`",
    "hidden_traps": "its checks are `ranking: {gold: [{prompt, worst}]}`",
    "mirror_repeats": "a repeated set is shown in a new order anyway",
    "pairs": "it shows sets of pictures",
    "pairs_sha256": "it shows sets of pictures",
}


class KnownRanking(DesignSection):
    """A set of pictures of this prompt in which `worst` is worse than all others.

    `arms` are the others; by default the baseline and the first arms of the study.
    """

    prompt: Word
    worst: Word
    arms: tuple[Word, ...] | None = None
    sample_index: int = Field(default=0, ge=0)
    why: str | None = Field(default=None, max_length=500, description="shown after a practice answer")

    @model_validator(mode="after")
    def _arms_differ(self) -> KnownRanking:
        named = (self.worst, *(self.arms or ()))
        if len(set(named)) < len(named):
            raise ValueError(f"prompt {self.prompt!r}: worst and arms name an arm twice")
        for word in re.findall(r"{(.*?)}", self.why or ""):
            if word != "worst":
                raise ValueError(f"why has {{{word}}}; it may have {{worst}}, for the letter of the picture")
        return self


class Ranking(DesignSection):
    """What a ranking study shows: sets of `pictures` pictures, each with the baseline and others in balanced turns."""

    pictures: int = Field(default=4, ge=FEWEST, le=MOST)
    baseline: Word | None = Field(default=None, description="in every set; default: the first arm")
    gold: tuple[KnownRanking, ...] = ()
    practice: tuple[KnownRanking, ...] = ()

    @model_validator(mode="after")
    def _known_sets_fit(self) -> Ranking:
        for item in (*self.gold, *self.practice):
            if item.arms is not None and len(item.arms) != self.pictures - 1:
                raise ValueError(
                    f"prompt {item.prompt!r}: arms names {len(item.arms)} beside the worst; a set has {self.pictures} "
                    "pictures"
                )
        both = sorted({item.prompt for item in self.gold} & {item.prompt for item in self.practice})
        if both:
            raise ValueError(f"prompt {both[0]!r} is practised and gold; practice must show other content")
        return self


def fill_ranking(data: dict[str, Any]) -> dict[str, Any]:
    """What study.yaml says of a ranking study, completed."""
    section = data.get("ranking") or {}
    pictures = section.get("pictures", MOST) if isinstance(section, dict) else section.pictures
    consent = data.get("consent", {})
    return {
        "seconds_per_vote": SECONDS.get(pictures, SECONDS[MOST]),
        "questions": [{"id": "overall", "text": QUESTION}],
        **data,
        "ranking": section,
        "consent": {"text": CONSENT, **consent} if isinstance(consent, dict) else consent,
    }
