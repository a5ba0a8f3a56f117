"""A study of chosen pairs: those that the image set's pairs.csv says to show, the others counted by stratum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qsched.errors import InputError
from qsched.locations import Location
from qsched.records.curation import count_words, pair_key_of, read_curation
from study_server.studies.comparisons import MisfitError, PlannedPair
from study_server.studies.design import StudyDesign


@dataclass(frozen=True, slots=True)
class CuratedPairs:
    """The pairs to show, and how many task pairs the list leaves out, by stratum (`near-identical, not drawn`)."""

    pairs: list[PlannedPair]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """`3 identical, 2 broken`."""
        return count_words(self.left_out)


def keep_curated(planned: Sequence[PlannedPair], *, design: StudyDesign, folder: Location) -> CuratedPairs:
    """The planned pairs, without the task pairs that pairs.csv leaves out if the design asks for it.

    Raises InputError if there is no list or another one than the design names by its hash, MisfitError for a pair that
    the list does not have, or if it leaves nothing to show.
    """
    if design.pairs == "all":
        return CuratedPairs(list(planned))
    curation = read_curation(folder)
    if design.pairs_sha256 not in (None, curation.sha256):
        raise InputError(
            f"{curation.path} has the sha256 {curation.sha256}, pairs_sha256 is {design.pairs_sha256}; it was changed "
            "after the study was designed"
        )
    kept: list[PlannedPair] = []
    left_out: Counter[str] = Counter()
    for pair in planned:
        if pair.pool == "task":
            key = pair_key_of(pair.prompt_key, pair.sample_index, pair.first_arm, pair.second_arm)
            listed = curation.pairs.get(key)
            if listed is None:
                raise MisfitError(
                    f"{curation.path} does not list prompt {key[0]!r}, sample {key[1]}, {key[2]} and {key[3]}; make it "
                    f"again with all arms of the study: qsched pairs {folder}",
                    ("pairs",),
                )
            if not listed.use:
                left_out[listed.counted_as] += 1
                continue
        kept.append(pair)
    if all(pair.pool != "task" for pair in kept):
        raise MisfitError(f"{curation.path} leaves all pairs out, so there is nothing to ask", ("pairs",))
    return CuratedPairs(kept, dict(sorted(left_out.items())))
