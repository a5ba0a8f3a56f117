"""The link of an owner's preview: signed for one study, valid for some hours; nobody else can make one."""

from __future__ import annotations

from study_server.clock import now_ms
from study_server.studies.study import Study
from study_server.web.security import Keyring

#: The parameter of the link.
PREVIEW = "preview"
VALID_MS = 12 * 3_600_000


def preview_link(keys: Keyring, *, slug: str, uid: str) -> str:
    """The address of a preview of the study, without the server's."""
    return f"/s/{slug}?{PREVIEW}={keys.sign(f'preview:{uid}:{now_ms() + VALID_MS}')}"


def is_preview(keys: Keyring, study: Study, token: str | None) -> bool:
    """Whether the token was signed for a preview of this study and is still valid."""
    value = keys.verify(token)
    purpose, _, until = (value or "").rpartition(":")
    return purpose == f"preview:{study.uid}" and until.isdigit() and now_ms() < int(until)
