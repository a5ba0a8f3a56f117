"""Serves the copies: an image's number to its bytes, small ones from memory."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qsched.errors import InputError
from qsched.locations import Location, RemotePath, is_url, read_location
from study_server.db import Reader, Statement
from study_server.errors import NotFound, PicturesMissing
from study_server.media.importing import stored_path
from study_server.media.png import clean_png

IMAGE_FILE = Statement("""
    SELECT st.slug, st.data_path, i.file FROM images i JOIN studies st ON st.id = i.study_id WHERE i.id = :image
""")
log = logging.getLogger(__name__)
CACHE_BYTES = 24 * 1024 * 1024
KNOWN_FILES = 100_000
# Of a bucket: reads that wait at once, in threads of their own, and how long an answer waits for one.
REMOTE_READS = 16
REMOTE_SECONDS = 10.0


class ImageStore:
    """Looks up and reads image files; both answers are remembered, since a copy never changes.

    A picture that the database knows and the disk does not give is this server's fault: PicturesMissing (503), with a
    line in the log, and it counts against nobody.
    """

    def __init__(self, reader: Reader, data_folder: Location) -> None:
        self._reader = reader
        self._folder = data_folder
        self._remote_reads = ThreadPoolExecutor(REMOTE_READS, thread_name_prefix="pictures")
        self._files: dict[int, Location] = {}
        self._bytes: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    async def path(self, image_id: int) -> Location:
        """The file of the copy; NotFound for an image that is gone with its study."""
        path = self._files.get(image_id)
        if path is None:
            row = await self._reader.run(lambda tx: tx.one(IMAGE_FILE, image=image_id))
            if row is None:
                raise NotFound("this image no longer exists")
            slug, data_path, name = row
            path = stored_path(study_folder(self._folder, slug, data_path), name)
            if len(self._files) >= KNOWN_FILES:
                self._files.clear()
            self._files[image_id] = path
        return path

    async def relative_path(self, image_id: int) -> str | None:
        """Path of the copy below the data folder, for a proxy that sends it; None in a bucket, of which it has none."""
        path = await self.path(image_id)
        if isinstance(path, RemotePath) or isinstance(self._folder, RemotePath):
            return None
        return str(path.relative_to(self._folder))

    async def read(self, image_id: int) -> bytes:
        """The bytes of the copy; PicturesMissing if the disk does not give them."""
        data = self._bytes.get(image_id)
        if data is not None:
            self._bytes.move_to_end(image_id)
            return data
        data = await self._read_file(image_id)
        if len(data) * 8 <= CACHE_BYTES and image_id not in self._bytes:
            self._bytes[image_id] = data
            self._size += len(data)
            while self._size > CACHE_BYTES:
                self._size -= len(self._bytes.popitem(last=False)[1])
        return data

    async def check(self, image_id: int) -> None:
        """Read the file itself and look whether it is a whole picture; PicturesMissing if not."""
        data = await self._read_file(image_id)
        try:
            await asyncio.to_thread(clean_png, data, name=f"the copy of image {image_id}")
        except InputError as error:
            raise _missing(await self.path(image_id), str(error)) from error

    async def _read_file(self, image_id: int) -> bytes:
        path = await self.path(image_id)
        try:
            if isinstance(path, Path):
                return await asyncio.to_thread(path.read_bytes)
            reading = asyncio.get_running_loop().run_in_executor(self._remote_reads, path.read_bytes)
            return await asyncio.wait_for(reading, REMOTE_SECONDS)
        except TimeoutError as error:
            raise _missing(path, f"no answer in {REMOTE_SECONDS:.0f} s") from error
        except OSError as error:
            raise _missing(path, error.strerror or str(error)) from error


def study_folder(data_folder: Location, slug: str, data_path: str | None) -> Location:
    """Where a study's pictures are: where they were put when it was created, if that is still there.

    A bucket is not asked: it is another one only if the data folder is one too.
    """
    if data_path is not None and is_url(data_path):
        return data_folder / slug if isinstance(data_folder, RemotePath) else read_location(data_path)
    if data_path is not None and Path(data_path).is_dir():
        return Path(data_path)
    return data_folder / slug


def _missing(path: Location, reason: str) -> PicturesMissing:
    log.error("the picture %s cannot be shown: %s", path, reason)
    return PicturesMissing("the server cannot read its pictures, trying again")
