"""An owner's commands on a database at hand: what the API does on a server elsewhere, by the same services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qsched.records import owner_api
from study_server.admin.pairs import read_reports
from study_server.admin.progress import read_progress
from study_server.api import answers
from study_server.db.database import Database
from study_server.owner import act_on_study, default_database, existing_database, make_settings
from study_server.quality.exclusion import exclude, find_person, include
from study_server.quality.forgetting import forget
from study_server.quality.payments import read_payments
from study_server.quality.people import every_person
from study_server.quality.revoking import link_names, record_links_made, revoke_links
from study_server.studies.actions import COMMAND_LINE, PAGE_ROWS, latest_actions
from study_server.studies.cache import find_study
from study_server.studies.design import StudyDesign
from study_server.studies.ownership import enable_pairs, list_studies, reported_pairs, set_status
from study_server.studies.progress import read_study
from study_server.studies.study import Study
from study_server.studies.update import design_history, stored_set_id, update_study
from study_server.web.security import Keyring
from study_server.web.signed_links import personal_links, preview_link


class LocalOwner:
    """The studies of a database; a `qsched.client.Owner`."""

    def __init__(self, database_url: str | None) -> None:
        self._database_url = database_url
        self.database: Database = existing_database(database_url)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def studies(self) -> Iterator[owner_api.StudySummary]:
        """Every study, the oldest first."""
        return (answers.summary_of(row) for row in list_studies(self.database))

    def study(self, slug: str) -> owner_api.StudyDetail:
        """One study with its design and history."""
        with self.database.snapshot() as tx:
            study = find_study(tx, slug)
            _, row = read_study(tx, slug)
        return owner_api.StudyDetail(
            summary=answers.summary_of(row),
            set_id=stored_set_id(self.database, slug),
            design=study.design.model_dump(mode="json", exclude_defaults=True),
            versions=tuple(answers.version_of(version) for version in design_history(self.database, slug)),
        )

    def progress(self, slug: str) -> owner_api.Progress:
        """How far a study is."""
        with self.database.snapshot() as tx:
            return answers.progress_of(read_progress(tx, slug))

    def set_status(self, slug: str, status: owner_api.Status) -> None:
        """Open, pause or close a study."""
        set_status(self.database, slug, status)

    def update(self, slug: str, design: dict[str, Any], *, set_id: str) -> owner_api.Changes:
        """Apply a changed design, if every change is harmless."""
        changed = StudyDesign.model_validate({**design, "slug": slug})
        return answers.changes_of(update_study(self.database, changed, set_id=set_id))

    def people(self, slug: str) -> Iterator[owner_api.PersonInfo]:
        """Every annotator, the newest first."""
        with self.database.snapshot() as tx:
            for person in every_person(tx, study_id=find_study(tx, slug).id):
                yield answers.person_of(person)

    def payments(self, slug: str) -> Iterator[owner_api.PaymentInfo]:
        """Every participation by the platform's names, the newest person first."""
        with self.database.snapshot() as tx:
            for _, payment in read_payments(tx, find_study(tx, slug)):
                yield payment

    def exclude(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Leave a person's votes out."""
        pseudonym, by = self._pseudonym(slug, person), COMMAND_LINE
        done = act_on_study(self.database, slug, exclude, pseudonym=pseudonym, reason=person.reason, by=by)
        return answers.exclusion_of(done)

    def include(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Let a person's votes count again."""
        pseudonym, by = self._pseudonym(slug, person), COMMAND_LINE
        done = act_on_study(self.database, slug, include, pseudonym=pseudonym, reason=person.reason, by=by)
        return answers.exclusion_of(done)

    def forget(self, slug: str, person: owner_api.ForgetRequest) -> owner_api.ForgetDone:
        """Delete one person's data; there is no way back."""
        who, platform_id = person.who or "", person.platform_id
        done = act_on_study(self.database, slug, forget, who=who, platform_id=platform_id, by=COMMAND_LINE)
        return answers.forgetting_of(done)

    def reported_pairs(self, slug: str) -> Iterator[owner_api.ReportedPairInfo]:
        """The pairs that people could not see, those that were taken out first."""
        return map(answers.reported_pair_of, reported_pairs(self.database, slug))

    def enable_pairs(self, slug: str, pairs: Sequence[str] | None) -> int:
        """Show again the pairs that were taken out: all (None), or those named. Returns how many."""
        return enable_pairs(self.database, slug, keys=pairs)

    def preview(self, slug: str) -> str:
        """The address of the owner's own walk through the study, without the server's."""
        study = self._study(slug)
        return preview_link(self._keys(), slug=study.slug, uid=study.uid)

    def make_links(self, slug: str, count: int) -> tuple[owner_api.LinkInfo, ...]:
        """New personal links, which are stored nowhere."""
        made = personal_links(self._keys(), self._study(slug), count)
        with self.database.transaction() as tx:
            record_links_made(tx, by=COMMAND_LINE, slug=slug, count=count)
        return tuple(owner_api.LinkInfo(name=name, link=link) for name, link in made)

    def revoke_links(self, slug: str, names: Sequence[str]) -> owner_api.LinksRevoked:
        """Take back personal links that nobody has used."""
        done = act_on_study(self.database, slug, revoke_links, names=link_names(names), by=COMMAND_LINE)
        return answers.revoking_of(done)

    def reports(self, slug: str) -> Iterator[owner_api.ReportInfo]:
        """What annotators reported, the newest first."""
        with self.database.snapshot() as tx:
            study = find_study(tx, slug).id
            before = 2**62
            while rows := read_reports(tx, study=study, before=before):
                yield from map(answers.report_of, rows)
                before = rows[-1].id

    def log(self, slug: str | None = None) -> Iterator[owner_api.ActionInfo]:
        """What owners did, the newest first; of one study or of all."""
        with self.database.snapshot() as tx:
            before = 2**62
            while rows := latest_actions(tx, study=slug, before=before, limit=PAGE_ROWS):
                yield from map(answers.action_of, rows)
                before = rows[-1].id

    def export_votes(self, slug: str, path: Path) -> None:
        """Write the votes table to a file whose ending gives the format."""
        from study_server.export import export_triplets, export_votes, is_fidelity  # polars takes its time

        write = export_triplets if is_fidelity(self.database, slug) else export_votes
        write(self.database, study=slug, path=path)

    def _study(self, slug: str) -> Study:
        with self.database.snapshot() as tx:
            return find_study(tx, slug)

    def _keys(self) -> Keyring:
        """The keys with which the server of this database signs."""
        settings = make_settings(database_url=self._database_url or default_database())
        return Keyring(settings.secret_key.get_secret_value())

    def _pseudonym(self, slug: str, person: owner_api.PersonRequest) -> str:
        with self.database.snapshot() as tx:
            study = find_study(tx, slug)
            return find_person(tx, study_id=study.id, who=person.who or "", platform_id=person.platform_id).pseudonym
