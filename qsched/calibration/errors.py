"""The errors of calibration.

QschedError
+-- InputError
    +-- CalibrationError    a search that cannot be run as asked, or a journal of another run
"""

from __future__ import annotations

from qsched.errors import InputError


class CalibrationError(InputError):
    """The calibration cannot be run as asked; the message names the value, the rule and the remedy."""
