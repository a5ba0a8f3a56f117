"""Where an owner's command acts: on a database at hand (--db), or on a server elsewhere (--server)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.client import Owner

SERVER_HELP = "Act on a server elsewhere, over its API: https://study.example; the token is in QSCHED_TOKEN."


@contextmanager
def owner_at(db: str | None, server: str | None) -> Iterator[Owner]:
    """The studies of the database, or of the server if one is named; InputError if both are."""
    owner: Owner
    if server is None:
        from study_server.local import LocalOwner

        owner = LocalOwner(db)
    elif db is not None:
        raise InputError("--db names a database and --server a server elsewhere; give one of them")
    else:
        from qsched.client import RemoteOwner, read_token

        owner = RemoteOwner(server, read_token())
    try:
        yield owner
    finally:
        owner.close()
