"""A votes table written batch by batch: parquet, csv or jsonl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

FORMATS = (".parquet", ".csv", ".jsonl")
TIME = pl.Datetime("ms", "UTC")

Write = Callable[[pl.DataFrame], None]


@contextmanager
def open_table(path: Path) -> Iterator[Write]:
    """Yield a function that appends a batch to `path`; the ending gives the format, the first batch the columns."""
    writers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    with writers[path.suffix](path) as write:
        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None

    def write(batch: pl.DataFrame) -> None:
        nonlocal writer
        table = batch.to_arrow()
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("wb") as file:
        header = True

        def write(batch: pl.DataFrame) -> None:
            nonlocal header
            _with_text_times(batch).write_csv(file, include_header=header)
            header = False

        yield write


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("wb") as file:
        yield lambda batch: _with_text_times(batch).write_ndjson(file)


def _with_text_times(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.with_columns(pl.col("served_at", "answered_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
