"""Where templates and migrations lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource_folder(name: str) -> Path:
    """Folder `name` ('templates' or 'migrations'); FileNotFoundError names both places."""
    places = (PACKAGE / f"_{name}", PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"no {name} folder at {places[0]} or {places[1]}; reinstall the package")
