"""The `fidelity` section of study.yaml: triplets with the reference in view, plain and boosted.

A fidelity study asks one question, "Which picture differs more from the reference?", and never another one beside it.
Boosted triplets flicker: at most 3 flashes per second (WCAG 2.3.1), or faster where every flash is below the thresholds
of area or contrast that the criterion sets, unless the owner chooses more and each person agrees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, field_validator, model_validator

from qsched.records import Presentation
from qsched.records.registration import Clauses, TrapPlan
from study_server.studies.section import DesignSection, Word

QUESTION_ID = "differs"
QUESTION = "Which picture differs more from the reference?"
#: General flash threshold of WCAG 2.2, success criterion 2.3.1: so many flashes per second are allowed at any size.
SAFE_RATE_HZ = 3.0
#: The arm's name of a trap that is made from the reference itself.
MADE_TRAP = "degraded reference"
CONSENT = (
    "You will see pictures beside a reference and say which one differs more from it.\n\n"
    "Your answers are stored under a random name, without your address, and are used for research.\n"
    "You may stop at any time by closing this page."
)
#: Keys of a preference study that a fidelity study has no use for, with what takes their place.
REFUSED = {
    "comparisons": "its triplets follow from `fidelity: {reference, ladders}`",
    "stopping": "its clauses are tested once, after the last vote",
    "adaptive": "its triplets get their votes in turn",
    "strength": "its answers are left, not sure and right",
    "gold": "its known answers are traps and bias items: `fidelity: {traps, bias_each}`",
    "gold_per_annotator": "its known answers are traps: `fidelity: {traps: {each: 10}}`",
    "warmup": "use practice",
    "instructed": "its attention checks are traps: `fidelity: {traps: {each: 10}}`",
    "bias_items": "write `fidelity: {bias_each: 2}`",
    "hidden_traps": "its answers say what was seen of the difference",
    "end_after_failed_checks": "who misses too many traps does not count: `fidelity: {traps: {share: 0.7}}`",
    "allow_tie": "'not sure' is one of its answers",
}


class Boost(DesignSection):
    """How boosted triplets are shown.

    The difference from the reference is multiplied by `factor`, in a crop of at most `crop` pixels a side (of at most
    half the picture) around the largest visible difference. `zoom` is the enlargement with which it begins, in screen
    pixels per pixel, if that fits; without it, as much as fits. `rate_hz` counts whole changes to the reference and
    back, each of which is one flash.
    """

    factor: float = Field(default=3.0, gt=1, le=16)
    crop: int = Field(default=192, ge=16, le=1024)
    zoom: int | None = Field(default=None, ge=1, le=64, description="the enlargement at most; default: what fits")
    rate_hz: float = Field(default=2.0, gt=0, le=10)
    faster_flicker: bool = Field(
        default=False, description="more than 3 Hz whatever flashes, which each person must agree to"
    )

    @model_validator(mode="after")
    def _fast_by_choice(self) -> Boost:
        if self.rate_hz > SAFE_RATE_HZ and not self.faster_flicker and self.zoom is None:
            raise ValueError(
                f"rate_hz is {self.rate_hz:g}: more than {SAFE_RATE_HZ:g} flashes per second can cause seizures "
                "(WCAG 2.3.1). Take at most 3, or add faster_flicker: true; people who do not agree then see "
                "still pictures. With a zoom the study is made if all flashes are small or faint enough for WCAG 2.3.1"
            )
        if self.faster_flicker and self.rate_hz <= SAFE_RATE_HZ:
            raise ValueError(f"faster_flicker is for a rate_hz above {SAFE_RATE_HZ:g}; leave it out")
        return self

    @property
    def small_only(self) -> bool:
        """Whether it flickers faster than 3 Hz and only flashes below WCAG's thresholds may, at this zoom at most."""
        return self.rate_hz > SAFE_RATE_HZ and not self.faster_flicker

    @property
    def largest(self) -> int | None:
        """The enlargement that nobody may exceed while it flickers; None where any may be taken."""
        return self.zoom if self.small_only else None


class Traps(TrapPlan):
    """The trap rule, fixed before the study: who has under `share` of at least `least` traps right does not count.

    Each person sees `each` traps. A trap shows the reference and a picture far above the threshold: one of `arm`, or by
    default one made from the reference itself.
    """

    each: int = Field(default=10, ge=0, le=100)
    arm: Word | None = None

    @model_validator(mode="after")
    def _rule_can_be_kept(self) -> Traps:
        if self.least > self.each:
            raise ValueError(f"nobody would count: each person sees {self.each} traps and least is {self.least}")
        return self


class PresentationVotes(DesignSection):
    """Valid votes of each triplet, by the way in which it is shown."""

    plain: int | None = Field(default=None, ge=1, le=1000)
    boosted: int | None = Field(default=None, ge=1, le=1000)

    def of(self, presentation: str) -> int | None:
        """The number of one presentation; None where it is not given."""
        return self.plain if presentation == Presentation.PLAIN else self.boosted


class TripletVotes(PresentationVotes):
    """Votes of each plain and of each boosted triplet, and of the triplets that show one of `arms`."""

    arms: dict[Word, PresentationVotes] = Field(default_factory=dict)

    def group(self, presentation: str, arms: Iterable[str]) -> tuple[str, str]:
        """Which triplets this one counts with: its presentation, and the arm whose number holds for it, or "".

        Of two arms with numbers of their own the larger one holds.
        """
        named = [(votes, arm) for arm in arms if arm in self.arms and (votes := self.arms[arm].of(presentation))]
        return presentation, max(named)[1] if named else ""

    def of_group(self, presentation: str, arm: str) -> int | None:
        """The number of a group; None where `votes_per_pair` holds."""
        return (self.arms[arm] if arm else self).of(presentation)


class Fidelity(DesignSection):
    """What a fidelity study shows and claims.

    reference      the arm that the others are compared with; default: the first arm of the set
    ladders        lists of arms from the weakest to the strongest difference; neighbours are compared with each other,
                   and the arms of one rung across ladders
    prompts        only these are asked about; traps and bias items may show others
    guess          guessed damage of arms in JND, for the plan and `qsched study check`
    votes          valid votes of each triplet by presentation and arm; default: `votes_per_pair`
    content_limit  a picture whose difference map has a compact spot this far (FLIP, 0 to 1) above its median has other
                   content: it is not boosted
    """

    reference: Word | None = None
    presentations: tuple[Presentation, ...] = (Presentation.PLAIN, Presentation.BOOSTED)
    ladders: tuple[tuple[Word, ...], ...] = ()
    prompts: tuple[Word, ...] | None = None
    guess: dict[Word, float] = Field(default_factory=dict)
    votes: TripletVotes | None = None
    boost: Boost = Boost()
    traps: Traps = Traps()
    bias_each: int = Field(default=2, ge=0, le=50)
    content_limit: float = Field(default=0.45, gt=0, lt=1)
    clauses: tuple[Clauses, ...] = ()

    @field_validator("presentations")
    @classmethod
    def _some_presentation(cls, value: tuple[Presentation, ...]) -> tuple[Presentation, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("presentations is a list of plain, boosted or both")
        return value

    @field_validator("guess")
    @classmethod
    def _damage_is_positive(cls, value: dict[str, float]) -> dict[str, float]:
        for arm, damage in value.items():
            if not 0 < damage <= 10:
                raise ValueError(f"the guessed damage of {arm!r} is {damage:g} JND; it is above 0 and at most 10")
        return value

    @model_validator(mode="after")
    def _each_arm_once(self) -> Fidelity:
        rungs = [arm for ladder in self.ladders for arm in ladder]
        twice = sorted({arm for arm in rungs if rungs.count(arm) > 1})
        if twice:
            raise ValueError(f"ladders: the arm {twice[0]!r} is on two rungs")
        claimed = [one.arm for one in self.clauses]
        if len(set(claimed)) < len(claimed):
            raise ValueError("clauses: one entry for each arm")
        numbered = () if self.votes is None else tuple(self.votes.arms)
        if self.reference in numbered:
            raise ValueError(f"votes: every triplet shows {self.reference!r} as the reference; name other arms")
        if self.reference in (*rungs, *claimed, *self.guess):
            raise ValueError(f"{self.reference!r} is the reference; its damage is 0 and nothing is claimed of it")
        return self

    @property
    def boosted(self) -> bool:
        """Whether there are boosted triplets."""
        return Presentation.BOOSTED in self.presentations


def fill_fidelity(data: dict[str, Any]) -> dict[str, Any]:
    """What study.yaml says of a fidelity study, completed; ValueError for another question than its own."""
    question = [{"id": QUESTION_ID, "text": QUESTION}]
    if data.get("questions", question) != question:
        raise ValueError(
            f"a fidelity study asks one question, {QUESTION!r}, and none about preference beside it: leave questions "
            "out, and make a second study of the same images for another question"
        )
    consent = data.get("consent", {})
    return {
        "seconds_per_vote": 12.0,
        **data,
        "fidelity": {} if data.get("fidelity") is None else data["fidelity"],
        "questions": question,
        "consent": {"text": CONSENT, **consent} if isinstance(consent, dict) else consent,
    }
