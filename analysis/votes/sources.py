"""Open one source of votes: a parquet, csv or jsonl file, or a database URL; numbers its rows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analysis.votes.malformed import first_bad_csv_line, first_bad_json_line
from qsched.records import InputError, MissingExtraError

VIEW = "votes_table"
_SECOND = re.compile(r"_duplicated_\d+$")
_URL = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
_SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Source:
    """A lazy frame with a `row` column (the number to print), the name to print (no password), and the parquet file."""

    name: str
    rows: pl.LazyFrame
    columns: tuple[str, ...]
    parquet: Path | None = None


def open_source(source: str | Path) -> Source:
    """Open a file by its ending, or a database by its URL; InputError when there is nothing to read."""
    if isinstance(source, str) and _URL.match(source):
        return _open_database(source)
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give a file of votes ({', '.join(_SUFFIXES)}) or a database URL.")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Name the file of votes in it ({', '.join(_SUFFIXES)}).")
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return _scan_parquet(path)
    if name.endswith((".csv", ".csv.gz")):
        return _open_csv(path)
    if name.endswith((".jsonl", ".ndjson")):
        return _open_jsonl(path)
    raise InputError(f"{path} ends in {path.suffix!r}, which is none of {', '.join(_SUFFIXES)}.")


def place_of(source: str | Path) -> str | Path:
    """What two names of one source have in common: a file's resolved path, a database's URL."""
    return source if isinstance(source, str) and _URL.match(source) else Path(source).resolve()


def _scan_parquet(path: Path) -> Source:
    try:
        rows = pl.scan_parquet(path, row_index_name="row", row_index_offset=1)
        columns = rows.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return Source(str(path), rows, tuple(column for column in columns if column != "row"), parquet=path)


def _open_csv(path: Path) -> Source:
    # Everything as text: a column is checked and cast by its own rule, not by what its first rows look like.
    try:
        frame = pl.read_csv(path, infer_schema=False, row_index_name="row", row_index_offset=2)
    except pl.exceptions.NoDataError as error:
        raise InputError(f"{path} is empty: a csv of votes starts with a line of column names.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise first_bad_csv_line(path, error) from error
    found = [column for column in frame.columns if column != "row"]
    if any("\ufffd" in name for name in found):
        # The reader checks the encoding of the values, and replaces what it cannot read in the first line.
        raise first_bad_csv_line(path, ValueError("a column name holds the sign for an unreadable character"))
    _refuse_column_twice(path, found)
    if len(found) == 1 and (";" in found[0] or "\t" in found[0]):
        raise InputError(f"{path} has a single column {found[0]!r}: save it with commas between the values.")
    return Source(name=str(path), rows=frame.lazy(), columns=tuple(found))


def _refuse_column_twice(path: Path, found: list[str]) -> None:
    # The reader gives the second of two equal names a suffix; the first line shows whether it did.
    if not any(_SECOND.search(name) for name in found):
        return
    header = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False).row(0)
    twice = next((name for name, n in Counter(header).items() if name and n > 1), None)
    if twice is not None:
        raise InputError(
            f"{path} has {header.count(twice)} columns {twice!r}. Leave one of them, or rename the others."
        )


def _open_jsonl(path: Path) -> Source:
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise first_bad_json_line(path, error) from error
    frame = frame.with_row_index("row", offset=1)
    return Source(name=str(path), rows=frame.lazy(), columns=tuple(c for c in frame.columns if c != "row"))


def _open_database(url: str) -> Source:
    try:
        import sqlalchemy
    except ImportError as error:
        raise MissingExtraError("sqlalchemy", "analysis") from error
    try:
        address = sqlalchemy.make_url(url)
        shown = address.render_as_string(hide_password=True)
        if address.get_backend_name() == "sqlite" and address.database and not Path(address.database).exists():
            raise InputError(f"{shown}: the file {address.database} does not exist.")
        engine = sqlalchemy.create_engine(address)
    except sqlalchemy.exc.ArgumentError as error:
        shown = url.split("@")[-1]
        raise InputError(f"{shown!r} is not a database URL, such as sqlite:///runs/demo/study.db.") from error
    except ImportError as error:
        raise MissingExtraError(str(error.name), "server") from error
    try:
        with engine.connect() as connection:
            if not _has_view(connection):
                raise InputError(
                    f"{shown} has no table or view {VIEW!r}. "
                    "Give the study server's database, migrated to its newest version."
                )
            frame = pl.read_database(f"SELECT * FROM {VIEW}", connection, infer_schema_length=None)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise InputError(f"{shown} cannot be read: {error}") from error
    finally:
        engine.dispose()
    frame = frame.with_row_index("row", offset=1)
    return Source(name=shown, rows=frame.lazy(), columns=tuple(c for c in frame.columns if c != "row"))


def _has_view(connection: object) -> bool:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    return VIEW in inspector.get_view_names() or VIEW in inspector.get_table_names()
