"""Where an image set or the pictures of a study are: a local path, or a URL of an object store (s3://, gs:// ...).

A RemotePath has those methods of pathlib.Path that this project needs, over fsspec (extra `remote`):

    write_bytes      puts one object, which is there whole or not at all
    mkdir            does nothing: an object store has no folders
    errors           are OSErrors, whatever the store's library raises, with one sentence in `strerror`

Credentials come from where the store's library looks for them (environment, profile, role). A URL that carries some is
refused, so none can end in a record, a log or a message.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

from qsched.errors import InputError, MissingExtraError

T = TypeVar("T")
_URL = re.compile(r"([a-z][a-z0-9+.-]*):/{1,2}", re.IGNORECASE)
# Packages of the extra `remote`, by protocol.
_OF_THE_EXTRA = {"s3": "s3fs", "s3a": "s3fs", "memory": "fsspec"}
_WITHOUT_FOLDERS = ("http", "https")
_MOST_WORDS = 300


@dataclass(frozen=True)
class RemotePath:
    """An object of an object store, or everything below a prefix; pickled as its URL."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """`.png` of a picture."""
        return Path(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder or prefix that contains the object."""
        return RemotePath(self.url.rpartition("/")[0])

    def resolve(self) -> RemotePath:
        """Itself: a URL is absolute."""
        return self

    def is_symlink(self) -> bool:
        """False: an object store has no links."""
        return False

    def exists(self) -> bool:
        """Whether there is an object of this name, or any below it; OSError if the store does not say."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether there are objects below this name."""
        return self._kind() == "directory"

    def size(self) -> int:
        """Bytes of the object."""
        return int(self._call(lambda fs, path: fs.info(path)["size"]) or 0)

    def read_bytes(self) -> bytes:
        """The object."""
        return bytes(self._call(lambda fs, path: fs.cat_file(path)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The object as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object, read whole; for reading only."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}: an object is read with 'rb' and written whole with write_bytes")
        return io.BytesIO(self.read_bytes())

    def write_bytes(self, data: bytes) -> None:
        """Put the object: afterwards it is there whole, or the old one as it was."""
        self._call(lambda fs, path: fs.pipe_file(path, data))

    def create(self, data: bytes) -> bool:
        """Put the object if there is none of this name; False, and nothing is changed, if there is one.

        Atomic where the store takes a condition (`If-None-Match: *` of S3, `ifGenerationMatch=0` of GCS). One that
        refuses conditions gets an ordinary put; one that ignores them replaces an object that came in between.
        """
        put = self._put_if(data, mode="create")
        if put is None:
            self.write_bytes(data)
        return put is not False

    def version(self) -> str | None:
        """What changes with the content (S3's ETag), for `replace`; None for other stores, and if nothing is there."""
        try:
            info = self._call(lambda fs, path: fs.info(path, refresh=True) if _has_etags(fs) else {})
        except FileNotFoundError:
            return None
        tag = info.get("ETag")
        return None if tag is None else str(tag)

    def replace(self, data: bytes, version: str | None) -> bool:
        """Put the object if it is still of this version; False, and nothing is changed, if it is not.

        Atomic where the store takes a condition (`If-Match` of S3). Otherwise, also for the version None, the object is
        deleted and created, and of two who do so at once both may succeed.
        """
        put = None if version is None else self._put_if(data, IfMatch=version)
        if put is None:
            self.unlink(missing_ok=True)
            return self.create(data)
        return put

    def _put_if(self, data: bytes, **condition: str) -> bool | None:
        """True if the object was put, False if the condition did not hold, None if the store takes none."""
        fs, path = _file_system(self.url)
        try:
            fs.pipe_file(path, data, **condition)
        except (FileExistsError, FileNotFoundError):
            return False
        except Exception as error:
            words = f"{type(error).__name__} {error} {error.__cause__}".lower()
            # At once with another, and this is not the one that came through.
            if any(sign in words for sign in ("conditionalrequestconflict", "preconditionfailed", "pre-conditions")):
                return False
            if "notimplemented" in words or "not implemented" in words:
                return None
            raise _as_os_error(error, self.url) from error
        return True

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._call(lambda fs, path: fs.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, mode: int = 0o777, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: an object store has no folders."""

    def iterdir(self) -> Iterator[RemotePath]:
        """The names directly below, listed anew. FileNotFoundError if there are none."""
        names = self._call(lambda fs, path: [(one["name"], path) for one in fs.ls(path, detail=True)])
        for name, path in sorted(names):
            # Some stores keep an empty object for the folder itself.
            if name.rstrip("/") != path.rstrip("/"):
                yield self / name.rstrip("/").rpartition("/")[2]

    def sizes(self) -> dict[str, int]:
        """Names and bytes of the objects directly below, from one listing; empty if there are none."""
        try:
            found = self._call(lambda fs, path: fs.ls(path, detail=True))
        except FileNotFoundError:
            return {}
        return {one["name"].rpartition("/")[2]: int(one["size"] or 0) for one in found if one["type"] == "file"}

    def all_sizes(self) -> dict[str, int]:
        """Names relative to this and bytes of all objects below, from one listing; empty if there are none."""

        def find(fs: Any, path: str) -> dict[str, int]:
            found = fs.find(path, detail=True)
            return {name[len(path) :].lstrip("/"): int(one["size"] or 0) for name, one in found.items()}

        return self._call(find)

    def remove_all(self) -> None:
        """Delete everything below this name, if there is anything."""
        try:
            self._call(lambda fs, path: fs.rm(path, recursive=True))
        except FileNotFoundError:
            return

    def _kind(self) -> str | None:
        try:
            return str(self._call(lambda fs, path: fs.info(path)["type"]))
        except FileNotFoundError:
            return None

    def _call(self, job: Callable[[Any, str], T]) -> T:
        """job(file system, path in it), with its errors as OSErrors of one sentence."""
        fs, path = _file_system(self.url)
        try:
            return job(fs, path)
        except Exception as error:
            raise _as_os_error(error, self.url) from error


Location: TypeAlias = Path | RemotePath


def file_size(path: Location) -> int:
    """Bytes of a file; OSError if there is none."""
    return path.size() if isinstance(path, RemotePath) else path.stat().st_size


def file_sizes(folder: Location) -> dict[str, int]:
    """Names and bytes of the files directly in a folder, from one listing; empty if there is no such folder."""
    if isinstance(folder, RemotePath):
        return folder.sizes()
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


def all_file_sizes(folder: Location) -> dict[str, int]:
    """Names relative to a folder and bytes of all files in it and below; empty if there is no such folder."""
    if isinstance(folder, RemotePath):
        return folder.all_sizes()
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def remove_folder(folder: Location) -> None:
    """Delete a folder with all that is in it, as far as that is possible."""
    if isinstance(folder, RemotePath):
        folder.remove_all()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def is_url(text: str) -> bool:
    """Whether the text is a URL and not a local path."""
    return _URL.match(text) is not None


def read_location(text: str | Path) -> Location:
    """The location that a person wrote; InputError, without any access, for a URL that cannot be used."""
    text = str(text)
    found = _URL.match(text)
    if found is None:
        return Path(text)
    protocol, rest = found[1].lower(), text[found.end() :].rstrip("/")
    if protocol in ("file", "local"):
        return Path("/" + rest.lstrip("/"))
    if "::" in text or any(mark in rest for mark in "@?#") or ".." in rest.split("/") or "//" in rest:
        # It is not shown: it may be a password.
        raise InputError(
            f"the {protocol} URL has a user name, a question mark or the like; write {protocol}://BUCKET/FOLDER, and "
            "leave credentials in the environment"
        )
    if not rest:
        raise InputError(f"{text}: a bucket is missing; write {protocol}://BUCKET/FOLDER")
    if protocol in _WITHOUT_FOLDERS:
        raise InputError(f"{text}: a web server cannot list or keep a set; name its folder or bucket, or copy it first")
    url = f"{protocol}://{rest}"
    _file_system(url)
    return RemotePath(url)


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, made once by fsspec, and the path in it; errors name what to install."""
    protocol = url.partition("://")[0]
    try:
        from fsspec import get_filesystem_class
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise MissingExtraError("fsspec", "remote") from error
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        if protocol in _OF_THE_EXTRA:
            raise MissingExtraError(_OF_THE_EXTRA[protocol], "remote") from error
        raise InputError(f"{url}: {error}") from error
    except ValueError as error:
        raise InputError(
            f"{url}: {protocol} is not a file system that fsspec knows; use a local folder, s3:// or gs://"
        ) from error
    # A listing that was kept would not show what another process has written since.
    fs, path = url_to_fs(url, use_listings_cache=False)
    return fs, str(path)


def _has_etags(fs: Any) -> bool:
    return "s3" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _as_os_error(error: Exception, url: str) -> OSError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = (getattr(error, "strerror", None) or (lines[0] if lines else type(error).__name__))[:_MOST_WORDS]
    if isinstance(error, FileNotFoundError):
        if re.search(r"bucket\b.*\bexist", words, re.IGNORECASE):
            return OSError(errno.ENXIO, f"the bucket {bucket_of(url)} does not exist", url)
        return FileNotFoundError(errno.ENOENT, "there is no such object", url)
    if isinstance(error, PermissionError) or "credential" in f"{type(error).__name__} {words}".lower():
        remedy = "see that the environment has the credentials of an account that may use it"
        return PermissionError(errno.EACCES, f"access is refused: {words}; {remedy}", url)
    return OSError(errno.EIO, f"{type(error).__name__}: {words}", url)


def bucket_of(url: str) -> str:
    """`s3://bucket` of a URL."""
    protocol, _, rest = url.partition("://")
    return f"{protocol}://{rest.partition('/')[0]}"
