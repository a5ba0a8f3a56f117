"""`qsched diff`: in what two image sets differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.command_line import JSON_OPTION, gave_json

if TYPE_CHECKING:
    from qsched.records.set_diff import SetDiff

SHOWN = 8


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("diff")(diff)


def diff(
    a: Path = typer.Argument(..., help="Folder of an image set, called A."),
    b: Path = typer.Argument(..., help="Folder of another, called B."),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Say in what two image sets differ: settings, arms and recipes, prompts, pictures, versions.

    Pictures are compared by the hashes in the rows; `qsched verify` says whether the files are those. Exit code 0 if
    the pictures and the way they were made are the same (whatever the versions), 1 if not, 2 for an error.

    Example: qsched diff runs/monday runs/tuesday
    """
    from qsched.locations import read_location
    from qsched.records.set_diff import diff_sets

    one, two = read_location(a), read_location(b)
    found = diff_sets(one, two)
    if not gave_json({"equal": found.is_empty, **asdict(found)}, json_file):
        typer.echo(f"A is {one}\nB is {two}")
        for line in _lines(found):
            typer.echo(line)
    raise typer.Exit(0 if found.is_empty else 1)


def _lines(found: SetDiff) -> Iterator[str]:
    for d in found.settings:
        yield f"setting   {d.name}: {_shown(d.a)} in A, {_shown(d.b)} in B"
    for place, name in ((found.only_a, "A"), (found.only_b, "B")):
        for word, names in zip(("arm", "prompt"), place, strict=True):
            if names:
                yield f"{word + 's':<9} only in {name}: {_listed(names)}"
    for d in found.arms:
        yield f"arm       {d.name}: {_shown(d.a)} in A, {_shown(d.b)} in B"
    if found.texts:
        yield f"prompts   text or category differs: {_listed(found.texts)}"
    yield from _picture_lines(found)
    for name, in_a, in_b in found.versions:
        yield f"versions  {name}: {', '.join(in_a) or 'not recorded'} in A, {', '.join(in_b) or 'not recorded'} in B"
    yield "no difference: the same pictures, made in the same way" if found.is_empty else "the sets differ"


def _picture_lines(found: SetDiff) -> Iterator[str]:
    same, other = sum(found.same.values()), sum(found.other.values())
    yield f"pictures  {same + other} in both: {same} have the same bytes, {other} do not"
    if other:
        by_arm = ", ".join(f"{arm} {count}" for arm, count in found.other.items())
        yield f"          other bytes by arm: {by_arm}; {found.other_batch} of them were made in another batch"
    for count, lacks, has in ((found.missing_a, "A", "B"), (found.missing_b, "B", "A")):
        if count:
            yield f"          {count} that {has} has are missing in {lacks}, although it has their arm and prompt"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _shown(value: object) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
