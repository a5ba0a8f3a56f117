"""What the services know, as the records of the owner's API. No web server is imported here."""

from __future__ import annotations

from dataclasses import asdict

from qsched.records import owner_api
from qsched.records.owner_api import StudySummary
from study_server.admin.counting import AnswersSoFar
from study_server.admin.pairs import ReportRow
from study_server.admin.progress import StudyProgress
from study_server.quality.exclusion import Exclusion
from study_server.quality.figures import Share
from study_server.quality.forgetting import Forgotten
from study_server.quality.people import PersonRow, SessionRow
from study_server.quality.revoking import Revoked
from study_server.studies.actions import OwnerAction
from study_server.studies.changes import DesignChange
from study_server.studies.ownership import ReportedPair
from study_server.studies.progress import StudyRow
from study_server.studies.update import DesignVersion


def summary_of(row: StudyRow) -> StudySummary:
    """One study with its counts."""
    return StudySummary.model_validate(
        {
            "slug": row.slug,
            "title": row.title,
            "status": row.status,
            "pairs": row.pairs,
            "taken_out": row.disabled,
            "valid_votes": row.valid_votes,
            "target_votes": row.target_votes,
            "leased": row.leased,
            "sessions": row.sessions,
            "problem": row.problem,
        }
    )


def version_of(version: DesignVersion) -> owner_api.DesignVersionInfo:
    """A version of a design."""
    return owner_api.DesignVersionInfo(**asdict(version))


def progress_of(progress: StudyProgress) -> owner_api.Progress:
    """One study at this moment."""
    return owner_api.Progress(
        summary=summary_of(progress.row),
        votes_last_hour=progress.votes_last_hour,
        hours_left=progress.hours_left,
        hours=tuple(owner_api.HourCount(begin_ms=begin, votes=votes) for begin, votes in progress.hours),
        funnel=tuple(owner_api.FunnelCount(step=step.words, people=step.people) for step in progress.funnel),
        screened_out=progress.screened_out,
        not_understood=progress.not_understood,
        excluded=progress.excluded,
        here=progress.here,
        dropped=progress.dropped,
        simulated=progress.simulated,
        read_ms=progress.read_ms,
    )


def counts_of(counts: AnswersSoFar | None) -> owner_api.Counts:
    """The answers so far."""
    if counts is None:
        return owner_api.Counts(read_ms=None, rows=())
    return owner_api.Counts(
        read_ms=counts.read_ms, rows=tuple(owner_api.ComparisonCount(**asdict(row)) for row in counts.rows)
    )


def person_of(person: PersonRow) -> owner_api.PersonInfo:
    """One annotator."""
    work = person.work
    return owner_api.PersonInfo(
        pseudonym=person.pseudonym,
        state=person.state,
        excluded_ms=person.excluded_ms,
        excluded_reason=person.excluded_reason,
        sessions=tuple(_session(session) for session in person.sessions),
        trials=work.trials,
        seconds=work.seconds,
        gold=_share(work.gold),
        checks=_share(work.checks),
        repeats=_share(work.repeats),
        left=_share(work.left),
        identical=_share(work.identical),
        hidden=_share(work.hidden),
        ties=_share(work.ties),
        skips=_share(work.skips),
        agreement=_share(work.agreement),
        swaps=work.swaps,
        zoomed=_share(work.zoomed),
        remarks=work.remarks,
    )


def report_of(report: ReportRow) -> owner_api.ReportInfo:
    """What an annotator reported."""
    return owner_api.ReportInfo(
        at_ms=report.at_ms,
        pair=report.pair_key,
        prompt=report.prompt_key,
        annotator=report.annotator,
        problem=report.problem,
        detail=report.detail,
        taken_out=bool(report.disabled),
    )


def action_of(action: OwnerAction) -> owner_api.ActionInfo:
    """One row of the log."""
    return owner_api.ActionInfo(
        at_ms=action.at_ms, actor=action.actor, study=action.study, action=action.action, detail=action.detail
    )


def changes_of(changes: list[DesignChange]) -> owner_api.Changes:
    """What an update changed."""
    return owner_api.Changes(
        changes=tuple(owner_api.ChangeInfo(key=one.key, before=one.before, after=one.after) for one in changes)
    )


def exclusion_of(done: Exclusion) -> owner_api.ExclusionDone:
    """What an exclusion or its end did."""
    return owner_api.ExclusionDone(**asdict(done))


def forgetting_of(done: Forgotten) -> owner_api.ForgetDone:
    """What a deletion did."""
    return owner_api.ForgetDone(**asdict(done))


def reported_pair_of(row: ReportedPair) -> owner_api.ReportedPairInfo:
    """A pair that people could not see."""
    return owner_api.ReportedPairInfo(
        pair=row.pair_key, prompt=row.prompt, reports=row.reports, taken_out=bool(row.disabled)
    )


def revoking_of(done: Revoked) -> owner_api.LinksRevoked:
    """What a revocation did."""
    return owner_api.LinksRevoked(**asdict(done))


def _session(session: SessionRow) -> owner_api.SessionInfo:
    return owner_api.SessionInfo(
        session=session.pseudonym,
        state=session.state,
        started_ms=session.started_ms,
        finished_ms=session.finished_ms,
        minutes=session.minutes,
        done=session.done,
        simulated=bool(session.simulated),
    )


def _share(share: Share) -> owner_api.ShareInfo:
    return owner_api.ShareInfo(part=share.part, of=share.of)
