"""Every page that people see has a picture in docs/pages.md, with words for who cannot see it."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tools.page_pictures import OUT, PICTURES, SIZE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
#: Parts of pages, and the page of an error, which says what the message page says.
NO_PAGES = {"base", "parts", "live", "error"}


def templates() -> set[str]:
    """The templates of whole pages."""
    own = [*(ROOT / "templates" / "pages").glob("*.html"), *(ROOT / "templates" / "admin").glob("*.html")]
    own += [path for folder in ("qsched", "analysis") for path in (ROOT / folder).rglob("*.html.j2")]
    return {path.relative_to(ROOT).as_posix() for path in own if path.name.split(".")[0] not in NO_PAGES}


def test_every_page_has_a_picture() -> None:
    assert {shot.template for shot in PICTURES} == templates()
    assert {path.stem for path in OUT.glob("*")} == {shot.name for shot in PICTURES}


def test_the_page_shows_each_with_its_words() -> None:
    shown = dict(re.findall(r"!\[([^\]]+)\]\(pictures/pages/([\w-]+)\.webp\)", PAGE))
    assert {name: words for words, name in shown.items()} == {shot.name: shot.alt.capitalize() for shot in PICTURES}
    assert all(len(shot.alt.split()) > 2 for shot in PICTURES)


def test_the_pictures_are_small_and_show_something() -> None:
    assert sum(path.stat().st_size for path in OUT.iterdir()) < 3_000_000
    for path in OUT.iterdir():
        with Image.open(path) as picture:
            assert picture.width == SIZE[0] and picture.height <= SIZE[1], path.name
            assert len(picture.convert("L").getcolors(256) or ()) > 5, f"{path.name} is empty"
