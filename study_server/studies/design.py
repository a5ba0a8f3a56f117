"""The design of a study: every key of study.yaml, its rule and its default. Unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from qsched.records.stopping import StoppingRule
from study_server.resources import languages as catalogue_languages
from study_server.studies.fidelity import CONSENT as FIDELITY_CONSENT
from study_server.studies.fidelity import REFUSED, Fidelity, fill_fidelity
from study_server.studies.known_answers import TIE
from study_server.studies.people import CONSENT, Comprehension, Consent, DemographicQuestion, Identifier, Screening
from study_server.studies.platform import Pay, Platform
from study_server.studies.ranking import CONSENT as RANKING_CONSENT
from study_server.studies.ranking import QUESTION as RANKING_QUESTION
from study_server.studies.ranking import REFUSED as REFUSED_IN_RANKINGS
from study_server.studies.ranking import Ranking, fill_ranking
from study_server.studies.section import DesignSection, PlacedError, Word
from study_server.studies.texts import Language, OwnParagraphs, OwnReason, OwnText, OwnWord, Words, in_language

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

MAX_PROMPT_GAP = 8
QUESTION = "Which picture do you prefer?"
# Defaults are English whatever the study's first language is.
ENGLISH_DEFAULTS = (QUESTION, CONSENT, FIDELITY_CONSENT, RANKING_QUESTION, RANKING_CONSENT)
# Also limits of the API: what a study may ask, its page can answer.
MAX_QUESTIONS = 20
MAX_DEMOGRAPHICS = 50


class Question(DesignSection):
    """One question about each pair, worded as a comparison."""

    id: Identifier
    text: OwnWord


class KnownItem(DesignSection):
    """A pair whose right answer is known: of this prompt, `better` is better than `worse`.

    `better` is one arm for every question, or an arm by question; a question that it leaves out has no known answer.
    `tie` in the place of an arm says that neither is better; `arms` names the two if `better` and `worse` do not.
    """

    prompt: Word
    better: Word | dict[Identifier, Word]
    worse: Word | None = None
    arms: tuple[Word, Word] | None = None
    sample_index: int = Field(default=0, ge=0)
    why: OwnReason | None = Field(default=None, description="shown after a practice answer")

    @model_validator(mode="after")
    def _two_arms(self) -> KnownItem:
        if self.worse == TIE:
            raise ValueError("worse is tie; write better: tie and arms: [one, other] if neither is better")
        if self.arms is not None and set(self._named()) - set(self.arms):
            odd = next(arm for arm in self._named() if arm not in self.arms)
            raise ValueError(f"better and worse name {odd}, arms {' and '.join(self.arms)}; name the same two")
        if len(self.both_arms) != 2:
            also = "; with better: tie name them in arms: [one, other]" if TIE in self._answers() else ""
            raise ValueError(f"better and worse name {', '.join(self.both_arms) or 'no arm'}; name two arms{also}")
        whys = () if self.why is None else (self.why,) if isinstance(self.why, str) else tuple(self.why.values())
        for word in re.findall(r"{(.*?)}", " ".join(whys)):
            if word not in ("better", "worse"):
                raise ValueError(
                    f"why has {{{word}}}; it may have {{better}} and {{worse}}, for the sides of the pictures"
                )
            if all(answer == TIE for answer in self._answers()):
                raise ValueError(f"why has {{{word}}}, but the known answer is a tie, which has no side")
        return self

    @property
    def both_arms(self) -> tuple[str, ...]:
        """The arms of the pair, in the order in which they are named."""
        return tuple(dict.fromkeys((*self._named(), *(self.arms or ()))))

    @property
    def expects_tie(self) -> bool:
        """Whether a tie is the known answer to some question."""
        return TIE in self._answers()

    def _answers(self) -> tuple[str, ...]:
        return (self.better,) if isinstance(self.better, str) else tuple(self.better.values())

    def _named(self) -> tuple[str, ...]:
        worse = () if self.worse is None else (self.worse,)
        return tuple(arm for arm in (*self._answers(), *worse) if arm != TIE)


class Baseline(DesignSection):
    """Every other arm against this one; the pairs of the others with each other on a share of the prompts, if any."""

    baseline: Word
    others: float = Field(default=0.0, ge=0, le=1, description="share of prompts that show a pair without the baseline")


class Adaptive(DesignSection):
    """Comparisons drawn by what a vote on them tells about the ranking (assignment/ranking.py)."""

    floor: float = Field(default=0.2, gt=0, le=1, description="share of votes spread evenly whatever is known")
    refresh_votes: int = Field(default=25, ge=1, le=10_000, description="assignments between two looks at the votes")
    refresh_seconds: float = Field(default=10.0, ge=0.1, le=3600, description="or the time between them")
    question: Identifier | None = Field(default=None, description="whose answers count; default: the first")
    design_effect: float = Field(default=2.0, ge=1, description="votes that tell as much as one independent vote")


class StudyDesign(DesignSection):
    """study.yaml, validated. `docs/study-yaml.md` explains each key."""

    schema_version: Literal[1] = 1
    slug: Slug
    title: OwnWord
    images: Word = Field(description="folder of the image set, relative to the file")
    design: Literal["preference", "fidelity", "ranking"] = "preference"
    ranking: Ranking | None = Field(default=None, description="of a ranking study: several pictures put in order")
    fidelity: Fidelity | None = Field(default=None, description="of a fidelity study: triplets, traps, clauses")
    arms: tuple[Word, ...] | None = Field(default=None, description="default: every arm of the set")
    comparisons: Literal["all", "adaptive"] | Baseline | tuple[tuple[Word, Word], ...] = "all"
    adaptive: Adaptive | None = Field(default=None, description="comparisons: adaptive is all pairs with the defaults")
    questions: tuple[Question, ...] = (Question(id="overall", text=QUESTION),)
    allow_tie: bool = True
    allow_skip: bool = True
    strength: bool = Field(default=False, description="left and right are said slightly or clearly better")
    show_prompt: bool = True
    show_at: Literal["fit", "one_to_one"] = Field(
        default="fit", description="the scale at which each pair begins: as large as fits the window, or 1:1"
    )
    show_identical: bool = False
    pairs: Literal["all", "curated"] = "all"
    pairs_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    votes_per_pair: int = Field(default=5, ge=1, le=1000)
    stopping: StoppingRule | None = Field(default=None, description="stop asking about arms that are decided")
    votes_total: int | None = Field(default=None, ge=1, description="valid votes of the whole study, exactly")
    pairs_per_annotator: int | None = Field(default=40, ge=1, le=2000)
    block_length: int = Field(default=20, ge=1)
    max_minutes: int | None = Field(default=30, ge=1)
    prompt_gap: int = Field(default=3, ge=0, le=MAX_PROMPT_GAP)
    lease_seconds: int = Field(default=180, ge=5, le=3600)
    warmup: int = Field(default=0, ge=0, le=50)
    repeat_rate: float = Field(default=0.05, ge=0, le=0.5)
    mirror_repeats: bool = Field(default=False, description="a repeat shows its pair with the sides exchanged")
    instructed: int = Field(default=0, ge=0, le=20, description="explicit attention checks a session")
    end_after_failed_checks: Literal["prolific"] | Annotated[int, Field(ge=1, le=20)] | None = Field(
        default=None, description="attention checks failed until a session ends and its votes are left out"
    )
    bias_items: int = Field(default=0, ge=0, le=50, description="trials that show one picture twice")
    hidden_traps: int = Field(default=0, ge=0, le=50, description="trials whose difference only software can see")
    gold: tuple[KnownItem, ...] = ()
    gold_per_annotator: int | None = Field(default=None, ge=0)
    practice: tuple[KnownItem, ...] = ()
    practice_feedback: bool = True
    screening: Screening = Screening()
    instructions: OwnParagraphs | None = Field(default=None, description="the owner's own words above the steps")
    comprehension: Comprehension | None = None
    consent: Consent = Consent()
    demographics: tuple[DemographicQuestion, ...] = ()
    platform: Platform = Platform()
    listed: bool = Field(default=True, description="on the server's public list of studies, if its platform is open")
    pay: Pay | None = None
    seconds_per_vote: float = Field(default=8.0, gt=0, description="for the estimate of time and cost")
    languages: tuple[Language, ...] = ("en",)

    @model_validator(mode="before")
    @classmethod
    def _one_of_three_designs(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("design") == "fidelity":
            data = fill_fidelity(data)
        elif data.get("design") == "ranking":
            data = fill_ranking(data)
        for section in ("fidelity", "ranking"):
            if data.get(section) is not None and data.get("design") != section:
                words = f"`{section}` belongs to design: {section}; add that key, or leave the section out"
                raise PlacedError(words, section)
        return data

    @field_validator("questions", "demographics", "arms", "languages")
    @classmethod
    def _no_duplicates(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        names = [getattr(item, "id", item) for item in value or ()]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return value

    @field_validator("languages")
    @classmethod
    def _have_catalogues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if code not in catalogue_languages():
                raise ValueError(
                    f"no catalogue for {code!r}: the annotator's pages speak {', '.join(catalogue_languages())}; "
                    "docs/annotator-page.md says how to add one"
                )
        return value

    @model_validator(mode="after")
    def _can_be_answered(self) -> StudyDesign:
        if not self.questions:
            raise PlacedError("questions is empty; ask at least one", "questions")
        if len(self.questions) > MAX_QUESTIONS:
            raise PlacedError(f"{len(self.questions)} questions; ask at most {MAX_QUESTIONS}", "questions")
        if len(self.demographics) > MAX_DEMOGRAPHICS:
            raise PlacedError(f"{len(self.demographics)} demographics; ask at most {MAX_DEMOGRAPHICS}", "demographics")
        return self

    @model_validator(mode="after")
    def _keys_fit_the_design(self) -> StudyDesign:
        refused = {"fidelity": REFUSED, "ranking": REFUSED_IN_RANKINGS}.get(self.design, {})
        for key, instead in refused.items():
            if getattr(self, key) != type(self).model_fields[key].default:
                raise PlacedError(f"{key} has no place in a {self.design} study: {instead}", key)
        if self.ranking is not None and len(self.questions) > 1:
            raise PlacedError("a ranking study asks one question; make a second study for another one", "questions")
        for place, item in enumerate(self.practice if self.fidelity is not None else ()):
            if not isinstance(item.better, str):
                words = f"prompt {item.prompt!r}: a fidelity study has one question; name one arm in better"
                raise PlacedError(words, "practice", place, "better")
        return self

    @model_validator(mode="after")
    def _texts_have_the_first_language(self) -> StudyDesign:
        if not self.languages:
            raise PlacedError("languages is empty; name at least one", "languages")
        for place, location, text in self.own_texts():
            for code in () if isinstance(text, str) else text:
                if code not in self.languages:
                    offered = ", ".join(self.languages)
                    words = f"{place} is written in {code}, and languages offers {offered}; add {code} there"
                    raise PlacedError(words, *location, code)
            if not isinstance(text, str) and self.languages[0] not in text:
                raise PlacedError(
                    f"{place} lacks {self.languages[0]}, the first of languages, which readers of a language without "
                    "a text get; add it",
                    *location,
                )
        return self

    @model_validator(mode="after")
    def _checks_can_fail(self) -> StudyDesign:
        limit = self.end_after_failed_checks
        if limit is not None and not self.instructed:
            raise PlacedError(
                "end_after_failed_checks needs attention checks; add instructed: 2", "end_after_failed_checks"
            )
        if isinstance(limit, int) and limit > self.instructed:
            words = f"end_after_failed_checks is {limit}, and a session has {self.instructed} of them"
            raise PlacedError(words, "end_after_failed_checks")
        return self

    @model_validator(mode="after")
    def _hangs_together(self) -> StudyDesign:
        practised = {item.prompt for item in self.practice}
        both = sorted(practised & {item.prompt for item in self.gold})
        if both:
            place = [item.prompt for item in self.practice].index(both[0])
            words = f"prompt {both[0]!r} is practised and gold; practice must show other content"
            raise PlacedError(words, "practice", place)
        for key, place, item in (
            *(("gold", place, item) for place, item in enumerate(self.gold)),
            *(("practice", place, item) for place, item in enumerate(self.practice)),
        ):
            if item.expects_tie and not self.allow_tie:
                words = f"prompt {item.prompt!r}: the known answer is a tie, which allow_tie: false does not offer"
                raise PlacedError(words, key, place, "better")
            for question in () if isinstance(item.better, str) else item.better:
                if question not in (asked := [one.id for one in self.questions]):
                    words = f"prompt {item.prompt!r}: better names the question {question!r}"
                    raise PlacedError(f"{words}; the questions are {', '.join(asked)}", key, place, "better", question)
        if self.arms is not None and len(self.arms) < 2:
            raise PlacedError(f"arms names {len(self.arms)}; a comparison needs two", "arms")
        asked = [question.id for question in self.questions]
        if self.adaptive is not None and self.adaptive.question not in (None, *asked):
            words = f"adaptive.question is {self.adaptive.question!r}; the questions are {', '.join(asked)}"
            raise PlacedError(words, "adaptive", "question")
        return self

    @model_validator(mode="after")
    def _stopping_can_be_carried_out(self) -> StudyDesign:
        if self.stopping is None:
            return self
        if self.adaptivity is not None or self.votes_total is not None:
            other = "votes_total" if self.votes_total is not None else "adaptive"
            words = f"stopping decides where votes go and when the study ends; leave {other} out"
            raise PlacedError(words, other if other in self.model_fields_set else "stopping")
        asked = [question.id for question in self.questions]
        if self.stopping.question not in (None, *asked):
            words = f"stopping.question is {self.stopping.question!r}; the questions are {', '.join(asked)}"
            raise PlacedError(words, "stopping", "question")
        return self

    def own_texts(self) -> Iterator[tuple[str, tuple[int | str, ...], OwnText]]:
        """Every text of the owner's that people read: its place in words, and as keys and list positions."""
        yield "title", ("title",), self.title
        for place, asked in enumerate(self.questions if self.fidelity is None else ()):
            yield f"questions.{asked.id}.text", ("questions", place, "text"), asked.text
        yield "consent.text", ("consent", "text"), self.consent.text
        if self.instructions is not None:
            yield "instructions", ("instructions",), self.instructions
        for place, item in enumerate(self.demographics):
            where = f"demographics.{item.id}"
            yield f"{where}.label", ("demographics", place, "label"), item.label
            for number, choice in enumerate(item.choices):
                yield f"{where}.choices", ("demographics", place, "choices", number), choice
        for place, known in enumerate(self.practice):
            if known.why is not None:
                yield f"practice {place + 1}: why", ("practice", place, "why"), known.why
        for place, check in enumerate(self.comprehension.items if self.comprehension else ()):
            where, root = f"comprehension {place + 1}", ("comprehension", "items", place)
            yield where, (*root, "question"), check.question
            yield where, (*root, "right"), check.right
            yield from ((where, (*root, "wrong", number), wrong) for number, wrong in enumerate(check.wrong))

    def words(self, text: OwnText, language: str) -> Words:
        """A text as people read it whose pages are in `language`, with the language that it is in."""
        return in_language(text, language, first="en" if text in ENGLISH_DEFAULTS else self.languages[0])

    def first(self, text: OwnText) -> str:
        """A text in the study's first language: what is stored as an answer, and what owners see."""
        return self.words(text, self.languages[0]).text

    def fallbacks(self, language: str) -> list[str]:
        """The places of the texts that readers of `language` get in another one."""
        found = (place for place, _, text in self.own_texts() if self.words(text, language).language != language)
        return list(dict.fromkeys(found))

    def votes_of(self, presentation: str | None, arms: Iterable[str]) -> int:
        """Valid votes of one pair: `votes_per_pair`, unless a fidelity study gives its triplets their own numbers."""
        own = None if self.fidelity is None else self.fidelity.votes
        if own is None or presentation is None:
            return self.votes_per_pair
        return own.of_group(*own.group(presentation, arms)) or self.votes_per_pair

    @property
    def adaptivity(self) -> Adaptive | None:
        """How comparisons are drawn, None where every pair gets its votes in turn."""
        return Adaptive() if self.adaptive is None and self.comparisons == "adaptive" else self.adaptive

    @property
    def gold_shown(self) -> int:
        """How many gold pairs one person sees."""
        known = len(self.gold if self.ranking is None else self.ranking.gold)
        return known if self.gold_per_annotator is None else min(self.gold_per_annotator, known)


def slug_of(name: str) -> str:
    """A study's address from a folder's name: lower case, digits, - and _."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:63]
    return slug or "study"


def default_design(*, name: str, images: str, votes_per_pair: int | None) -> StudyDesign:
    """The study that `qsched serve FOLDER` makes when there is no study.yaml: the defaults but for `votes_per_pair`."""
    named = {} if votes_per_pair is None else {"votes_per_pair": votes_per_pair}
    return StudyDesign(slug=slug_of(name), title=QUESTION, images=images, **named)
