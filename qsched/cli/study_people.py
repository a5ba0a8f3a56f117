"""The people of a study: `qsched study people`, `exclude`, `include`, `forget`, `cleanup`, `links`, `preview`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.cli.owner_at import SERVER_HELP, owner_at
from qsched.command_line import JSON_OPTION, echo_always, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.records.owner_api import NamedPerson, PersonInfo, PersonRequest, ShareInfo

PersonT = TypeVar("PersonT", bound="NamedPerson")

WHO_HELP = "Pseudonym (a-... or s-...) or withdrawal code."
ADDRESS_HELP = (
    "Address at which people reach the server, if it is not that of --server; http://127.0.0.1:8000 with --db."
)
PLATFORM_ID_HELP = "Instead of WHO: the person's id on the platform (PROLIFIC_PID)."


def add_to(group: typer.Typer) -> None:
    """Add the commands to `qsched study`."""
    commands: tuple[Callable[..., None], ...] = (people, exclude, include, forget, cleanup, links, revoke, preview)
    for command in commands:
        group.command()(command)


def people(
    slug: str = typer.Argument(help=SLUG_HELP),
    out: Path | None = typer.Option(
        None,
        "--out",
        help="Write the payment list (CSV): platform ids, states, codes, checks.",
    ),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Show how the annotators work; with --out write the payment list as CSV.

    The list on the screen has pseudonyms only; the payment list has platform ids only, so that neither joins the two.

    Example: qsched study people demo --out people.csv
    """
    from qsched.records.payment_list import payments_csv

    if out is not None and out.suffix != ".csv":
        raise InputError(f"{out}: the payment list is a .csv file")
    if out is not None and json_file is not None:
        raise InputError("--out is the payment list and --json the list of annotators; ask for one at a time")
    with owner_at(db, server) as owner:
        if out is not None:
            _write_private(out, list(payments_csv(owner.payments(slug))))
            typer.echo(f"wrote {out} (readable by you only); it holds platform ids: do not publish it")
            return
        rows = list(owner.people(slug))
    if not gave_json(rows, json_file):
        _print_people(rows)


def exclude(
    slug: str = typer.Argument(help=SLUG_HELP),
    who: str = typer.Argument("", help=WHO_HELP, show_default=False),
    reason: str = typer.Option(..., "--reason", help="Why; the log and the study card hold it."),
    platform_id: str | None = typer.Option(None, "--platform-id", help=PLATFORM_ID_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Leave a person's votes out: nothing is deleted, their slots go to others, and it can be taken back.

    Example: qsched study exclude demo a-0123456789ab --reason "answered left throughout"
    """
    with owner_at(db, server) as owner:
        done = owner.exclude(slug, _person(who, platform_id, reason))
    typer.echo(f"{done.pseudonym} is excluded; {done.slots} slots are open again")


def include(
    slug: str = typer.Argument(help=SLUG_HELP),
    who: str = typer.Argument("", help=WHO_HELP, show_default=False),
    reason: str = typer.Option("", "--reason", help="Why; the log holds it."),
    platform_id: str | None = typer.Option(None, "--platform-id", help=PLATFORM_ID_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Let an excluded person's votes count again where their pairs still need one.

    Example: qsched study include demo a-0123456789ab --reason "the check was wrong"
    """
    with owner_at(db, server) as owner:
        done = owner.include(slug, _person(who, platform_id, reason))
    late = f"; {done.late} pairs had their votes meanwhile, so those votes are kept as surplus" if done.late else ""
    typer.echo(f"{done.pseudonym} is included again; {done.slots} votes count{late}")


def forget(
    slug: str = typer.Argument(help=SLUG_HELP),
    who: str = typer.Argument("", help=WHO_HELP, show_default=False),
    platform_id: str | None = typer.Option(None, "--platform-id", help=PLATFORM_ID_HELP),
    yes: bool = typer.Option(False, "--yes", help="Do not ask for confirmation."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Delete one person's data, and the votes with them unless consent.after_withdrawal is keep_votes.

    Example: qsched study forget demo K7QF-29XM
    """
    from qsched.records.owner_api import ForgetRequest

    person = _named(ForgetRequest, who, platform_id)
    if not yes:
        typer.confirm(f"Delete the data of {who or platform_id} in study {slug} permanently?", abort=True)
    with owner_at(db, server) as owner:
        done = owner.forget(slug, person)
    kept = f"; {done.kept} vote rows stay under a pseudonym, as the consent text allows" if done.kept else ""
    typer.echo(f"deleted: {done.votes} vote rows; {done.slots} slots are open again{kept}")
    typer.echo("copies that were exported before, and backups, are yours to clean")


def cleanup(
    slug: str = typer.Argument(help=SLUG_HELP),
    days: int = typer.Option(..., "--days", min=1, help="Keep what is at most so many days old."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
) -> None:
    """Delete old personal data: platform ids, answers about people, devices, words of reports, cookies, codes.

    Votes stay under pseudonyms. Run it every day to keep a retention period; pay people before.

    Example: qsched study cleanup demo --days 90
    """
    from study_server.owner import act_on_study, existing_database
    from study_server.quality.forgetting import clean_up
    from study_server.studies.actions import COMMAND_LINE

    database = existing_database(db)
    try:
        sessions = act_on_study(database, slug, clean_up, days=days, by=COMMAND_LINE)
    finally:
        database.close()
    typer.echo(f"deleted the personal data of {sessions} sessions that began more than {days} days ago")


def links(
    slug: str = typer.Argument(help=SLUG_HELP),
    count: int = typer.Option(10, "--count", min=1, max=10_000, help="How many people are invited."),
    address: str | None = typer.Option(None, "--address", help=ADDRESS_HELP),
    out: Path | None = typer.Option(None, "--out", help="Write name and link here (CSV) instead of on the screen."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Make personal links, one for each person, for a study with `platform: {name: personal}`.

    A link takes one person to one place in the study, also on another device. With --db the secret key must be the
    server's. A sheet to print is at the server's pages: /admin, Settings.

    Example: qsched study links demo --count 12 --server https://study.example --out links.csv
    """
    begin = _address(address, server)
    with owner_at(db, server) as owner:
        lines = [f"{one.name},{begin}{one.link}" for one in owner.make_links(slug, count)]
    if out is None:
        echo_always("\n".join(lines))
        return
    _write_private(out, ["name,link\n", *(f"{line}\n" for line in lines)])
    typer.echo(f"wrote {count} links to {out} (readable by you only); each is for one person")


def revoke(
    slug: str = typer.Argument(help=SLUG_HELP),
    file: Path = typer.Argument(help="Names of personal links, one per line, or links.csv itself."),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Take personal links back that nobody has used; a link that was used goes on (exclude or forget the person).

    Example: qsched study revoke demo links.csv
    """
    from qsched.records.owner_api import LINK_NAME

    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    names = [name for line in lines if (name := line.partition(",")[0].strip()) not in ("", "name")]
    if not names:
        raise InputError(f"{file} has no names of links: one per line, as links.csv has them")
    for name in names:
        if not re.fullmatch(LINK_NAME, name):
            raise InputError(f"{file}: {name[:80]!r} is not the name of a personal link (12 letters and digits)")
    with owner_at(db, server) as owner:
        done = owner.revoke_links(slug, names)
    typer.echo(f"{done.revoked} links are revoked; {done.used} were used and go on; {done.before} were revoked before")


def preview(
    slug: str = typer.Argument(help=SLUG_HELP),
    address: str | None = typer.Option(None, "--address", help=ADDRESS_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    server: str | None = typer.Option(None, "--server", help=SERVER_HELP),
) -> None:
    """Print a link for your own walk through a study: marked, in no export, filling no slot. Valid for 12 hours.

    It also opens a study that is paused or closed. With --db the secret key must be the server's: with PostgreSQL set
    QSCHED_SECRET_KEY as for `qsched serve`.

    Example: qsched study preview demo
    """
    begin = _address(address, server)
    with owner_at(db, server) as owner:
        echo_always(begin + owner.preview(slug))


def _address(address: str | None, server: str | None) -> str:
    """What a link begins with: the address at which people reach the server."""
    return (address or server or "http://127.0.0.1:8000").rstrip("/")


def _person(who: str, platform_id: str | None, reason: str) -> PersonRequest:
    from qsched.records.owner_api import PersonRequest

    return _named(PersonRequest, who, platform_id, reason=reason)


def _named(kind: type[PersonT], who: str, platform_id: str | None, **more: str) -> PersonT:
    """The request about one person; InputError unless the person is named once."""
    from pydantic import ValidationError

    from qsched.records.image_set import first_problem

    if bool(who) == (platform_id is not None):
        raise InputError("name the person once: WHO (a pseudonym or withdrawal code) or --platform-id")
    try:
        return kind.model_validate({"who": who or None, "platform_id": platform_id, **more})
    except ValidationError as error:
        raise InputError(first_problem(error)) from error


def _write_private(path: Path, lines: list[str]) -> None:
    from qsched.files import atomic_file

    with atomic_file(path, mode=0o600) as draft:
        draft.write_text("".join(lines), encoding="utf-8")


def _print_people(rows: list[PersonInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo("nobody has taken part yet")
        return
    table = Table("annotator", "state", "trials", "s", "gold", "checks", "repeats", "left", "agrees", box=None)
    for row in rows:
        table.add_row(
            row.pseudonym,
            row.state,
            str(row.trials),
            "–" if row.seconds is None else f"{row.seconds:.1f}",
            *(_share(share) for share in (row.gold, row.checks, row.repeats)),
            *(f"{100 * (share.part / share.of):.0f} %" if share.of else "–" for share in (row.left, row.agreement)),
        )
    Console().print(table)
    for row in rows:
        if row.excluded_reason:
            typer.echo(f"{row.pseudonym} is excluded: {row.excluded_reason}")
        elif row.remarks:
            typer.echo(f"{row.pseudonym} may be worth a look: {'; '.join(row.remarks)}")


def _share(share: ShareInfo) -> str:
    return f"{share.part}/{share.of}" if share.of else "–"
