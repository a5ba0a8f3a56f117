"""A calibration that can kill its own process (-9) after a number of batches."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from qsched.calibration.calibrate import CalibrationResult, calibrate
from qsched.calibration.settings import CalibrationSettings
from qsched.scoring import Jaq
from tests.calibration.conftest import PROMPTS, Constant, Nearness, planted, references_for
from tests.calibration.pipelines import random_flux


def search(journal: Path, *, die_after: int | None = None) -> tuple[CalibrationResult, int]:
    """(result, pictures scored) of a small grid search; the process dies after `die_after` batches."""
    shown = 0

    def count(progress) -> None:
        nonlocal shown
        shown += 1
        if shown == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    scorer = Nearness(references_for(PROMPTS), kind="text")
    result = calibrate(
        planted(random_flux(), 1 / 1.1),
        Jaq(scorer, Constant()),
        PROMPTS[:5],
        PROMPTS[5:],
        CalibrationSettings(strategy="grid", size=3, batch_rows=4),
        journal=journal,
        identity={},
        on_progress=count,
    )
    return result, scorer.seen
