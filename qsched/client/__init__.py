"""The owner's side of a study server that runs elsewhere: a typed client of its API, and the token that it needs."""

from __future__ import annotations

from qsched.client.owner import Owner
from qsched.client.remote import ApiError, RemoteOwner
from qsched.client.token import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, read_token

__all__ = ["TOKEN_FILE_VARIABLE", "TOKEN_VARIABLE", "ApiError", "Owner", "RemoteOwner", "read_token"]
