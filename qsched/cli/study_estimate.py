"""`qsched study estimate`: how a running study stands, with intervals that hold however often one looks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qsched.cli.options import DB_HELP, GENTLY_HELP, SLUG_HELP
from qsched.command_line import JSON_OPTION, gave_json
from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.records.running import RunningEstimate
    from study_server.db.database import Database

CONFIDENCE = 0.95


def estimate(
    slug: str = typer.Argument(help=SLUG_HELP),
    db: str | None = typer.Option(None, "--db", help=DB_HELP),
    json_file: Path | None = JSON_OPTION,
    gently: bool = typer.Option(False, "--gently", help=GENTLY_HELP),
) -> None:
    """Estimate every arm against the baseline from the votes so far, with intervals that stay valid at every look.

    The intervals are wider than a report's: they hold for all arms and for as many looks as you like, so stopping when
    they please you is allowed. A study with a stopping rule has its own looks (`qsched study look`) instead.

    Example: qsched study estimate demo --db sqlite:///runs/study.db
    """
    from study_server.owner import existing_database

    database = existing_database(db)
    try:
        found = running_estimate(database, slug, gently=gently)
    finally:
        database.close()
    if not gave_json(found, json_file):
        typer.echo(_words(found))


def running_estimate(database: Database, slug: str, *, gently: bool = False) -> RunningEstimate:
    """The estimate by the report's default exclusions; InputError for a study that is looked at otherwise."""
    from analysis.stats import count_votes
    from analysis.stats.sequential import anytime_against
    from analysis.votes import ExclusionRules, exclude, read_votes
    from qsched.records.running import RunningEstimate, RunningRate
    from study_server.clock import now_utc
    from study_server.export import GENTLE, export_votes
    from study_server.studies.cache import find_study
    from study_server.studies.running import baseline_and_arms

    with database.snapshot() as tx:
        study = find_study(tx, slug)
        if study.design.stopping is not None:
            raise InputError(f"study {slug!r} has a stopping rule; its looks are what counts: qsched study look {slug}")
        if study.design.fidelity is not None:
            raise InputError(f"study {slug!r} is a fidelity study; its clauses are tested once, after the last vote")
        baseline, arms = baseline_and_arms(tx, study)
    with tempfile.TemporaryDirectory(prefix="qsched-estimate-") as folder:
        file = Path(folder) / "votes.parquet"
        written = export_votes(database, study=slug, path=file, rest=GENTLE if gently else 0.0).written
        kept = exclude(read_votes([str(file)]), ExclusionRules())[0] if written else None
    rates = []
    for question in [question.id for question in study.design.questions]:
        counts = None
        if kept is not None and question in kept.values("question"):
            counts = count_votes(kept.select(question=question))
        found = {} if counts is None else anytime_against(counts, baseline, of=len(arms), confidence=CONFIDENCE)
        votes = {} if counts is None else dict(zip(counts.arms, counts.votes_of_arms().tolist(), strict=True))
        for arm in arms:
            rate, low, high = found.get(arm, (None, None, None))
            number = round(votes.get(arm, 0.0))
            rates.append(RunningRate(question=question, arm=arm, votes=number, win_rate=rate, low=low, high=high))
    return RunningEstimate(
        study=slug,
        baseline=baseline,
        at=now_utc(),
        confidence=CONFIDENCE,
        votes=0 if kept is None else kept.n_votes,
        simulated=0 if kept is None else int(kept.frame["simulated"].sum()),
        annotators=0 if kept is None else kept.frame["annotator"].n_unique(),
        prompts=0 if kept is None else kept.frame["prompt_id"].n_unique(),
        rates=tuple(rates),
    )


def _words(found: RunningEstimate) -> str:
    lines = [
        f"{found.votes:,} votes of {found.annotators:,} people on {found.prompts:,} prompts, against {found.baseline}"
    ]
    if found.simulated:
        which = "all votes" if found.simulated == found.votes else f"{found.simulated:,} of the votes"
        lines.append(f"simulated: {which} are by software, not by people")
    several = len({rate.question for rate in found.rates}) > 1
    for rate in found.rates:
        name = f"{rate.question}: {rate.arm}" if several else rate.arm
        if rate.win_rate is None or rate.low is None or rate.high is None:
            lines.append(f"  {name}  no estimate yet")
        else:
            lines.append(f"  {name}  {100 * rate.win_rate:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})")
    lines.append(f"running: the intervals hold at {100 * found.confidence:.0f} % for all arms, however often you look")
    return "\n".join(lines)
