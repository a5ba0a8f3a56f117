"""The error of this room.

BackboneError(InputError)    a name, folder or machine that cannot give the backbone, with the remedy
"""

from __future__ import annotations

from qsched.errors import InputError


class BackboneError(InputError):
    """The backbone cannot be loaded as asked; the message says what to do instead."""
