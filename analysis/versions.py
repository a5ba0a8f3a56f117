"""The versions that made a report or a certificate: they tell whoever makes it again why something may differ."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

from qsched import __version__


def used_versions(*packages: str) -> dict[str, str]:
    """Versions of qsched, Python and the packages that can change a number or a byte."""
    return {"qsched": __version__, "python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    """Of a package that is imported; its metadata, which take ten times as long, where it does not say."""
    module = sys.modules.get(package)
    return version(package) if module is None or package == "jinja2" else str(module.__version__)
