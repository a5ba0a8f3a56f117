"""A vote that puts a set of pictures in order: checked, and stored by the numbers of the pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from qsched.records import Choice
from qsched.records.rankings import NUMBERS, PLACES, read_ranking, write_ranking
from study_server.assignment.records import AssignmentContext
from study_server.errors import BadRequest


def check_ranked(
    answers: Mapping[str, str], rankings: Mapping[str, str], *, asked: Collection[str], allow_skip: bool
) -> None:
    """BadRequest unless each question has a ranking or, if that is allowed, is skipped."""
    if {*answers, *rankings} != set(asked) or answers.keys() & rankings.keys():
        raise BadRequest(
            f"the rankings are of {sorted(rankings)} and the answers to {sorted(answers)}; each of {sorted(asked)} "
            "needs a ranking, or the answer skip"
        )
    for choice in answers.values():
        if choice != Choice.SKIP or not allow_skip:
            raise BadRequest(f"{str(choice)!r} is not an answer: put the pictures in order" + ", or skip" * allow_skip)


def stored_rankings(context: AssignmentContext, places: str, rankings: Mapping[str, str]) -> dict[str, str]:
    """The rankings by the numbers of the pictures, from those by their places; BadRequest for one that does not fit."""
    names = PLACES[: len(places)]
    found = {}
    for question, text in rankings.items():
        try:
            groups = read_ranking(text, names)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        if len(groups) < len(places) and not context.study.design.allow_tie:
            raise BadRequest("this study does not allow two pictures in one place")
        pictures = tuple(tuple(int(places[place]) for place in group) for group in groups)
        found[question] = write_ranking(pictures, NUMBERS)
    return found
