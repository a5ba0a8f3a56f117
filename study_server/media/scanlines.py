"""The header of a PNG and its scan lines: what the compressed pixels must unpack to, and nothing else."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from qsched.errors import InputError

MAX_PIXELS = 64_000_000
#: Allowed bit depths by colour type (PNG third edition, table 11.1), and the channels of that type.
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
HIGHEST_FILTER = 4
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True, slots=True)
class Header:
    """What IHDR states."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def words(self) -> str:
        """For a message: 64x64, RGB, 8 bits."""
        words = f"{self.width}x{self.height}, {COLOURS[self.colour]}, {self.depth} bits"
        return f"{words}, interlaced" if self.interlaced else words

    def passes(self) -> list[tuple[int, int]]:
        """Rows and bytes per row (with the filter byte) of each pass."""
        sizes = [(self.width, self.height)]
        if self.interlaced:
            sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in ADAM7]
        bits = CHANNELS[self.colour] * self.depth
        return [(rows, 1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0]


def check_header(body: bytes, name: str) -> Header:
    """The header in the 13 bytes of IHDR; InputError for a size, depth, colour type or method that is not allowed."""
    if len(body) != 13:
        raise InputError(f"{name} does not begin with a PNG header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if width == 0 or height == 0 or width * height > MAX_PIXELS:
        raise InputError(f"{name} is {width}x{height}; between 1 and {MAX_PIXELS} pixels are taken")
    if depth not in DEPTHS.get(colour, ()):
        raise InputError(f"{name} has the unknown colour type {colour} at depth {depth}")
    if (compression, filtering) != (0, 0) or interlace > 1:
        raise InputError(f"{name} has an unknown method of compression, filtering or interlacing")
    return Header(width, height, depth, colour, bool(interlace))


def unpack_pixels(stream: bytes, header: Header, name: str) -> bytes:
    """The scan lines: exactly as many bytes as the header states (no bombs), known filters, nothing left over."""
    passes = header.passes()
    size = sum(rows * row_bytes for rows, row_bytes in passes)
    unpacker = zlib.decompressobj()
    try:
        # One byte more than is needed: it shows that there is more, and lets zlib reach its checksum.
        pixels = unpacker.decompress(stream, size + 1)
    except zlib.error as error:
        raise InputError(f"{name} is damaged: its pixels do not unpack ({error})") from error
    if len(pixels) != size or not unpacker.eof:
        raise InputError(f"{name} is damaged: its pixels unpack to another size than {header.words}")
    if unpacker.unused_data:
        raise InputError(
            f"{name} has {len(unpacker.unused_data)} bytes hidden after its pixels; save the picture again"
        )
    lines = np.frombuffer(pixels, dtype=np.uint8)
    start = 0
    for rows, row_bytes in passes:
        filters = lines[start : start + rows * row_bytes : row_bytes]
        if filters.max() > HIGHEST_FILTER:
            raise InputError(f"{name} is damaged: a row has the unknown filter {int(filters.max())}")
        start += rows * row_bytes
    return pixels
