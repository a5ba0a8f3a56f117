"""Reading the pictures of an image set: a score belongs to the bytes that the row names, and to no others."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from qsched.errors import IntegrityError
from qsched.locations import Location
from qsched.records import ImageRow


def open_picture(folder: Location, row: ImageRow) -> Image.Image:
    """The picture that the row describes, byte for byte; IntegrityError for any other."""
    path = folder / row.file_name
    remedy = "`qsched verify` lists what is wrong with a set; the same `qsched generate-pairs` command mends it"
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise IntegrityError(f"{path} ({row.arm}, {row.prompt_id}) cannot be read: {reason}. {remedy}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != row.sha256:
        raise IntegrityError(
            f"{path} ({row.arm}, {row.prompt_id}) is not the picture of its row: sha256 {found[:16]}... against "
            f"{row.sha256[:16]}... in images.jsonl. {remedy}"
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise IntegrityError(f"{path} ({row.arm}, {row.prompt_id}) is not a picture: {error}. {remedy}") from error
    if picture.size != (row.width, row.height):
        raise IntegrityError(
            f"{path} ({row.arm}, {row.prompt_id}) is {picture.width}x{picture.height}, its row says "
            f"{row.width}x{row.height}. {remedy}"
        )
    return picture
