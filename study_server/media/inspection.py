"""A look at all picture files before a server starts: a study whose pictures are not there must not be served."""

from __future__ import annotations

from collections.abc import Mapping

from qsched.errors import InputError
from qsched.locations import Location, RemotePath, file_size
from study_server.db.database import Database
from study_server.db.statements import Statement
from study_server.media.importing import stored_path
from study_server.media.store import study_folder

FILES = Statement("""
    SELECT st.slug, st.data_path, i.file FROM images i JOIN studies st ON st.id = i.study_id
    WHERE st.status IN ('open', 'paused') ORDER BY st.slug
""")
_BATCH = 10_000


def check_pictures(database: Database, data_folder: Location) -> None:
    """InputError if a picture of an open or paused study is not where the server would read it, or is empty."""
    missing: dict[tuple[str, Location], int] = {}
    listed: dict[Location, dict[str, int]] = {}
    with database.snapshot() as tx:
        for rows in tx.batches(FILES, _BATCH):
            for slug, data_path, name in rows:
                folder = study_folder(data_folder, slug, data_path)
                if isinstance(folder, RemotePath) and folder not in listed:
                    listed[folder] = _list(folder, slug)
                if not _is_there(stored_path(folder, name), listed.get(folder)):
                    missing[slug, folder] = missing.get((slug, folder), 0) + 1
    if missing:
        found = "; ".join(f"study {slug}: {count} in {folder}" for (slug, folder), count in missing.items())
        raise InputError(
            f"picture files are missing, so nothing is served: {found}. Mount or restore the folder, name it with "
            "--data (its parent: pictures are in a folder per study), or close the study: qsched study close SLUG"
        )


def _list(folder: RemotePath, slug: str) -> dict[str, int]:
    try:
        return folder.all_sizes()
    except OSError as error:
        raise InputError(
            f"the pictures of study {slug} in {folder} cannot be listed, so nothing is served: {error.strerror}"
        ) from error


def _is_there(path: Location, listed: Mapping[str, int] | None) -> bool:
    """Whether a picture is there and not empty: as its bucket was listed, else as the disk says."""
    if listed is not None:
        return listed.get(f"{path.parent.name}/{path.name}", 0) > 0
    try:
        return file_size(path) > 0
    except OSError:
        return False
