"""`qsched pairs`: the pairs of an image set by stratum, and which of them a study shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.command_line import JSON_OPTION, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.generation.curate import ListedPair
    from qsched.generation.nsfw import Checker
    from qsched.records.curation import Stratum


def register(app: typer.Typer) -> None:
    """Add the command to `qsched`."""
    app.command("pairs")(pairs)


def pairs(
    folder: Path = typer.Argument(..., help="Folder of an image set."),
    baseline: str | None = typer.Option(None, help="Only the pairs with this arm."),
    near_levels: int = typer.Option(
        2, min=0, max=254, help="Near-identical: no pixel differs by more of 255 levels than this."
    ),
    near: str | None = typer.Option(
        None, help="Near-identical by a metric that the set was scored with: cvvdp>=9.9; needs --baseline."
    ),
    visible_first: str | None = typer.Option(
        None, help="Only so many prompts, those with the most visible difference: cvvdp=40; needs --baseline."
    ),
    leave_out: str = typer.Option("identical", help="Strata to leave out, separated by commas; none for no stratum."),
    sample: str = typer.Option("", help="How many pairs of a stratum and comparison to draw: near-identical=50,..."),
    seed: int = typer.Option(0, help="Seed of the draw."),
    nsfw: Path | None = typer.Option(
        None, help="Folder of a safety checker or image classifier of yours: pairs it flags are a stratum, flagged."
    ),
    nsfw_labels: str | None = typer.Option(
        None,
        help="Labels of the classifier of --nsfw that flag a picture. Default: nsfw,unsafe,porn,hentai,sexy,explicit.",
    ),
    nsfw_least: float | None = typer.Option(
        None, min=0, max=1, help="Probability of these labels from which a picture is flagged. Default: 0.5."
    ),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """List broken, identical, near-identical and different pairs, and write pairs.csv with those that a study shows.

    A picture of a single colour is broken (black is what NaN becomes). Broken pairs stay in unless they are left out:
    leaving them out favours the arm that made them. A study uses the list with `pairs: curated` in its study.yaml.

    With --visible-first a study speaks of the prompts where the difference is most visible, and not of all.

    Example: qsched pairs runs/demo --leave-out identical --sample near-identical=50

    Example: qsched pairs runs/demo --baseline fp32 --visible-first cvvdp=40
    """
    from qsched.generation.curate import choose_pairs, count_pairs, list_pairs, write_pairs
    from qsched.generation.near_metric import most_visible_first, near_by_metric, read_near_rule, read_visible_rule
    from qsched.generation.nsfw import flagged_pictures, with_flags
    from qsched.locations import read_location
    from qsched.records import iter_rows, read_manifest
    from qsched.records.curation import Stratum

    location = read_location(folder)
    strata = _strata(leave_out)
    numbers = _numbers(sample)
    near_rule = None if near is None else read_near_rule(near)
    visible_rule = None if visible_first is None else read_visible_rule(visible_first)
    checker = _checker(nsfw, nsfw_labels, nsfw_least)
    listed = list_pairs(location, baseline=baseline, near_levels=near_levels)
    set_id = read_manifest(location).set_id
    if near_rule is not None:
        listed = near_by_metric(listed, near_rule, folder=location, set_id=set_id, baseline=baseline)
    if visible_rule is not None:
        metric, count = visible_rule
        listed = most_visible_first(listed, metric, count, folder=location, set_id=set_id, baseline=baseline)
    flagged: dict[tuple[str, int, str], str] = {}
    if checker is not None:
        flagged = flagged_pictures(location, list(iter_rows(location)), checker)
        listed = list(with_flags(listed, flagged))
    listed = choose_pairs(listed, leave_out=strata, sample=numbers, seed=seed)
    path = write_pairs(listed, location)
    strata_of = list(count_pairs(listed))
    names = ("arms", "stratum", "pairs", "shown")
    if gave_json([dict(zip(names, row, strict=True)) for row in strata_of], json_file):
        return
    _print_strata(strata_of)
    _print_broken(listed)
    if nsfw is not None:
        left = "" if Stratum.FLAGGED in strata else "; their pairs are shown unless you add --leave-out flagged"
        typer.echo(f"flagged: {len(flagged)} pictures by the checker in {nsfw}{left if flagged else ''}")
    shown_all = sum(pair.use for pair in listed)
    typer.echo(f"{path}: {shown_all} of {len(listed)} pairs to show; a study uses it with pairs: curated")


def _print_strata(rows: list[tuple[tuple[str, str], Stratum, int, int]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("comparison", "stratum"):
        table.add_column(column, overflow="fold")
    for column in ("pairs", "shown"):
        table.add_column(column, justify="right")
    for (first, second), stratum, count, shown in rows:
        table.add_row(f"{first} / {second}", stratum, str(count), str(shown))
    Console().print(table)


def _print_broken(listed: list[ListedPair]) -> None:
    broken = sorted({(part, pair.prompt_id, pair.sample_index) for pair in listed for part in _broken(pair.why)})
    for words, prompt, number in broken[:20]:
        typer.echo(f"broken: {words} (prompt {prompt}, sample {number})")
    if len(broken) > 20:
        typer.echo(f"... and {len(broken) - 20} more broken pictures")


def _checker(folder: Path | None, labels: str | None, least: float | None) -> Checker | None:
    from qsched.generation.nsfw import load_checker

    if folder is not None:
        names = None if labels is None else [label.strip() for label in labels.split(",") if label.strip()]
        return load_checker(folder, labels=names, least=least)
    for option, given in (("--nsfw-labels", labels), ("--nsfw-least", least)):
        if given is not None:
            raise InputError(f"{option} is for the checker of --nsfw FOLDER; add that, or leave {option} out")
    return None


def _broken(why: str) -> list[str]:
    return [part for part in why.split("; ") if " is all #" in part]


def _strata(text: str) -> frozenset[Stratum]:
    return frozenset() if text in ("", "none") else frozenset(_stratum("--leave-out", name) for name in text.split(","))


def _numbers(text: str) -> dict[Stratum, int]:
    numbers = {}
    for part in text.split(",") if text else ():
        name, _, number = part.partition("=")
        if not number.isdecimal():
            raise InputError(f"--sample {part!r}: write STRATUM=NUMBER, for example near-identical=50")
        numbers[_stratum("--sample", name)] = int(number)
    return numbers


def _stratum(option: str, name: str) -> Stratum:
    from qsched.records.curation import Stratum

    try:
        return Stratum(name)
    except ValueError as error:
        raise InputError(f"{option}: {name!r} is not one of {', '.join(Stratum)}") from error
