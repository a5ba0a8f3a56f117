"""What `qsched bench` asks the study server's code: whether a study fits, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.bench.plan import StudyCost
    from qsched.bench.spec import StudySpec


def price_study(
    study: StudySpec, values: dict[str, Any], arms: Sequence[str], keys: Sequence[tuple[str, int]]
) -> StudyCost:
    """The study with all its pairs, as `qsched study check` counts them; InputError for a design that does not fit."""
    from pydantic import ValidationError

    from qsched.bench.places import CALIBRATED
    from qsched.bench.plan import StudyCost
    from study_server.studies.comparisons import MisfitError
    from study_server.studies.design import StudyDesign
    from study_server.studies.estimate import estimate_study
    from study_server.studies.triplets import plan_study

    try:
        design = StudyDesign.model_validate(values)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in item["loc"])
        raise InputError(f"study {study.name}: {where}: {item['msg'].removeprefix('Value error, ')}") from error
    looks = [(prompt, sample, arm) for prompt, sample in keys for arm in arms]
    try:
        found = estimate_study(design, plan_study(design, arms=list(arms), images=looks))
    except MisfitError as error:
        raise InputError(f"study {study.name}: {error}") from error
    weakest = found.weakest
    can_show = f"a win rate of {weakest.win_rate:.1%} or more" if weakest.win_rate is not None else "nothing"
    if design.fidelity is not None:
        can_show = "clauses of a certificate (qsched study check, once the pictures are there)"
    elif found.comparisons > 1:
        can_show += f" in its weakest comparison ({' against '.join(weakest.pair)})"
    can_show = can_show.replace(f":{CALIBRATED}", "")
    simulated = study.votes == "simulated"
    votes = study.simulation.annotators * study.simulation.votes_each if simulated else found.valid_votes
    return StudyCost(
        study=study.name,
        votes_by=study.votes,
        pairs=found.pairs,
        votes=min(votes, found.valid_votes),
        people=study.simulation.annotators if simulated else found.annotators,
        minutes_each=found.minutes_per_annotator,
        hours=0.0 if simulated else found.hours,
        cost=0.0 if simulated else found.cost,
        currency=found.currency,
        can_show=can_show,
        warnings=() if simulated else found.warnings,
    )


def study_state(db: str, slug: str) -> tuple[str, str] | None:
    """(open, paused or closed; the set_id of its pictures); None for a study or a database that is not there."""
    from sqlalchemy.engine import make_url

    from study_server.local import LocalOwner

    url = make_url(db)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return None
    owner = LocalOwner(db)
    try:
        status = next((row.status for row in owner.studies() if row.slug == slug), None)
        return None if status is None else (status, owner.study(slug).set_id)
    finally:
        owner.close()
