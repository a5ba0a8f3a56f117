"""The list of a set's pairs with their strata, and which of them a study shows: `pairs.csv` in the image set.

`qsched pairs` writes it, anybody may edit it, and a study with `pairs: curated` shows what it says.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qsched.errors import InputError, RowError
from qsched.locations import Location

PAIRS_NAME = "pairs.csv"
PAIR_COLUMNS = (
    "prompt_id",
    "sample_index",
    "first_arm",
    "second_arm",
    "stratum",
    "largest_difference",
    "mean_difference",
    "use",
    "why",
)
_NEEDED = ("prompt_id", "sample_index", "first_arm", "second_arm", "stratum", "use")
#: Begins the reason of a pair that `qsched pairs --sample` did not draw.
NOT_DRAWN = "not drawn"
#: ... and of one whose prompt `--visible-first` did not choose.
LESS_VISIBLE = "less visible"
#: prompt, sample, and the two arms in the order of their names.
PairKey = tuple[str, int, str, str]


class Stratum(StrEnum):
    """How the two pictures of a pair differ."""

    BROKEN = "broken"
    FLAGGED = "flagged"
    IDENTICAL = "identical"
    NEAR_IDENTICAL = "near-identical"
    DIFFERENT = "different"


@dataclass(frozen=True)
class CuratedPair:
    """One line of the list; `why` is the reason in words, for a person."""

    stratum: Stratum
    use: bool
    why: str = ""

    @property
    def counted_as(self) -> str:
        """What a pair counts as that is left out: its stratum, and whether it was only not drawn or not chosen."""
        return ", ".join([str(self.stratum), *(word for word in (NOT_DRAWN, LESS_VISIBLE) if word in self.why)][:2])


@dataclass(frozen=True)
class Curation:
    """The list, and the hash of the file that it was read from."""

    path: Location
    pairs: Mapping[PairKey, CuratedPair]
    sha256: str


def count_words(counts: Mapping[str, int]) -> str:
    """`3 identical, 2 broken, 5 near-identical (not drawn)` of counts by `CuratedPair.counted_as`."""
    parts = ((count, *reason.partition(", ")) for reason, count in counts.items())
    return ", ".join(f"{count:,} {stratum}" + (f" ({note})" if note else "") for count, stratum, _, note in parts)


def pair_key_of(prompt_id: str, sample_index: int, one: str, other: str) -> PairKey:
    """The key of a pair, whichever arm is named first."""
    first, second = sorted((one, other))
    return prompt_id, sample_index, first, second


def read_curation(folder: Location) -> Curation:
    """Read and check the list of an image set; InputError if there is none, RowError for a wrong line."""
    path = folder / PAIRS_NAME
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; `qsched pairs {folder}` writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    reader = csv.DictReader(io.StringIO(text))
    columns = list(reader.fieldnames or ())
    for name in columns:
        if name not in PAIR_COLUMNS or columns.count(name) > 1:
            raise RowError(
                str(path), 1, f"column {name!r} is not known, or there twice; they are {', '.join(PAIR_COLUMNS)}"
            )
    for name in _NEEDED:
        if name not in columns:
            raise RowError(path, 1, f"there is no column {name!r}; `qsched pairs` writes it")
    pairs: dict[PairKey, CuratedPair] = {}
    for row in reader:
        key, pair = _read_row(path, reader.line_num, row)
        if key in pairs:
            raise RowError(path, reader.line_num, f"the pair {' '.join(map(str, key))} is listed twice")
        pairs[key] = pair
    return Curation(path, pairs, hashlib.sha256(data).hexdigest())


def _read_row(path: Location, line: int, row: Mapping[str, str]) -> tuple[PairKey, CuratedPair]:
    if None in row or None in row.values():
        raise RowError(path, line, "the row has another number of values than the header")
    if row["use"] not in ("yes", "no"):
        raise RowError(path, line, f"use is {row['use']!r}; it must be yes or no")
    if row["stratum"] not in [stratum.value for stratum in Stratum]:
        raise RowError(path, line, f"stratum is {row['stratum']!r}; it must be one of {', '.join(Stratum)}")
    if not row["sample_index"].isdecimal():
        raise RowError(path, line, f"sample_index is {row['sample_index']!r}; it counts from 0")
    key = pair_key_of(row["prompt_id"], int(row["sample_index"]), row["first_arm"], row["second_arm"])
    return key, CuratedPair(Stratum(row["stratum"]), row["use"] == "yes", row.get("why") or "")
