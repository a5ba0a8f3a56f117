"""What may stay in a PNG that a blind annotator receives. Pixels are never touched.

Chunks that decide how the pixels look are kept byte for byte; everything else (text, time, EXIF, private
chunks) could name the arm and is left out. Specification: PNG third edition, W3C 2025, section 11.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from qsched.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEPT = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD")
)
MAX_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class CleanPng:
    """A PNG without telling chunks; `removed` names what was left out, `display` what shapes the colours."""

    data: bytes
    width: int
    height: int
    removed: tuple[str, ...]
    display: tuple[bytes, ...]


def clean_png(data: bytes, *, name: str) -> CleanPng:
    """Check `data` chunk by chunk and leave out what could tell the arm.

    Raises InputError for bytes that are no PNG, damaged or truncated chunks, an animation, a picture over
    64 megapixels, or compressed data that does not unpack to exactly the stated size.
    """
    if not data.startswith(SIGNATURE):
        raise InputError(f"{name} is not a PNG file (it begins with {data[:8]!r})")
    parts, removed, display = [SIGNATURE], [], []
    packed = bytearray()
    header: tuple[int, ...] | None = None
    position = len(SIGNATURE)
    ended = False
    while position < len(data) and not ended:
        if position + 12 > len(data):
            raise InputError(f"{name} is cut off at byte {position}")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise InputError(f"{name} is cut off in its {kind!r} chunk at byte {position}")
        chunk = data[position:end]
        if zlib.crc32(chunk[4:-4]) != struct.unpack(">I", chunk[-4:])[0]:
            raise InputError(f"{name} is damaged: the {kind!r} chunk at byte {position} fails its checksum")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise InputError(f"{name} does not begin with a PNG header")
            header = struct.unpack(">IIBBBBB", chunk[8:-4])
            if header[0] * header[1] > MAX_PIXELS or 0 in header[:2]:
                raise InputError(f"{name} is {header[0]}x{header[1]}; between 1 and {MAX_PIXELS} pixels are taken")
        if kind == b"acTL":
            raise InputError(f"{name} is an animation; only still pictures can be compared")
        if kind == b"IDAT":
            packed += chunk[8:-4]
        if kind in KEPT:
            parts.append(chunk)
            if kind not in (b"IHDR", b"IDAT", b"IEND"):
                display.append(chunk)
        elif not kind[0] & 0x20:
            raise InputError(f"{name} has the unknown critical chunk {kind!r}")
        else:
            removed.append(kind.decode("latin-1"))
        ended = kind == b"IEND"
        position = end
    if header is None or not ended:
        raise InputError(f"{name} is cut off: it has no end chunk")
    if position != len(data):
        removed.append("bytes after the end")
    _check_pixels(bytes(packed), header, name)
    return CleanPng(b"".join(parts), header[0], header[1], tuple(removed), tuple(display))


def _check_pixels(packed: bytes, header: tuple[int, ...], name: str) -> None:
    """The compressed pixels must unpack to the size in the header, and not to a byte more (no bombs)."""
    width, height, depth, colour, _, _, interlace = header
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if channels is None or depth not in (1, 2, 4, 8, 16):
        raise InputError(f"{name} has the unknown colour type {colour} at depth {depth}")
    passes = [(width, height)]
    if interlace:
        grid = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        passes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in grid]
    size = sum(h * (1 + -(-w * channels * depth // 8)) for w, h in passes if w > 0 and h > 0)
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise InputError(f"{name} is damaged: its pixels do not unpack ({error})") from error
    if len(pixels) != size:
        raise InputError(f"{name} is damaged: its pixels unpack to another size than the {width}x{height} it states")
