"""The question as annotators read it, for the page: as given, or from the study card, language by language."""

from __future__ import annotations

import json
from pathlib import Path

from qsched.errors import InputError


def read_wording(given: str, *, question: str | None) -> str:
    """`given` itself, or if it names a study-card.json, the wordings in it with their languages and numbers of answers.

    Without `question` the card must have exactly one. InputError for a file that is not a card or lacks the question.
    """
    path = Path(given)
    if path.suffix != ".json":
        return given
    try:
        wording = json.loads(path.read_text(encoding="utf-8"))["task"]["wording"]
    except OSError as error:
        raise InputError(
            f"--wording {given}: {error.strerror}; name a study-card.json, or write the question"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--wording {given} is not a study card with wordings; `qsched study publish` writes study-card.json"
        ) from error
    chosen = question if question is not None else next(iter(wording)) if len(wording) == 1 else None
    if chosen not in wording:
        raise InputError(
            f"--wording {given} has the questions {', '.join(wording) or '(none was answered)'}; "
            "name one of them with --question"
        )
    shown = wording[chosen].items()
    return " ".join(f"{one['text']} [{language}, {one['answers']} answers]" for language, one in shown)
