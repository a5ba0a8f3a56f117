"""What may stay in a PNG that a blind annotator receives. Pixels are never touched.

Chunks that decide how the pixels look are kept byte for byte; the pieces of the compressed pixels are joined into one
chunk, since their sizes tell which program wrote the file; everything else (text, time, EXIF, private chunks) could
name the arm and is left out. Specification: PNG third edition, W3C 2025, sections 5 and 11.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qsched.errors import InputError
from study_server.media.scanlines import Header, check_header, unpack_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Chunks that shape how the pixels look, in the order in which they are written here (section 5.6 allows it: before
#: the pixels, each at most once; those after PLTE depend on it).
DISPLAY = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"PLTE", b"tRNS", b"bKGD")
MAX_PROFILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CleanPng:
    """A PNG without telling chunks.

    removed   names of what was left out
    display   the chunks that shape the colours
    encoding  header and method of compression: what may not differ between the arms of one prompt
    pixels    SHA-256 of header, display chunks and unpacked pixels: equal if and only if the pictures look the same
    """

    data: bytes
    header: Header
    removed: tuple[str, ...]
    display: tuple[bytes, ...]
    encoding: tuple[Header, bytes]
    pixels: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    body: bytes
    raw: bytes
    position: int


def clean_png(data: bytes, *, name: str) -> CleanPng:
    """Check `data` chunk by chunk and leave out what could tell the arm.

    Raises InputError for bytes that are not a PNG, damaged, truncated, repeated or misplaced chunks, an animation, a
    picture over 64 megapixels, a colour profile over 4 MiB, or compressed data that does not unpack to exactly the
    scan lines that the header states, with nothing after them.
    """
    chunks, end = _read_chunks(data, name)
    header = check_header(chunks[0].body, name)
    packed: list[bytes] = []
    display: list[bytes] = []
    removed: list[str] = []
    last_kind = b"IHDR"
    for chunk in chunks[1:-1]:
        if chunk.kind == b"IDAT":
            if packed and last_kind != b"IDAT":
                raise InputError(f"{name} is damaged: its pixels are interrupted by a {last_kind!r} chunk")
            packed.append(chunk.body)
        elif chunk.kind in DISPLAY:
            if packed or any(chunk.kind == other[4:8] for other in display):
                raise InputError(f"{name} is damaged: a second or misplaced {chunk.kind!r} chunk at {chunk.position}")
            _check_display(chunk, header, name)
            display.append(chunk.raw)
        else:
            _refuse_if_needed(chunk, name)
            removed.append(chunk.kind.decode("latin-1"))
        last_kind = chunk.kind
    if header.colour == 3 and not any(chunk[4:8] == b"PLTE" for chunk in display):
        raise InputError(f"{name} is damaged: it has palette colours but no palette")
    if end != len(data):
        removed.append("bytes after the end")
    display.sort(key=lambda raw: DISPLAY.index(raw[4:8]))
    stream = b"".join(packed)
    pixels = unpack_pixels(stream, header, name)
    digest = hashlib.sha256(b"".join([chunks[0].raw, *display]))
    digest.update(pixels)
    cleaned = b"".join([SIGNATURE, chunks[0].raw, *display, _chunk(b"IDAT", stream), chunks[-1].raw])
    return CleanPng(cleaned, header, tuple(removed), tuple(display), (header, stream[:2]), digest.hexdigest())


def _read_chunks(data: bytes, name: str) -> tuple[list[_Chunk], int]:
    """The chunks up to IEND, lengths and checksums checked, and the position after it."""
    if not data.startswith(SIGNATURE):
        raise InputError(f"{name} is not a PNG file (it begins with {data[:8]!r})")
    chunks: list[_Chunk] = []
    position = len(SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise InputError(f"{name} is cut off at byte {position}")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise InputError(f"{name} is cut off in its {kind!r} chunk at byte {position}")
        raw = data[position:end]
        if zlib.crc32(raw[4:-4]) != struct.unpack(">I", raw[-4:])[0]:
            raise InputError(f"{name} is damaged: the {kind!r} chunk at byte {position} fails its checksum")
        if (kind == b"IHDR") != (not chunks):
            problem = "does not begin with a PNG header" if not chunks else "is damaged: it has two headers"
            raise InputError(f"{name} {problem}")
        chunks.append(_Chunk(kind, raw[8:-4], raw, position))
        position = end
        if kind == b"IEND":
            return chunks, position
    raise InputError(f"{name} is cut off: it has no end chunk")


def _refuse_if_needed(chunk: _Chunk, name: str) -> None:
    if chunk.kind == b"acTL":
        raise InputError(f"{name} is an animation; only still pictures can be compared")
    if not chunk.kind[0] & 0x20:
        raise InputError(f"{name} has the unknown critical chunk {chunk.kind!r}")


def _check_display(chunk: _Chunk, header: Header, name: str) -> None:
    if chunk.kind == b"PLTE":
        colours, rest = divmod(len(chunk.body), 3)
        most = 2**header.depth if header.colour == 3 else 256
        if header.colour in (0, 4) or rest or not 1 <= colours <= most:
            raise InputError(f"{name} is damaged: a palette of {len(chunk.body)} bytes in a picture of {header.words}")
    if chunk.kind == b"iCCP":
        profile = chunk.body.partition(b"\0")[2][1:]
        unpacker = zlib.decompressobj()
        try:
            size = len(unpacker.decompress(profile, MAX_PROFILE_BYTES + 1))
        except zlib.error as error:
            raise InputError(f"{name} is damaged: its colour profile does not unpack ({error})") from error
        if size > MAX_PROFILE_BYTES or not unpacker.eof:
            raise InputError(f"{name} has a colour profile that is over {MAX_PROFILE_BYTES // 2**20} MiB or cut off")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def read_pixels(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Colours as (height, width, 3); InputError for a picture that has more than 8 bits, transparency or a palette."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode not in ("RGB", "L"):
        raise InputError(
            f"{name} has colours of the kind {picture.mode}; the difference from a reference is amplified in 8-bit RGB "
            "or grey pictures only: save the set so"
        )
    return np.asarray(picture.convert("RGB"))


def write_pixels(pixels: NDArray[np.uint8], *, display: tuple[bytes, ...]) -> bytes:
    """A PNG of (height, width, 3) colours with the colour chunks of the picture that they come from."""
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, 3 * width)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    stream = zlib.compress(lines.tobytes(), 6)
    return b"".join([SIGNATURE, header, *display, _chunk(b"IDAT", stream), _chunk(b"IEND", b"")])
