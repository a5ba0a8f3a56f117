"""The hash chain of a study's votes: what the server seals and what anybody can check from the public files.

    leaf_i = SHA-256("qsched vote" NUL salt NUL canonical JSON of the row)
    head_0 = SHA-256("qsched chain" NUL salt's SHA-256),   head_i = SHA-256(head_(i-1) leaf_i)

A head that was published at some moment fixes every vote before it: none can be changed, dropped or added without
another head. The salt is secret until the study is opened, so that a published head says nothing about a vote that
somebody knows in part; its SHA-256 is public from the beginning. A vote that was deleted at a person's request leaves
its leaf behind: the chain still closes, and says that a vote is missing there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

#: Lists the other files of an evidence folder with their SHA-256.
MANIFEST = "manifest.json"

#: Why a vote does not count: it came after its lease, or somebody was taken in again, and the pair had its votes.
CAME_LATE = "lease ran out and the pair had its votes"
CAME_BACK_LATE = "the pair had its votes when the annotator was included again"
#: A pair takes about ten seconds. A session silent for this long gives way when somebody else would have to wait.
SILENT_MS = 120_000

#: What a row of the chain says of a vote, in the order of the files. Times in milliseconds since 1970 UTC.
ROW_FIELDS = (
    "vote",
    "supersedes",
    "assignment",
    "study",
    "question",
    "pair_id",
    "prompt_id",
    "category",
    "sample_index",
    "left_arm",
    "right_arm",
    "choice",
    "annotator",
    "session",
    "served_ms",
    "answered_ms",
    "response_ms",
    "hidden_ms",
    "kind",
    "expected",
    "simulated",
    "strength",
    "selection_probability",
    "doubt",
)
#: A ranking's row has one more: the numbers of the pictures in the order in which they lay.
PLACES_FIELD = "places"


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no blanks and no escapes beyond what JSON needs, in UTF-8. NaN is not JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of a text in UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def leaf_of(salt: str, row: Mapping[str, Any]) -> str:
    """The leaf of one vote."""
    return sha256(b"\0".join((b"qsched vote", salt.encode(), canonical(dict(row)))))


def chain_start(salt: str) -> str:
    """The head before the first vote."""
    return sha256(b"\0".join((b"qsched chain", sha256(salt).encode())))


def extend(head: str, leaves: Iterable[str]) -> str:
    """The head after these leaves."""
    for leaf in leaves:
        head = sha256(bytes.fromhex(head) + bytes.fromhex(leaf))
    return head


def arms_commitment(salt: str, pairs: Iterable[Mapping[str, Any]]) -> str:
    """What fixes which picture is of which arm, and tells nobody as long as the salt is secret."""
    lines = sorted(canonical(dict(pair)) for pair in pairs)
    return sha256(b"\0".join((b"qsched arms", salt.encode(), *lines)))
