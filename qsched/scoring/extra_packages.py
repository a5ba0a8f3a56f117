"""Packages of an optional extra, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from qsched.errors import MissingExtraError


def import_extra(module: str, extra: str) -> ModuleType:
    """The module, or MissingExtraError with the line that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise  # it is there, but something it needs is not: that is the message to see
        raise MissingExtraError(module.split(".")[0], extra) from error
