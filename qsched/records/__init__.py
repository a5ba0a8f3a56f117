"""The two contracts, image set and votes table, and the errors a user can mend. No torch here."""

from __future__ import annotations

from qsched.errors import InputError, IntegrityError, MissingExtraError, QschedError, RowError
from qsched.records.image_set import (
    ArmRecord,
    ImageRow,
    Manifest,
    image_id_for,
    iter_rows,
    read_manifest,
)
from qsched.records.votes import COLUMNS, REQUIRED_COLUMNS, Choice, Kind, Vote

__all__ = [
    "COLUMNS",
    "REQUIRED_COLUMNS",
    "ArmRecord",
    "Choice",
    "ImageRow",
    "InputError",
    "IntegrityError",
    "Kind",
    "Manifest",
    "MissingExtraError",
    "QschedError",
    "RowError",
    "Vote",
    "image_id_for",
    "iter_rows",
    "read_manifest",
]
