"""`qsched study prolific`: submissions at Prolific, and what an owner decides about them, by an explicit list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, SLUG_HELP
from qsched.command_line import JSON_OPTION, CommandLine, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from study_server.db.database import Database
    from study_server.recruiting.decisions import Joined
    from study_server.recruiting.platform import RecruitingPlatform, Submission

SLUG = typer.Argument(help=SLUG_HELP)
LIST = typer.Argument(help="Submission ids, one per line, or a CSV with a column `submission` (people.csv has one).")
STUDY_ID = typer.Option(None, "--study-id", help="Prolific's study. Default: the one that people's links name.")
DRY_RUN = typer.Option(False, "--dry-run", help="Ask Prolific and check the list, and change nothing.")
YES = typer.Option(False, "--yes", help="Do not ask for confirmation.")
DB = typer.Option(None, "--db", help=DB_HELP)


def add_to(group: typer.Typer) -> None:
    """Add the group to `qsched study`."""
    commands = CommandLine(
        no_args_is_help=True, help="Submissions at Prolific: status, approve, reject, return, bonus (PROLIFIC_TOKEN)."
    )
    listed: tuple[tuple[str, Callable[..., None]], ...] = (
        ("status", status),
        ("approve", approve),
        ("reject", reject),
        ("return", request_return),
        ("bonus", bonus),
    )
    for name, command in listed:
        commands.command(name)(command)
    group.add_typer(commands, name="prolific")


@dataclass(frozen=True, slots=True)
class _Case:
    """A study here and at Prolific, with its submissions."""

    database: Database
    api: RecruitingPlatform
    slug: str
    there: str
    submissions: list[Submission]
    joined: list[Joined]

    def note(self, action: str, detail: str) -> None:
        """One row of the owner's log. It has no submission ids: viewers read it, and it outlives deleted people."""
        from study_server.studies.actions import COMMAND_LINE, record_action

        with self.database.transaction() as tx:
            record_action(tx, action, actor=COMMAND_LINE, study=self.slug, detail=detail)


def status(
    slug: str = SLUG, study_id: str | None = STUDY_ID, db: str | None = DB, json_file: Path | None = JSON_OPTION
) -> None:
    """Show every submission: its status at Prolific, and beside it what our database knows.

    Example: qsched study prolific status demo
    """
    from rich.console import Console
    from rich.table import Table

    with _case(slug, study_id, db) as case:
        if gave_json(case.joined, json_file, private=True):
            return
        table = Table("submission", "at Prolific", "here", "checks", "may reject", "look at", box=None)
        for one in case.joined:
            here = one.here
            checks = "–" if here is None else f"{here.checks_passed}/{here.checks_shown}"
            allowed = "–" if here is None else here.rejection_allowed
            at = one.submission.status.lower() + (", return requested" if one.submission.return_requested else "")
            table.add_row(one.submission.id, at, "–" if here is None else here.state, checks, allowed, one.note)
        Console().print(table if case.joined else f"study {case.there} at Prolific has no submissions yet")


def approve(
    slug: str = SLUG,
    file: Path = LIST,
    study_id: str | None = STUDY_ID,
    dry_run: bool = DRY_RUN,
    yes: bool = YES,
    db: str | None = DB,
) -> None:
    """Approve the submissions of a list: Prolific pays them, and it cannot be taken back.

    Example: qsched study prolific approve demo approve.txt --dry-run
    """
    from study_server.recruiting.decisions import read_list, refuse_unknown, to_approve

    ids = read_list(file)
    with _case(slug, study_id, db) as case:
        refuse_unknown(ids, case.submissions, study=case.there)
        rows, done = to_approve(ids, case.joined)
        _show(rows, "approve")
        if done:
            typer.echo(f"{len(done)} are approved already")
        if dry_run or not rows:
            typer.echo("nothing was changed")
            return
        _confirm(yes, f"Approve and pay {len(rows)} submissions?")
        case.api.approve([one.submission.id for one in rows])
        case.note("Prolific submissions approved", f"{len(rows)} of study {case.there}")
        typer.echo(f"{len(rows)} submissions are approved; Prolific pays them in the following minutes")


def reject(
    slug: str = SLUG,
    file: Path = LIST,
    category: str = typer.Option(..., "--category", help="Prolific's reason: FAILED_CHECK, NO_DATA, OTHER ..."),
    message: str = typer.Option(..., "--message", help="Your words to each person; 100 characters or more."),
    study_id: str | None = STUDY_ID,
    dry_run: bool = DRY_RUN,
    yes: bool = YES,
    db: str | None = DB,
) -> None:
    """Reject the submissions of a list; it cannot be taken back. FAILED_CHECK only as Prolific's rule allows.

    Ask for a return instead where you can (`qsched study prolific return`): it frees the place and harms nobody.

    Example: qsched study prolific reject demo reject.txt --category FAILED_CHECK --message "You missed both ..."
    """
    from study_server.recruiting.decisions import read_list, refuse_unknown, to_reject
    from study_server.recruiting.prolific import CATEGORIES, SHORTEST_MESSAGE

    if category not in CATEGORIES:
        raise InputError(f"category {category!r} is not one of {', '.join(CATEGORIES)}")
    if len(message.strip()) < SHORTEST_MESSAGE:
        raise InputError(
            f"the message has {len(message.strip())} characters; Prolific wants {SHORTEST_MESSAGE} or more, so that a "
            "person learns what was wrong"
        )
    ids = read_list(file)
    with _case(slug, study_id, db) as case:
        refuse_unknown(ids, case.submissions, study=case.there)
        rows = to_reject(ids, case.joined, category=category)
        _show(rows, "reject")
        if dry_run:
            typer.echo("nothing was changed")
            return
        _confirm(yes, f"Reject {len(rows)} submissions as {category}? These people are not paid.")
        for number, one in enumerate(rows, start=1):
            now = case.api.reject(one.submission.id, category=category, message=message.strip())
            case.note("Prolific submission rejected", f"{number} of {len(rows)} of study {case.there}: {category}")
            typer.echo(f"{number} of {len(rows)}: {one.submission.id} is {now.lower()}")


def request_return(
    slug: str = SLUG,
    file: Path = LIST,
    reason: list[str] = typer.Option(..., "--reason", help="Shown to the person; may be repeated."),
    study_id: str | None = STUDY_ID,
    dry_run: bool = DRY_RUN,
    yes: bool = YES,
    db: str | None = DB,
) -> None:
    """Ask the people of a list to return their submissions, which frees their places at Prolific.

    Example: qsched study prolific return demo return.txt --reason "Did not finish the study." --dry-run
    """
    from study_server.recruiting.decisions import read_list, refuse_unknown

    ids = read_list(file)
    with _case(slug, study_id, db) as case:
        refuse_unknown(ids, case.submissions, study=case.there)
        by_id = {one.submission.id: one for one in case.joined}
        rows = [by_id[one] for one in ids if not by_id[one].submission.return_requested]
        _show(rows, "ask for the return of")
        if dry_run or not rows:
            typer.echo("nothing was changed")
            return
        _confirm(yes, f"Ask {len(rows)} people to return their submissions?")
        for one in rows:
            case.api.request_return(one.submission.id, reasons=reason)
        case.note("Prolific returns requested", f"{len(rows)} of study {case.there}")
        typer.echo(f"{len(rows)} people are asked to return their submissions")


def bonus(
    slug: str = SLUG,
    file: Path = typer.Argument(help="CSV with the columns submission and amount (1.50 is one pound fifty)."),
    study_id: str | None = STUDY_ID,
    dry_run: bool = DRY_RUN,
    yes: bool = YES,
    again: bool = typer.Option(False, "--again", help="Also pay those who were paid a bonus before."),
    db: str | None = DB,
) -> None:
    """Pay the bonuses of a list. Prolific pays again whenever it is asked again, so who was paid is refused.

    Example: qsched study prolific bonus demo bonuses.csv --dry-run
    """
    from study_server.recruiting.decisions import (
        BONUS_ACTION,
        bonus_mark,
        paid_before,
        read_bonuses,
        refuse_unknown,
    )
    from study_server.recruiting.platform import OutcomeUnknown

    bonuses = read_bonuses(file)
    with _case(slug, study_id, db) as case:
        refuse_unknown([one.submission for one in bonuses], case.submissions, study=case.there)
        with case.database.transaction() as tx:
            paid = paid_before(tx, slug, bonuses)
        if paid and not again:
            raise InputError(
                f"{len(paid)} of {len(bonuses)} submissions were paid a bonus before, the first {paid[0].submission}; "
                "take them out of the list, or pay them once more with --again"
            )
        total = sum(one.amount for one in bonuses)
        highest = max(bonuses, key=lambda one: one.amount)
        typer.echo(
            f"{len(bonuses)} bonuses, {total:.2f} together in the currency of the study, before fees; the highest is "
            f"{highest.amount:.2f} for {highest.submission}"
        )
        if dry_run:
            typer.echo("nothing was changed")
            return
        batch = case.api.set_up_bonuses(case.there, bonuses)
        typer.echo(f"Prolific: {batch.amount:.2f} and fees {batch.fees:.2f}, VAT {batch.vat:.2f}: {batch.total:.2f}")
        _confirm(yes, f"Pay {batch.total:.2f} to {len(bonuses)} people?")
        marks = " ".join(map(bonus_mark, bonuses))
        # Before the request: if no answer comes, the log still knows that it was sent.
        case.note(BONUS_ACTION, f"batch {batch.id}: {len(bonuses)} people, {total:.2f}; {marks}")
        try:
            case.api.pay_bonuses(batch)
        except OutcomeUnknown as error:
            raise InputError(
                f"{error}; whether batch {batch.id} was paid is not known: look at the study at Prolific before you "
                "pay again"
            ) from error
        typer.echo(f"batch {batch.id} is being paid; Prolific does it in the following minutes")


@contextmanager
def _case(slug: str, study_id: str | None, db: str | None) -> Iterator[_Case]:
    from study_server.owner import existing_database
    from study_server.quality.payments import read_payments
    from study_server.recruiting.decisions import join, platform_study
    from study_server.recruiting.prolific import ProlificApi
    from study_server.studies.cache import find_study

    api = ProlificApi.of_environment()
    database = existing_database(db)
    try:
        with database.snapshot() as tx:
            study = find_study(tx, slug)
            there = platform_study(tx, study, platform="prolific", named=study_id)
            payments = [payment for _, payment in read_payments(tx, study)]
        submissions = api.submissions(there)
        yield _Case(database, api, slug, there, submissions, join(submissions, payments))
    finally:
        database.close()
        api.close()


def _show(rows: list[Joined], action: str) -> None:
    for one in rows:
        typer.echo(f"{action} {one.submission.id}" + (f": {one.note}" if one.note else ""))


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        typer.confirm(question, abort=True)
