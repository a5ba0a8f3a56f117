"""What an owner's command can do to studies, wherever they are: in a database at hand, or on a server elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from qsched.records import owner_api


class Owner(Protocol):
    """`RemoteOwner` asks a server, `study_server.local.LocalOwner` a database; both answer alike.

    Every method raises a QschedError for a study or person that does not exist.
    """

    def studies(self) -> Iterator[owner_api.StudySummary]:
        """Every study, the oldest first."""

    def study(self, slug: str) -> owner_api.StudyDetail:
        """One study with its design and history."""

    def progress(self, slug: str) -> owner_api.Progress:
        """How far a study is."""

    def set_status(self, slug: str, status: owner_api.Status) -> None:
        """Open, pause or close a study."""

    def update(self, slug: str, design: dict[str, Any], *, set_id: str) -> owner_api.Changes:
        """Apply a changed design, if every change is harmless."""

    def people(self, slug: str) -> Iterator[owner_api.PersonInfo]:
        """Every annotator, the newest first."""

    def payments(self, slug: str) -> Iterator[owner_api.PaymentInfo]:
        """Every participation by the platform's names, the newest person first."""

    def exclude(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Leave a person's votes out."""

    def include(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Let a person's votes count again."""

    def forget(self, slug: str, person: owner_api.ForgetRequest) -> owner_api.ForgetDone:
        """Delete one person's data; there is no way back."""

    def reported_pairs(self, slug: str) -> Iterator[owner_api.ReportedPairInfo]:
        """The pairs that people could not see, those that were taken out first."""

    def enable_pairs(self, slug: str, pairs: Sequence[str] | None) -> int:
        """Show again the pairs that were taken out: all (None), or those named. Returns how many."""

    def preview(self, slug: str) -> str:
        """The address of the owner's own walk through the study, without the server's."""

    def make_links(self, slug: str, count: int) -> tuple[owner_api.LinkInfo, ...]:
        """New personal links, which are stored nowhere."""

    def revoke_links(self, slug: str, names: Sequence[str]) -> owner_api.LinksRevoked:
        """Take back personal links that nobody has used."""

    def reports(self, slug: str) -> Iterator[owner_api.ReportInfo]:
        """What annotators reported, the newest first."""

    def log(self, slug: str | None) -> Iterator[owner_api.ActionInfo]:
        """What owners did, the newest first; of one study or of all."""

    def export_votes(self, slug: str, path: Path) -> None:
        """Write the votes table to a file whose ending gives the format."""

    def close(self) -> None:
        """Give back what was opened."""
