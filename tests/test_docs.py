"""What is written for readers holds: links lead somewhere, decisions are indexed, no machine's path is left."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from qsched import __version__

ROOT = Path(__file__).parents[1]
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|work|tmp|Users)/[\w.-]+")
LINK = re.compile(r"(?<!`)!?\[[^\]\n]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<img\s[^>]*src=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def tracked_files() -> tuple[str, ...]:
    """Files that git keeps, and new ones that it does not ignore; without git, nothing can be checked."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return tuple(name for name in listed.splitlines() if (ROOT / name).is_file())


def pages() -> list[str]:
    return [name for name in tracked_files() if name.endswith(".md")]


def anchor(heading: str) -> str:
    """The address that a heading has on a rendered page: lower case, punctuation gone, blanks as hyphens."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(found) for found in HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))}


def broken_links(page: Path) -> list[str]:
    """Relative links of a Markdown page that lead to no file, or to a heading that its page does not have."""
    broken = []
    for match in LINK.finditer(FENCED.sub("", page.read_text(encoding="utf-8"))):
        link = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = page if not name else (page.parent / name)
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    return broken


def test_every_relative_link_leads_to_a_file_and_a_heading():
    found = {name: broken for name in pages() if (broken := broken_links(ROOT / name))}
    assert not found


def test_a_broken_link_is_noticed(tmp_path):
    (tmp_path / "other.md").write_text("# Speed, measured beside peers\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](other.md#speed-measured-beside-peers) [b](other.md#no) [c](gone.md) [d](#one) [e](https://x.org/y)\n"
        '<img src="gone.png">\n',
        encoding="utf-8",
    )
    assert broken_links(page) == ["other.md#no", "gone.md", "gone.png"]


def test_no_file_names_a_path_of_somebodys_machine():
    found = []
    for name in tracked_files():
        if name.startswith("tests/"):
            continue
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('"_name_or_path": "/root/tiny/out"', True),
        ("see /home/jane/runs", True),
        ("--out ~/tiny/made/x", False),
        ("alias /path/to/made/images", False),
        ("docs/home/notes.md", False),
    ],
)
def test_the_pattern_of_a_machines_path(text, matches):
    assert bool(MACHINE_PATH.search(text)) is matches


def test_every_decision_is_in_the_index_with_its_date():
    folder = ROOT / "docs/decisions"
    rows = re.findall(r"^\| (\S+) \| \[[^\]]+\]\(([^)]+)\)", (folder / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(name for _, name in rows) == sorted(page.name for page in folder.glob("20*.md"))
    assert all(name.startswith(date) for date, name in rows)


def test_every_page_is_in_the_navigation_of_the_site():
    """A page that no list names can be found only by who knows of it."""
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = {word for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for word in block.split()}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - listed == {"index"}


def test_the_changelog_is_grouped():
    headings = HEADING.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert [h for h in headings if h in ("Added", "Changed", "Fixed", "Removed")], "no groups"
    unknown = [h for h in headings[1:] if h not in ("Added", "Changed", "Fixed", "Removed") and "0." not in h]
    assert not unknown


def test_the_citation_names_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
