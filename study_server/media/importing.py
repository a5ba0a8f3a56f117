"""Copy the images of a set into the data folder, checked, cleaned and padded to one length a prompt.

Every picture of one (prompt, sample) is followed by zero bytes up to a common length: the arms of a prompt
then cannot be distinguished by the size of the answer. Decoders stop at the PNG's end chunk; pixels and
their compression are the original's, byte for byte. What could tell the arm otherwise is left out or refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qsched.errors import InputError, IntegrityError
from qsched.files import write_atomic
from qsched.locations import Location, RemotePath, file_size
from qsched.records import ImageRow
from study_server.media.png import CleanPng, clean_png

PADDING_STEP = 1024
FILE_NAME = re.compile(r"^[0-9a-f]{32}\.png$")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A row of the set, the name of the server's copy, and a hash of how the picture looks."""

    row: ImageRow
    file: str
    removed: tuple[str, ...]
    pixels: str


def store_images(rows: Sequence[ImageRow], *, source: Location, target: Location) -> list[StoredImage]:
    """Check and copy `rows` (all images of one prompt and sample); one StoredImage for each row.

    Raises IntegrityError if a file contradicts its row, InputError if it is not a clean PNG or if the files of the
    arms differ in more than their pixels.
    """
    cleaned = [(row, _read_checked(row, source)) for row in rows]
    _refuse_telling_files(rows, [picture for _, picture in cleaned])
    names = _write_padded([picture.data for _, picture in cleaned], target)
    return [
        StoredImage(row, name, picture.removed, picture.pixels)
        for (row, picture), name in zip(cleaned, names, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """The server's copy of a picture that it made itself."""

    name: str
    sha256: str


def store_prepared(
    pictures: Iterable[bytes], *, target: Location, beside: Location | None = None
) -> list[PreparedFile]:
    """Write pictures that are shown together, padded to one length: that of the copy `beside` which they are shown."""
    pictures = list(pictures)
    names = _write_padded(pictures, target, least=0 if beside is None else file_size(beside))
    return [PreparedFile(name, hashlib.sha256(data).hexdigest()) for name, data in zip(names, pictures, strict=True)]


def lengthen(copy: Location, length: int) -> None:
    """Pad a copy further: the answer's length must not tell that another picture of its prompt is a longer file."""
    if file_size(copy) >= length:
        return
    if isinstance(copy, RemotePath):
        write_atomic(copy, copy.read_bytes().ljust(length, b"\0"))
        return
    with copy.open("ab") as file:
        file.write(bytes(length - file_size(copy)))


def _write_padded(pictures: Sequence[bytes], target: Location, *, least: int = 0) -> list[str]:
    longest = max([len(data) for data in pictures] + [least])
    length = -(-longest // PADDING_STEP) * PADDING_STEP
    names = []
    for data in pictures:
        name = f"{secrets.token_hex(16)}.png"
        path = target / name[:2] / name
        names.append(name)
        if isinstance(path, RemotePath):
            write_atomic(path, data.ljust(length, b"\0"))
            continue
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data.ljust(length, b"\0"))
    return names


def _refuse_telling_files(rows: Sequence[ImageRow], pictures: Sequence[CleanPng]) -> None:
    """The files of one prompt's arms may differ in their pixels only: all else tells the arm, or changes the look."""
    first = pictures[0]
    for row, picture in zip(rows, pictures, strict=True):
        arms = f"prompt {row.prompt_id!r}: the files of arms {rows[0].arm!r} and {row.arm!r}"
        if picture.header != first.header:
            raise InputError(
                f"{arms} are {first.header.words} and {picture.header.words}; save every arm in one format and size"
            )
        if picture.display != first.display:
            raise InputError(
                f"{arms} carry different colour chunks (gamma, profile or palette), so a browser would show equal "
                "pixels differently; save every arm the same way"
            )
        if picture.encoding != first.encoding:
            raise InputError(
                f"{arms} are compressed with different settings, which tells them apart; save every arm with the same "
                "program and compression level"
            )


def stored_path(target: Location, name: str) -> Location:
    """The path of a copy; refuses any name that the import did not make."""
    if not FILE_NAME.match(name):
        raise IntegrityError(f"{name!r} is not the name of a stored image")
    return target / name[:2] / name


def _read_checked(row: ImageRow, source: Location) -> CleanPng:
    # The name comes from a pattern-checked id: no path of the set's author reaches the file system.
    path = source / row.file_name
    if path.is_symlink() or path.parent.is_symlink():
        raise IntegrityError(f"{path} is a link; an image set holds its own files")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing; run the same generate-pairs command again to mend the set") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; then do the same again") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != row.sha256:
        raise IntegrityError(f"{path} has sha256 {digest}, its row says {row.sha256}; `qsched verify` names all such")
    picture = clean_png(data, name=str(path))
    if (picture.header.width, picture.header.height) != (row.width, row.height):
        raise IntegrityError(
            f"{path} is {picture.header.width}x{picture.header.height}, its row says {row.width}x{row.height}"
        )
    return picture
