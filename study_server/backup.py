"""A copy of everything that a server needs to go on elsewhere: database, pictures, key. The server may be running."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from qsched.errors import InputError
from qsched.locations import Location, RemotePath
from study_server.db.database import Database
from study_server.db.models import StudyRecord
from study_server.media.store import study_folder
from study_server.owner import default_data_folder


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied: the database file, how many picture files, and whether the key file was there.

    elsewhere    buckets that have the pictures of some studies; those are not copied
    """

    database: Path
    pictures: int
    has_key: bool
    elsewhere: tuple[str, ...] = ()


def back_up(database: Database, folder: Path, *, data_folder: Location | None = None) -> Backup:
    """Copy an SQLite database, as it is at one moment, with its pictures and key into a new folder (mode 0700).

    Raises InputError for PostgreSQL, which has pg_dump, and for a folder with something in it.
    """
    if database.dialect == "postgresql":
        raise InputError(
            "PostgreSQL is backed up with its own tool: pg_dump --format=custom --file=study.dump DATABASE; the folder "
            "of pictures and QSCHED_SECRET_KEY are to be kept beside it"
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = Path(database.url.database or "")
    target = folder / source.name
    _copy_database(database, target)
    pictures, elsewhere = _copy_pictures(database, folder, source, data_folder)
    key = source.with_name(f"{source.name}.secret")
    if key.is_file():
        shutil.copy2(key, folder / key.name)
    return Backup(target, pictures, key.is_file(), elsewhere)


def _copy_database(database: Database, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source, copy = database.connect(), sqlite3.connect(target)
    try:
        cast(sqlite3.Connection, source).backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise InputError(f"the copy {target} is damaged: {found}; check the disk and try again")
    finally:
        copy.close()
        source.close()


def _copy_pictures(
    database: Database, folder: Path, source: Path, data_folder: Location | None
) -> tuple[int, tuple[str, ...]]:
    """Into the place where a server of the copied database looks by default; how many, and the buckets left alone."""
    with database.session() as session:
        studies = session.execute(sa.select(StudyRecord.slug, StudyRecord.data_path)).all()
    data_folder = data_folder or default_data_folder(f"sqlite:///{source}")
    copied, elsewhere = 0, []
    for slug, data_path in studies:
        target = folder / f"{source.stem}-images" / slug
        pictures = study_folder(data_folder, slug, data_path)
        if isinstance(pictures, RemotePath):
            elsewhere.append(str(pictures))
            continue
        if not pictures.is_dir():
            raise InputError(f"the pictures of study {slug} are not in {pictures}; name their folder with --data")
        target.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copytree(pictures, target)
        copied += sum(path.is_file() for path in target.rglob("*"))
    return copied, tuple(elsewhere)
