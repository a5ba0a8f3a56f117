"""A study as the server keeps it in memory."""

from __future__ import annotations

from dataclasses import dataclass

from study_server.studies.design import StudyDesign


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the server keeps it in memory; its status stands in the database."""

    id: int
    slug: str
    title: str
    design: StudyDesign
    task_pairs: int
    practice_pairs: int
    gold_pairs: int

    @property
    def lease_ms(self) -> int:
        """Length of a lease."""
        return self.design.lease_seconds * 1000
