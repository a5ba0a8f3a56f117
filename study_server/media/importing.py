"""Copy the images of a set into the data folder, checked, cleaned and padded to one length a prompt.

Every picture of one (prompt, sample) is followed by zero bytes up to a common length: the arms of a prompt
then cannot be told apart by the size of the answer. Decoders stop at the PNG's end chunk; the picture itself
is the original, byte for byte, but for chunks that could name the arm.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsched.errors import InputError, IntegrityError
from qsched.records import ImageRow
from study_server.media.png import CleanPng, clean_png

PADDING_STEP = 1024
FILE_NAME = re.compile(r"^[0-9a-f]{32}\.png$")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A row of the set and the name of the server's copy."""

    row: ImageRow
    file: str
    removed: tuple[str, ...]


def store_images(
    rows: Sequence[ImageRow], *, source: Path, target: Path, removed: Counter[str] | None = None
) -> Iterator[StoredImage]:
    """Check and copy `rows` (all images of one prompt and sample); yields one StoredImage a row.

    Raises IntegrityError where the file contradicts its row, InputError where it is no clean PNG or where
    the arms would be shown in different colours.
    """
    cleaned = [(row, _read_checked(row, source)) for row in rows]
    display = {picture.display for _, picture in cleaned}
    if len(display) > 1:
        raise InputError(
            f"prompt {rows[0].prompt_id!r}: the arms' PNG files carry different colour chunks (gamma, profile or "
            "palette), so a browser would show equal pixels differently; save every arm the same way"
        )
    longest = max(len(picture.data) for _, picture in cleaned)
    length = -(-longest // PADDING_STEP) * PADDING_STEP
    for row, picture in cleaned:
        name = f"{secrets.token_hex(16)}.png"
        path = target / name[:2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(picture.data.ljust(length, b"\0"))
        if removed is not None:
            removed.update(picture.removed)
        yield StoredImage(row, name, picture.removed)


def stored_path(target: Path, name: str) -> Path:
    """Where a copy lies; refuses any name that the import did not make."""
    if not FILE_NAME.match(name):
        raise IntegrityError(f"{name!r} is not the name of a stored image")
    return target / name[:2] / name


def _read_checked(row: ImageRow, source: Path) -> CleanPng:
    # The name comes from a pattern-checked id: no path of the set's author reaches the file system.
    path = source / row.file_name
    if path.is_symlink() or path.parent.is_symlink():
        raise IntegrityError(f"{path} is a link; an image set holds its own files")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing; run the same generate-pairs command again to mend the set") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != row.sha256:
        raise IntegrityError(f"{path} has sha256 {digest}, its row says {row.sha256}; `qsched verify` names all such")
    picture = clean_png(data, name=str(path))
    if (picture.width, picture.height) != (row.width, row.height):
        raise IntegrityError(f"{path} is {picture.width}x{picture.height}, its row says {row.width}x{row.height}")
    return picture
