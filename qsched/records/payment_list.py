"""people.csv: whom to pay, by the platform's own names. Kept apart from votes and every export.

Values that a spreadsheet would run as a formula begin with an apostrophe: a platform id comes from a link that anybody
can write.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from qsched.records.owner_api import PaymentInfo

COLUMNS = tuple(PaymentInfo.model_fields)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def payments_csv(rows: Iterable[PaymentInfo]) -> Iterator[str]:
    """The table as CSV, a line at a time."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(COLUMNS)
    for payment in rows:
        writer.writerow([_harmless(getattr(payment, name)) for name in COLUMNS])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _harmless(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
