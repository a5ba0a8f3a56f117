"""Files beside the code: templates and migrations (in a wheel: inside the package), catalogues of words."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
CATALOGUES = PACKAGE / "static" / "i18n"
DEFAULT_LANGUAGE = "en"


def resource_folder(name: str) -> Path:
    """Folder `name` ('templates' or 'migrations'); FileNotFoundError names both places."""
    places = (PACKAGE / f"_{name}", PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"no {name} folder at {places[0]} or {places[1]}; reinstall the package")


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages that have a catalogue, English first."""
    codes = sorted(path.stem for path in CATALOGUES.glob("*.json"))
    return (DEFAULT_LANGUAGE, *(code for code in codes if code != DEFAULT_LANGUAGE))
