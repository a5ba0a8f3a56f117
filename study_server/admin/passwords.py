"""Passwords of owners: argon2id (RFC 9106) with the library's parameters, and a rule about length only."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from qsched.errors import InputError

SHORTEST, LONGEST = 12, 256
_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """The hash to store, with salt and parameters in it; InputError for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InputError(
            f"the password has {len(password)} characters; it needs {SHORTEST} to {LONGEST}: several words are easier "
            "to remember than symbols"
        )
    return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Whether the password is the stored one. Without one, as much work is done, so that time tells no name."""
    try:
        return _hasher.verify(stored or _nobody(), password[: LONGEST + 1]) and stored is not None
    except (VerifyMismatchError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password, and no answer reveals it")
