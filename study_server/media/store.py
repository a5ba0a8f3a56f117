"""Serves the copies: an image's number to its bytes, small ones from memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from study_server.db import Reader, Statement
from study_server.errors import NotFound
from study_server.media.importing import stored_path

IMAGE_FILE = Statement("SELECT st.slug, i.file FROM images i JOIN studies st ON st.id = i.study_id WHERE i.id = :image")
CACHE_BYTES = 24 * 1024 * 1024
KNOWN_FILES = 100_000


class ImageStore:
    """Looks up and reads image files; both answers are remembered, since a copy never changes."""

    def __init__(self, reader: Reader, data_folder: Path) -> None:
        self._reader = reader
        self._folder = data_folder
        self._files: dict[int, str] = {}
        self._bytes: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    async def relative_path(self, image_id: int) -> str:
        """Path of the copy below the data folder; NotFound for an image that is gone."""
        path = self._files.get(image_id)
        if path is None:
            row = await self._reader.run(lambda tx: tx.one(IMAGE_FILE, image=image_id))
            if row is None:
                raise NotFound("this image is gone")
            slug, name = row
            path = str(stored_path(self._folder / slug, name).relative_to(self._folder))
            if len(self._files) >= KNOWN_FILES:
                self._files.clear()
            self._files[image_id] = path
        return path

    async def read(self, image_id: int) -> bytes:
        """The bytes of the copy; NotFound where the file is missing."""
        data = self._bytes.get(image_id)
        if data is not None:
            self._bytes.move_to_end(image_id)
            return data
        path = self._folder / await self.relative_path(image_id)
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError as error:
            raise NotFound("this image is missing") from error
        if len(data) * 8 <= CACHE_BYTES and image_id not in self._bytes:
            self._bytes[image_id] = data
            self._size += len(data)
            while self._size > CACHE_BYTES:
                self._size -= len(self._bytes.popitem(last=False)[1])
        return data
