"""What `qsched bench` asks the study server's code: whether a study fits, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsched.errors import InputError

if TYPE_CHECKING:
    from qsched.bench.plan import StudyCost
    from qsched.bench.spec import StudySpec
    from qsched.bench.verify_studies import StudyRules


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
    can_show = f"a win rate of {100 * weakest.win_rate:.1f} % or more" if weakest.win_rate is not None else "nothing"
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


def study_rules() -> StudyRules:
    """What `bench verify` asks; MissingExtraError once it asks, where the server's packages are not installed."""
    from qsched.bench.verify_studies import StudyRules

    return StudyRules(_design_problems, _difference)


def _design_problems(values: dict[str, Any], stored: str) -> list[str]:
    """The changes from the benchmark's design to a stored one that a study with votes would not allow."""
    from pydantic import ValidationError

    from qsched.extras import missing_extra

    try:
        from study_server.studies.changes import design_changes
        from study_server.studies.design import StudyDesign
    except ModuleNotFoundError as error:
        raise (missing_extra(error) or error) from error
    wanted = StudyDesign.model_validate(values)
    try:
        found = StudyDesign.model_validate_json(stored)
    except ValidationError as error:
        return [f"the design that people voted by is none of this version: {error.errors()[0]['msg']}"]
    return [
        f"people voted by another design: {one.key} was {one.after}, and the benchmark's is {one.before}"
        for one in design_changes(wanted, found)
        if one.refusal is not None
    ]


def _difference(reference: Path, picture: Path) -> tuple[float, float]:
    from study_server.media.difference import measure_difference
    from study_server.media.png import read_pixels

    found = measure_difference(*(read_pixels(path.read_bytes(), name=str(path)) for path in (reference, picture)))
    return found.mean, found.spot


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
