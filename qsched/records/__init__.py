"""The contracts (image set, votes table, triplets table) and the errors a user can mend. No torch here."""

from __future__ import annotations

from qsched.errors import InputError, IntegrityError, MissingExtraError, QschedError, RowError
from qsched.records.image_set import (
    ArmRecord,
    ImageRow,
    Manifest,
    RequestRecord,
    ShardRecord,
    hash_of,
    image_id_for,
    image_id_of,
    image_seed,
    iter_rows,
    read_manifest,
    text_key,
)
from qsched.records.set_checks import Fault, check_records, refuse_faulty
from qsched.records.triplets import (
    ESSENTIAL_TRIPLET_COLUMNS,
    TRIPLET_COLUMNS,
    Presentation,
    TripletAnswer,
    TripletKind,
    TripletVote,
)
from qsched.records.votes import COLUMNS, REQUIRED_COLUMNS, Choice, Doubt, Kind, Vote

__all__ = [
    "COLUMNS",
    "ESSENTIAL_TRIPLET_COLUMNS",
    "REQUIRED_COLUMNS",
    "TRIPLET_COLUMNS",
    "ArmRecord",
    "Choice",
    "Doubt",
    "Fault",
    "ImageRow",
    "InputError",
    "IntegrityError",
    "Kind",
    "Manifest",
    "MissingExtraError",
    "Presentation",
    "QschedError",
    "RequestRecord",
    "RowError",
    "ShardRecord",
    "TripletAnswer",
    "TripletKind",
    "TripletVote",
    "Vote",
    "check_records",
    "hash_of",
    "image_id_for",
    "image_id_of",
    "image_seed",
    "iter_rows",
    "read_manifest",
    "refuse_faulty",
    "text_key",
]
