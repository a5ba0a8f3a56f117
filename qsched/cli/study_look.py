"""`qsched study look`: carry out the looks of a stopping rule that are due. The server runs the same command."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, GENTLY_HELP, SLUG_HELP
from qsched.command_line import JSON_OPTION, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.records.stopping import ArmLook, Look
    from study_server.db.database import Database
    from study_server.studies.looks import DueLook, Stopping

WORDS = {
    "better": "better than {baseline}",
    "worse": "worse than {baseline}",
    "equivalent": "equivalent within {margin:g} points",
    "open": "open",
}


def look(
    slug: str = typer.Argument(help=SLUG_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    gently: bool = typer.Option(False, "--gently", help=GENTLY_HELP),
    json_file: Path | None = JSON_OPTION,
) -> None:
    """Carry out the looks of a study's stopping rule that are due, and stop asking about the arms they decide.

    A look uses the votes up to the one that made it due, whenever this runs: nobody can choose its moment. If no more
    votes can come, the next look is taken with those that there are, and is the last. `qsched serve` does it by itself;
    from cron it may run as often as you like.

    Example: qsched study look demo --db sqlite:///runs/study.db
    """
    from study_server.clock import now_ms
    from study_server.owner import existing_database
    from study_server.studies.cache import find_study
    from study_server.studies.looks import find_due_look, left_out_of, read_stopping, store_look

    carried_out: list[Look] = []
    database = existing_database(db)
    try:
        while True:
            with database.snapshot() as tx:
                study = find_study(tx, slug)
                stopping = read_stopping(tx, study)
                if stopping is None:
                    raise InputError(
                        f"study {slug!r} has no stopping rule; study.yaml can ask for one (docs/study-yaml.md)"
                    )
                due = find_due_look(tx, study, stopping, now=now_ms())
                left_out = left_out_of(tx, study)
            _carry_out(database, slug, stopping)
            if due is None:
                break
            found = _estimate(database, slug, stopping, due, left_out, gently=gently)
            with database.transaction() as tx:
                # Somebody was excluded or included meanwhile: look again, so that the record says whose votes counted.
                same = left_out_of(tx, study) == left_out
                stored = same and store_look(tx, study, found, now=now_ms())
            if stored:
                carried_out.append(found)
    finally:
        database.close()
    record = {"looks": carried_out, "undecided": stopping.undecided, "next": stopping.number, "needed": stopping.needed}
    if gave_json(record, json_file):
        return
    for each in carried_out:
        _say(each, stopping)
    typer.echo(_next_words(stopping))


def _estimate(
    database: Database, slug: str, stopping: Stopping, due: DueLook, left_out: tuple[str, ...], *, gently: bool
) -> Look:
    """What the analysis says of the votes up to the one that made the look due, by the report's default exclusions."""
    from analysis.stats.stopping import look_at_votes
    from analysis.votes import read_votes
    from qsched.records.stopping import Look
    from study_server.clock import now_utc
    from study_server.export import GENTLE, export_votes

    with tempfile.TemporaryDirectory(prefix="qsched-look-") as folder:
        file = Path(folder) / "votes.parquet"
        export_votes(database, study=slug, path=file, through=due.through, rest=GENTLE if gently else 0.0)
        found = look_at_votes(
            read_votes([str(file)]),
            stopping.rule,
            question=stopping.question,
            look=due.number,
            arms=len(stopping.arms),
            undecided=stopping.undecided,
        )
    return Look(
        number=due.number,
        at=now_utc(),
        through=due.through,
        final=due.final,
        left_out=left_out,
        votes=found.votes,
        annotators=found.annotators,
        prompts=found.prompts,
        arms=found.arms,
    )


def _carry_out(database: Database, slug: str, stopping: Stopping) -> None:
    """Also what an earlier run began: it may have been killed between the look and the last pair."""
    from study_server.studies.cache import find_study
    from study_server.studies.looks import end_pairs, hand_out_reserve

    # The smaller sets first, so that nobody finds nothing to judge in between.
    more = bool(stopping.next_set)
    while more:
        with database.transaction() as tx:
            more = hand_out_reserve(tx, find_study(tx, slug), stopping.next_set)
    for arm in stopping.ended:
        more = True
        while more:
            with database.transaction() as tx:
                more = end_pairs(tx, find_study(tx, slug), arm)


def _say(found: Look, stopping: Stopping) -> None:
    last = ", the last one because no more votes can come" if found.final else ""
    typer.echo(
        f"look {found.number}{last}: {found.votes:,} votes of {found.annotators:,} people on {found.prompts:,} prompts"
    )
    for one in found.arms:
        typer.echo(f"  {arm_words(one, stopping.rule.baseline, stopping.rule.margin)}")


def arm_words(one: ArmLook, baseline: str, margin: float) -> str:
    """'w8a8  49.7 % (47.4 to 52.0): equivalent within 3 points'."""
    words = WORDS[one.decision].format(baseline=baseline, margin=100 * margin)
    if one.win_rate is None or one.low is None or one.high is None:
        return f"{one.arm}  no estimate yet: {words}"
    return f"{one.arm}  {100 * one.win_rate:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f}): {words}"


def _next_words(stopping: Stopping) -> str:
    if not stopping.undecided:
        return f"every arm is decided after {len(stopping.looks)} looks; nothing more is asked"
    open_arms = ", ".join(stopping.undecided)
    if stopping.number is None:
        return f"the last look is over; still open: {open_arms}. Nothing more is asked"
    fewest = min(stopping.votes[arm] for arm in stopping.undecided)
    return (
        f"look {stopping.number} is due at {stopping.needed:,} valid votes of each open arm ({open_arms}); "
        f"the fewest that one has, with votes on screens, are {fewest:,}"
    )
