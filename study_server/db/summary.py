"""What is in an SQLite study database, read without changing it: no migration, no lock that a server would feel."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from qsched.errors import InputError

_STUDIES = """
SELECT s.slug, s.status, s.title, s.set_id,
       (SELECT count(*) FROM pairs p WHERE p.study_id = s.id),
       (SELECT count(*) FROM sessions n WHERE n.study_id = s.id),
       (SELECT count(*) FROM votes v JOIN sessions n ON n.id = v.session_id WHERE n.study_id = s.id)
FROM studies s ORDER BY s.id
"""


@dataclass(frozen=True)
class StudyCounts:
    """One study; `answers` are stored rows, corrected and surplus ones too."""

    slug: str
    status: str
    title: str
    set_id: str
    pairs: int
    sessions: int
    answers: int


def summarize_sqlite(path: Path) -> list[StudyCounts]:
    """The studies in a database file, in the order they were created; InputError if it is none of ours."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)) as connection:
            return [StudyCounts(*row) for row in connection.execute(_STUDIES)]
    except sqlite3.Error as error:
        raise InputError(
            f"{path} is an SQLite file, but not a study database of this version ({error}); `qsched serve` and "
            "`qsched study create` make one"
        ) from error
