"""The changes that a study with votes allows: none that alters what votes mean. Pure functions of two designs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from study_server.studies.design import StudyDesign

#: Keys whose change leaves the meaning of votes as it is.
HARMLESS = frozenset(
    ("title", "consent", "pay", "seconds_per_vote", "platform", "listed", "languages", "max_minutes", "lease_seconds")
)
#: Keys that may grow: a pair or a study then gets more votes.
MAY_GROW = frozenset(("votes_per_pair", "votes_total"))
#: Keys whose texts may be given in more languages; the texts that exist stay as they are.
WORDED = frozenset(("questions", "instructions", "demographics", "comprehension"))
#: Where the files are says nothing about the study; its image set is compared by its id.
NOT_COMPARED = frozenset(("images",))


@dataclass(frozen=True, slots=True)
class DesignChange:
    """One key that differs, its two values as text, and why the change is refused (None: it may be applied)."""

    key: str
    before: str
    after: str
    refusal: str | None


def design_changes(before: StudyDesign, after: StudyDesign) -> list[DesignChange]:
    """The keys in which `after` differs from `before`, in the order of the design's keys."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes = []
    for key in StudyDesign.model_fields:
        if key not in NOT_COMPARED and old[key] != new[key]:
            was, becomes = _differing(old[key], new[key])
            changes.append(DesignChange(key, _shown(was), _shown(becomes), _refusal(key, before, after)))
    return changes


def _refusal(key: str, before: StudyDesign, after: StudyDesign) -> str | None:
    if key == "consent":
        texts_differ = before.consent.text != after.consent.text
        if texts_differ and before.consent.version == after.consent.version:
            return (
                f"the consent text changed and consent.version is still {after.consent.version!r}; give it a new one, "
                "so that the record says who agreed to what"
            )
    elif key == "languages":
        missing = [code for code in before.languages if code not in after.languages]
        if missing:
            return f"people who take part in {', '.join(missing)} would lose their language; only add languages"
    elif key in MAY_GROW:
        return _shrinks(getattr(before, key), getattr(after, key))
    elif key == "stopping" and (refusal := _left_out(before, after)) is not None:
        return refusal
    elif key == "fidelity" and (refusal := _votes_grow(before, after)) is not None:
        return refusal or None
    elif key in WORDED and _extends(
        before.model_dump(mode="json")[key], after.model_dump(mode="json")[key], first=before.languages[0]
    ):
        return None
    elif key not in HARMLESS:
        return "it changes what is shown, asked or who takes part, so votes before and after could not be pooled"
    return None


def _shrinks(old: int | None, new: int | None) -> str | None:
    if old is None or new is None:
        return "a total cannot be added or taken away once the study exists"
    return "votes that were already asked for would be too many; it can only grow" if new < old else None


def _votes_grow(before: StudyDesign, after: StudyDesign) -> str | None:
    """Of a `fidelity` section that differs only in the votes of its triplets: "" if they grow, else why they may not;
    None for any other change."""
    old, new = before.fidelity, after.fidelity
    if old is None or new is None or old.votes is None or new.votes is None:
        return None
    if old.model_copy(update={"votes": new.votes}) != new or old.votes.arms.keys() != new.votes.arms.keys():
        return None
    for presentation in old.presentations:
        for arm in (*old.votes.arms, ""):
            if (old.votes.of_group(presentation, arm) is None) != (new.votes.of_group(presentation, arm) is None):
                return "which triplets share a number is fixed once the study exists; only the numbers can grow"
            refusal = _shrinks(before.votes_of(presentation, (arm,)), after.votes_of(presentation, (arm,)))
            if refusal is not None:
                return refusal
    return ""


def _extends(old: object, new: object, *, first: str) -> bool:
    """Whether `new` is `old` with texts in more languages. Only a map of texts can have more keys than before."""
    if isinstance(old, str) and isinstance(new, dict):
        return new.get(first) == old
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() <= new.keys() and all(_extends(old[key], new[key], first=first) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_extends(*both, first=first) for both in zip(old, new, strict=True))
    return old == new


def _left_out(before: StudyDesign, after: StudyDesign) -> str | None:
    """The refusal of a stopping rule that differs only in what study.yaml leaves to defaults, which have changed."""
    old, new = before.stopping, after.stopping
    if old is None or new is None:
        return None
    differing = [name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)]
    if any(name in new.model_fields_set for name in differing):
        return None
    words = ", ".join(f"{name}: {getattr(old, name)}" for name in differing)
    return f"study.yaml leaves it to a default that was another one when the study was made. Write {words} there"


def _differing(old: Any, new: Any) -> tuple[Any, Any]:
    """Of two maps only the keys that differ, of two lists as long as each other only the items."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        items = [_differing(one, other) for one, other in zip(old, new, strict=True) if one != other]
        return [one for one, _ in items], [other for _, other in items]
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old, new
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    both = {key: _differing(old.get(key), new.get(key)) for key in keys}
    return {key: one for key, (one, _) in both.items()}, {key: other for key, (_, other) in both.items()}


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
