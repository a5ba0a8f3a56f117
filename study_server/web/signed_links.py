"""Links that only the owner can make, signed for one study: a preview, and personal links for invited people."""

from __future__ import annotations

import secrets

from study_server.clock import now_ms
from study_server.errors import BadRequest
from study_server.studies.panels import PERSONAL
from study_server.studies.study import Study
from study_server.web.security import Keyring

#: The parameter of a preview's link.
PREVIEW = "preview"
PREVIEW_MS = 12 * 3_600_000
CODE_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def preview_link(keys: Keyring, *, slug: str, uid: str) -> str:
    """The address of a preview of the study, without the server's."""
    return f"/s/{slug}?{PREVIEW}={keys.sign(f'preview:{uid}:{now_ms() + PREVIEW_MS}')}"


def is_preview(keys: Keyring, study: Study, token: str | None) -> bool:
    """Whether the token was signed for a preview of this study and is still valid."""
    value = keys.verify(token)
    purpose, _, until = (value or "").rpartition(":")
    return purpose == f"preview:{study.uid}" and until.isdigit() and now_ms() < int(until)


def personal_links(keys: Keyring, study: Study, count: int) -> list[tuple[str, str]]:
    """So many new personal links, as (name, address); BadRequest if the study takes other people."""
    if study.design.platform.name != "personal":
        raise BadRequest(
            f"study {study.slug} has platform {study.design.platform.name}; personal links need "
            "platform: {name: personal} in study.yaml (qsched study update applies it)"
        )
    return [personal_link(keys, slug=study.slug, uid=study.uid) for _ in range(count)]


def personal_link(keys: Keyring, *, slug: str, uid: str) -> tuple[str, str]:
    """A new person's name (12 letters and digits) and the address of their link, without the server's."""
    name = "".join(secrets.choice(CODE_LETTERS) for _ in range(12))
    _, _, tag = keys.sign(f"personal:{uid}:{name}").rpartition(".")
    return name, f"/s/{slug}?{PERSONAL}={name}.{tag}"


def personal_name(keys: Keyring, study: Study, token: str) -> str | None:
    """The name in a personal link of this study; None for a link that the owner did not make."""
    name, _, tag = token.partition(".")
    value = keys.verify(f"personal:{study.uid}:{name}.{tag}")
    return None if value is None else name
