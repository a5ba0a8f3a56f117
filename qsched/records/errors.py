"""Kept while callers move to `qsched.errors`."""

from qsched.errors import InputError, IntegrityError, MissingExtraError, QschedError, RowError

__all__ = ["InputError", "IntegrityError", "MissingExtraError", "QschedError", "RowError"]
