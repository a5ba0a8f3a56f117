"""Open one source of votes: a parquet, csv or jsonl file, a database URL, or a frame in memory; numbers its rows.

A parquet file usually stores a text column as distinct values and the place of each row's value among them. `read`
keeps that form, as a categorical column, so no text is made or hashed for each row.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from analysis.votes.malformed import first_bad_csv_line, first_bad_json_line
from qsched.records import InputError, MissingExtraError
from qsched.records.stopping import Look, Looks, StoppingRule

if TYPE_CHECKING:
    import sqlalchemy
    from narwhals.typing import IntoDataFrame

#: A file, the URL of a database, or a frame in memory (polars, pandas, pyarrow).
VotesSource: TypeAlias = "str | Path | IntoDataFrame | pl.LazyFrame"

STUDIES_WITH_RULE = """SELECT id, slug, design FROM studies WHERE design LIKE '%"stopping":{%' ORDER BY id"""
ARMS_OF_STUDY = """
    SELECT DISTINCT i.arm FROM pairs p JOIN images i ON i.id IN (p.first_image_id, p.second_image_id)
    WHERE p.study_id = :study AND p.pool IN ('task', 'decided')
"""
LOOKS_OF_STUDY = "SELECT look FROM study_looks WHERE study_id = :study ORDER BY number"
VIEW = "votes_table"
ROW = "row"
#: Types of text in a parquet file, in the words of pyarrow.
TEXTS = ("string", "large_string")
_SECOND = re.compile(r"_duplicated_\d+$")
_URL = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)
_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Source:
    """A lazy frame with a `row` column (the number to print), the name to print (no password), and the parquet file.

    `columns` are those of the source. One of its own that is called `row` cannot be read: the numbers replace it.
    """

    name: str
    rows: pl.LazyFrame
    columns: tuple[str, ...]
    parquet: Path | None = None

    def read(self, columns: Sequence[str], *, names: Collection[str] = ()) -> pl.DataFrame:
        """`row` and the given columns; those of `names` may come as categories. InputError if they cannot be read."""
        try:
            if self.parquet is not None:
                return _read_parquet(self.parquet, columns, names=names)
            return self.rows.select(ROW, *columns).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{self.name} cannot be read: {error}") from error


def _read_parquet(path: Path, columns: Sequence[str], *, names: Collection[str]) -> pl.DataFrame:
    try:
        from pyarrow import ArrowException, default_memory_pool
        from pyarrow.parquet import ParquetFile, read_schema
    except ImportError as error:
        raise MissingExtraError("pyarrow", "analysis") from error
    try:
        dtypes = {field.name: field.type for field in read_schema(path)}
        texts = [name for name in names if str(dtypes[name]) in TEXTS]
        with ParquetFile(path, read_dictionary=texts) as file:
            table = file.read(columns=list(columns))
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    rows = pl.DataFrame({ROW: pl.int_range(1, table.num_rows + 1, dtype=pl.Int64, eager=True)})
    frame = rows.hstack(pl.DataFrame(pl.from_arrow(table.select(columns))))
    del table
    # Arrow's own allocator would keep what the reading used, as much as the votes themselves.
    default_memory_pool().release_unused()
    return frame


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
    plain = name.removesuffix(".gz")
    if plain.endswith(".csv"):
        return _open_csv(path, separator=",")
    if plain.endswith(".tsv"):
        return _open_csv(path, separator="\t")
    if plain.endswith((".jsonl", ".ndjson")):
        return _open_jsonl(path)
    if plain.endswith(".json"):
        return _open_json(path)
    raise InputError(
        f"{path} ends in {path.suffix!r}, not one of {', '.join(_SUFFIXES)} (all but parquet also with .gz)."
    )


def is_frame(source: object) -> bool:
    """Whether it is a frame in memory: of polars (lazy too), pandas, pyarrow or one that narwhals reads like them."""
    if isinstance(source, (str, Path, list, tuple)):
        return False
    return isinstance(source, pl.LazyFrame) or bool(_narwhals().dependencies.is_into_dataframe(source))


def open_frame(frame: IntoDataFrame | pl.LazyFrame, name: str) -> Source:
    """A frame in memory as a source with `name`; `row` is the place in it, from 1. InputError if it cannot be read."""
    nw = _narwhals()
    try:
        found = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        rows = nw.from_native(found, eager_only=True).to_polars()
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:  # narwhals raises ValueErrors
        raise InputError(f"{name} cannot be read: {' '.join(str(error).split())}") from error
    # A missing value is NaN in many pandas columns, and NaN is a number in polars.
    return _in_memory(name, rows.with_columns(pl.selectors.float().fill_nan(None)), first=1)


def _narwhals() -> ModuleType:
    try:
        import narwhals
    except ImportError as error:
        raise MissingExtraError("narwhals", "analysis") from error
    return narwhals


def place_of(source: VotesSource) -> str | Path | int:
    """The identity of a source: a file's resolved path, a database's URL, the identity of a frame."""
    if not isinstance(source, (str, Path)):
        return id(source)
    return source if isinstance(source, str) and _URL.match(source) else Path(source).resolve()


def _scan_parquet(path: Path) -> Source:
    try:
        rows = pl.scan_parquet(path)
        columns = rows.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return Source(str(path), _numbered(rows, columns, first=1), tuple(columns), parquet=path)


def _numbered(rows: pl.LazyFrame, columns: Sequence[str], *, first: int) -> pl.LazyFrame:
    """With the number of each row, in place of a column of the source that is called so."""
    return rows.select(column for column in columns if column != ROW).with_row_index(ROW, offset=first)


def _open_csv(path: Path, *, separator: str) -> Source:
    # Everything as text: a column is checked and cast by its own rule, not by what its first rows look like.
    try:
        frame = pl.read_csv(path, separator=separator, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise InputError(f"{path} is empty: a csv of votes starts with a line of column names.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise first_bad_csv_line(path, error, separator) from error
    found = frame.columns
    if any("\ufffd" in name for name in found):
        # The reader checks the encoding of the values, and replaces what it cannot read in the first line.
        unreadable = ValueError("a column name has the sign for an unreadable character")
        raise first_bad_csv_line(path, unreadable, separator)
    _refuse_column_twice(path, found, separator)
    if len(found) == 1 and any(sign in found[0] for sign in ";\t,"):
        wanted = "commas" if separator == "," else "tabs"
        raise InputError(f"{path} has a single column {found[0]!r}: save it with {wanted} between the values.")
    return _in_memory(str(path), frame, first=2)


def _in_memory(name: str, frame: pl.DataFrame, *, first: int) -> Source:
    return Source(name, _numbered(frame.lazy(), frame.columns, first=first), tuple(frame.columns))


def _refuse_column_twice(path: Path, found: list[str], separator: str) -> None:
    # The reader gives the second of two equal names a suffix; the first line shows whether it did.
    if not any(_SECOND.search(name) for name in found):
        return
    header = pl.read_csv(path, separator=separator, has_header=False, n_rows=1, infer_schema=False).row(0)
    twice = next((name for name, n in Counter(header).items() if name and n > 1), None)
    if twice is not None:
        raise InputError(
            f"{path} has {header.count(twice)} columns {twice!r}. Leave one of them, or rename the others."
        )


def _open_jsonl(path: Path) -> Source:
    try:
        frame = pl.read_ndjson(_unpacked(path), infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise first_bad_json_line(path, error) from error
    return _in_memory(str(path), frame, first=1)


def _open_json(path: Path) -> Source:
    """One array of objects, as LMSYS publishes its battles; `row` is the place in the array."""
    try:
        frame = pl.read_json(_unpacked(path), infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as json: {str(error).strip().partition(chr(10))[0]} A .json file of votes is one "
            "array of objects; one object per line has the ending .jsonl."
        ) from error
    return _in_memory(str(path), frame, first=1)


def _unpacked(path: Path) -> Path | io.BytesIO:
    return io.BytesIO(gzip.decompress(path.read_bytes())) if path.name.lower().endswith(".gz") else path


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
    return _in_memory(shown, frame, first=1)


def looks_in_databases(names: Sequence[str]) -> tuple[Looks, ...]:
    """What the stopping rules of the studies in databases among `names` found, as an export writes it beside the votes.

    Of URLs from which votes were read before.
    """
    found: list[Looks] = []
    for url in (name for name in names if "://" in name):
        import sqlalchemy

        engine = sqlalchemy.create_engine(url)
        try:
            with engine.connect() as connection:
                if sqlalchemy.inspect(connection).has_table("study_looks"):
                    rows = connection.execute(sqlalchemy.text(STUDIES_WITH_RULE)).all()
                    found += [_looks_of(connection, *row) for row in rows]
        finally:
            engine.dispose()
    return tuple(found)


def _looks_of(connection: sqlalchemy.Connection, study: int, slug: str, text: str) -> Looks:
    from sqlalchemy import text as statement

    design = json.loads(text)
    rule = StoppingRule.model_validate(design["stopping"])
    arms = set(connection.scalars(statement(ARMS_OF_STUDY), {"study": study}))
    looks = connection.scalars(statement(LOOKS_OF_STUDY), {"study": study})
    return Looks(
        study=slug,
        question=rule.question or design["questions"][0]["id"],
        arms=len(arms - {rule.baseline}),
        rule=rule,
        looks=tuple(Look.model_validate_json(look) for look in looks),
    )


def _has_view(connection: object) -> bool:
    from sqlalchemy import inspect

    inspector = inspect(connection)
    return VIEW in inspector.get_view_names() or VIEW in inspector.get_table_names()
