"""Keep the import chatter and loading bars of the model libraries out of our command lines."""

from __future__ import annotations

import logging
import os
import sys

_LOGGERS = ("torch.utils._pytree", "torchao", "bitsandbytes")
_asked = False


def quiet_libraries() -> None:
    """Let diffusers, transformers, torchao and bitsandbytes log errors only; call it before they are imported.

    For command lines: notes about optional kernels and a bar for each file would bury our own messages. A
    verbosity that the user has set in the environment stays. Nothing is imported, because that takes seconds.
    """
    global _asked  # the bars can be switched off only after the import
    _asked = True
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if "diffusers" in sys.modules:
        disable_bars()


def disable_bars() -> None:
    """Switch loading bars off if `quiet_libraries` was called; imports diffusers and transformers."""
    if not _asked:
        return
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
