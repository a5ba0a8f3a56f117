"""Pairs of two identical pictures: nobody can answer which is better, so a study leaves them out and counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study_server.studies.comparisons import ImageKey, MisfitError, PlannedPair, check_votes_total
from study_server.studies.design import StudyDesign
from study_server.studies.dropping_sets import RESERVE
from study_server.studies.fidelity import MADE_TRAP
from study_server.studies.known_answers import is_tie


@dataclass(frozen=True, slots=True)
class PairsToShow:
    """The pairs of a study, and how many it leaves out because their two pictures are identical."""

    pairs: list[PlannedPair]
    identical: int


def leave_out_identical(
    planned: Sequence[PlannedPair], *, looks: Mapping[ImageKey, str], design: StudyDesign
) -> PairsToShow:
    """Leave out task pairs, and sets to be ranked, with two pictures that look the same, unless the design shows them.

    `looks` names how an image looks; images with the same name are identical. Raises MisfitError if a practice or gold
    pair is identical and its known answer is not a tie, or if nothing is left to show.
    """
    kept: list[PlannedPair] = []
    identical = 0
    numbers: dict[str, int] = {}
    for pair in planned:
        number = numbers[pair.pool] = numbers.get(pair.pool, -1) + 1
        if pair.pool in ("bias", "trap") and pair.triplet is None:  # alike on purpose
            kept.append(pair)
            continue
        seen = [_look(looks, pair, arm) for arm in pair.all_arms]
        same, asked = len(set(seen)) < len(seen), pair.pool in ("task", RESERVE)
        if same and not asked and not is_tie(pair.better):
            raise MisfitError(
                f"{pair.pool}: the pictures of {pair.first_arm!r} and {pair.second_arm!r} for prompt "
                f"{pair.prompt_key!r} are identical, so neither can be better; take another prompt, or say better: tie",
                (pair.pool, number),
            )
        if same and asked and not design.show_identical:
            identical += 1
        else:
            kept.append(pair)
    if all(pair.pool != "task" for pair in kept):
        raise MisfitError(
            f"in all {identical} pairs the two pictures are identical, so there is nothing to ask; compare other arms",
            ("comparisons",),
        )
    check_votes_total(design, kept)
    return PairsToShow(kept, identical)


def _look(looks: Mapping[ImageKey, str], pair: PlannedPair, arm: str) -> str:
    # A trap that is made from the reference is not among the set's images.
    return arm if arm == MADE_TRAP else looks[(pair.prompt_key, pair.sample_index, arm)]
