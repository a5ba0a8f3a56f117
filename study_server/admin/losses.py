"""What cvvdp says of a pair's pictures, if `qsched score --metrics cvvdp` was run on the set: a prediction, in JOD.

The scores are read from the set's folder, which may have gone since the study was made: then nothing is shown. They are
read when a page asks for them, at most once a minute and study, off the paths of votes and of the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from qsched.errors import InputError
from qsched.locations import read_location
from qsched.planning.visibility import PictureLosses, picture_losses
from study_server.admin.pairs import PairRow
from study_server.db import Statement, Tx

FRESH_SECONDS = 60.0
SET = Statement("SELECT set_path, set_id FROM studies WHERE id = :study")


class KnownLosses:
    """One per process."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, PictureLosses | None]] = {}

    async def of(self, study: int, where: tuple[str, str] | None) -> PictureLosses | None:
        """The losses of a study's set, whose folder and id were read; None if it was not scored or has gone."""
        until, losses = self._known.get(study, (0.0, None))
        if time.monotonic() >= until and where is not None:
            losses = await asyncio.to_thread(_read, *where)
            self._known[study] = (time.monotonic() + FRESH_SECONDS, losses)
        return losses


def read_set(tx: Tx, study: int) -> tuple[str, str] | None:
    """The folder and id of a study's image set."""
    row = tx.one(SET, study=study)
    return None if row is None else (row[0], row[1])


def jods(pairs: tuple[PairRow, ...], losses: PictureLosses | None) -> Mapping[int, float]:
    """By the number of a pair: the JOD of its picture that is not the baseline's; without one, nothing."""
    if losses is None:
        return {}
    found = {}
    for pair in pairs:
        others = [arm for arm in (pair.first_arm, pair.second_arm) if arm != losses.baseline]
        value = losses.jod.get((pair.prompt_key, pair.sample_index, others[0])) if len(others) == 1 else None
        if value is not None:
            found[pair.id] = value
    return found


def _read(folder: str, set_id: str) -> PictureLosses | None:
    try:
        return picture_losses(read_location(folder), set_id=set_id)
    except (InputError, OSError):  # of another set, or not readable: `qsched study check` says which
        return None
