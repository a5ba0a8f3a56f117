"""The first bad line of a text file, in words: the reader says that the file is broken, but not on which line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from qsched.records import InputError, RowError


def first_bad_json_line(path: Path, error: Exception) -> InputError:
    """The line that is not a JSON object."""
    try:
        found = _json_problem(path)
    except (OSError, EOFError, zlib.error) as problem:
        return InputError(f"{path} cannot be read: {problem}")
    if found is not None:
        return found
    return InputError(f"{path} cannot be read as jsonl: {_first_line(error)}")


def _json_problem(path: Path) -> RowError | None:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
            except ValueError as problem:
                return RowError(path, number, f"not JSON ({problem}). Write one JSON object per line.")
            if not isinstance(value, dict):
                return RowError(path, number, f"{value!r:.60} is not a JSON object. Write one object per line.")
    return None


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def first_bad_csv_line(path: Path, error: Exception, separator: str) -> InputError:
    """The line that is not UTF-8, opens a quote for good, misplaces one, or has more values than there are columns."""
    try:
        found = _csv_problem(path, separator)
    except (OSError, EOFError, zlib.error) as problem:
        return InputError(f"{path} cannot be read: {problem}")
    return found or InputError(f"{path} cannot be read as csv: {_first_line(error)}")


def _csv_problem(path: Path, separator: str) -> RowError | None:
    header: list[str] | None = None
    for number, record, closed in _records(path):
        try:
            text = record.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as problem:
            number += record.count(b"\n", 0, problem.start)
            byte = record[problem.start]
            return RowError(path, number, f"byte 0x{byte:02x} is not UTF-8. Save the file as csv in UTF-8.")
        if not closed:
            words = 'a quote (") is opened and never closed. Close it, or double a quote inside a value ("").'
            return RowError(path, number, words)
        try:
            values = next(csv.reader([text], delimiter=separator, strict=True), [])
        except csv.Error as problem:
            words = (
                f'a quote (") is misplaced ({problem}). Quote the whole value and write a quote inside it twice ("").'
            )
            return RowError(path, number, words)
        if header is None:
            header = values or None
        elif len(values) > len(header):
            words = f"there are {len(values)} values for the {len(header)} columns of the first line."
            return RowError(
                path, number, f"{words} Put values with the separator in them in quotes, or correct the row."
            )
    return None


def _records(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """The rows: number of the first line, text, and whether its quotes are closed; a quoted value may hold lines."""
    started, parts, is_open = 1, [], False
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            parts.append(line)
            is_open ^= line.count(b'"') % 2 == 1
            if not is_open:
                yield started, b"".join(parts), True
                started, parts = number + 1, []
    if parts:
        yield started, b"".join(parts), False


def _first_line(error: Exception) -> str:
    """The first line of the reader's message; the rest is about options that users cannot set here."""
    return str(error).strip().partition("\n")[0]
