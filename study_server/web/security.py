"""Signed cookies, CSRF tokens and sealed identifiers; one secret key, one derived key a purpose.

A sealed identifier hides a few integers from the browser and cannot be forged: the tag is MAC(k1, payload), the payload
is XORed with MAC(k2, tag) (the synthetic-IV construction of Rogaway and Shrimpton 2006). MAC is keyed BLAKE2b
(RFC 7693): Python computes it without giving its interpreter lock away, which HMAC does at every call. All seals of one
purpose have the same length, and two seals of the same images in different assignments have nothing in common.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from qsched.files import create_once
from study_server.errors import Forbidden, NotFound

TAG_BYTES = 12
TAGS_KEPT = 20_000
_SEAL = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What the random token of a session's cookie proves.

    The database knows the session by `hash` (SHA-256 of the token) only; `number` (63 bits of it) is part of sealed
    identifiers, so that they belong to this session and to no other, on any server and for all time.
    """

    token: str
    hash: str
    number: int

    @classmethod
    def of(cls, token: str) -> SessionKey:
        """The key of a token."""
        return _session_key(token)

    @classmethod
    def new(cls) -> SessionKey:
        """A key that nobody has."""
        return cls.of(secrets.token_urlsafe(24))


class Keyring:
    """The keys of a server, derived from its secret."""

    def __init__(self, secret: str) -> None:
        self._root = secret.encode()
        self._cookie = self._derive("cookie")
        self._csrf = self._derive("csrf")
        self._seals: dict[str, tuple[bytes, bytes]] = {
            purpose: (self._derive(f"{purpose}/tag"), self._derive(f"{purpose}/mask"))
            for purpose in ("assignment", "vote")
        }

    def _derive(self, purpose: str) -> bytes:
        return hmac.digest(self._root, f"qsched/v2/{purpose}".encode(), "sha256")

    def sign(self, value: str) -> str:
        """`value.tag`, for a cookie."""
        return f"{value}.{_tag(self._cookie, value)}"

    def verify(self, signed: str | None) -> str | None:
        """The value of a signed cookie, or None for a missing or forged one."""
        if not signed:
            return None
        value, _, _tag = signed.rpartition(".")
        return value if hmac.compare_digest(self.sign(value).encode(), signed.encode()) else None

    def token_of(self, nonce: str) -> str:
        """The session token that belongs to the form with this nonce; it cannot be computed without the secret."""
        return _text(_mac(self._derive("session"), nonce.encode(), 24))

    def csrf_token(self, subject: str) -> str:
        """The token that a form or script must send back for this cookie value."""
        return _tag(self._csrf, subject)

    def check_csrf(self, subject: str, token: str | None) -> None:
        """Raise Forbidden unless `token` belongs to `subject`."""
        if not token or not hmac.compare_digest(self.csrf_token(subject).encode(), token.encode()):
            raise Forbidden("the page's security token is missing or stale; reload the page")

    def seal(self, purpose: str, *numbers: int) -> str:
        """Opaque text for `numbers` (each 0 <= n < 2^63)."""
        tag_key, mask_key = self._seals[purpose]
        payload = struct.pack(f">{len(numbers)}Q", *numbers)
        tag = _mac(tag_key, payload, TAG_BYTES)
        return _text(tag + _mask(payload, mask_key, tag))

    def unseal(self, purpose: str, text: str, count: int) -> tuple[int, ...]:
        """The numbers of a seal; raises NotFound for anything this server did not make."""
        tag_key, mask_key = self._seals[purpose]
        if not _SEAL.fullmatch(text):  # the decoder would skip line breaks and other odd characters
            raise NotFound(f"unknown {purpose}")
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError) as error:
            raise NotFound(f"unknown {purpose}") from error
        if len(raw) != TAG_BYTES + 8 * count:
            raise NotFound(f"unknown {purpose}")
        tag = raw[:TAG_BYTES]
        payload = _mask(raw[TAG_BYTES:], mask_key, tag)
        if not hmac.compare_digest(_mac(tag_key, payload, TAG_BYTES), tag):
            raise NotFound(f"unknown {purpose}")
        return struct.unpack(f">{count}Q", payload)


@lru_cache(maxsize=TAGS_KEPT)
def _session_key(token: str) -> SessionKey:
    digest = hashlib.sha256(token.encode()).digest()
    return SessionKey(token, digest.hex(), int.from_bytes(digest[:8]) >> 1)


@lru_cache(maxsize=TAGS_KEPT)
def _tag(key: bytes, value: str) -> str:
    """Signature of a cookie's value; kept, because every call of a session needs the same two."""
    return _text(_mac(key, value.encode(), 18))


def _mac(key: bytes, message: bytes, size: int) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=size).digest()


def _mask(payload: bytes, key: bytes, tag: bytes) -> bytes:
    stream = _mac(key, tag, 32)
    if len(payload) > len(stream):
        raise ValueError(f"a seal holds at most {len(stream) // 8} numbers")
    size = len(payload)
    return (int.from_bytes(payload) ^ int.from_bytes(stream[:size])).to_bytes(size)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def new_token(n_bytes: int = 16) -> str:
    """A random URL-safe name."""
    return secrets.token_urlsafe(n_bytes)


def read_or_make_secret(path: Path) -> str:
    """The secret in `path`; made there (mode 0600) when the file does not exist. Never a default."""
    if not path.exists():
        # If another process was faster, its secret is the one.
        create_once(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
    return path.read_text(encoding="ascii").strip()


def fingerprint(data: bytes) -> str:
    """Short content hash for versions and cache names; says nothing secret."""
    return hashlib.sha256(data).hexdigest()[:12]
