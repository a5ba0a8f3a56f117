"""The registration of a certificate, read from its file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from qsched.records import InputError, RowError
from qsched.records.image_set import first_problem
from qsched.records.registration import MeanPlan, Registration, TrapPlan
from qsched.records.yaml_file import read_yaml

_MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Registered:
    """A registration, and the hash of its file (empty: made up after the votes)."""

    plan: Registration
    sha256: str


def read_registration(path: Path) -> Registered:
    """The registration in a YAML file; RowError with the line of what is wrong."""
    file = read_yaml(path, max_bytes=_MAX_BYTES, missing="Give the file that was registered before the study.")
    values = file.values()
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no fields. A registration starts with study, registered_at and arm.")
    try:
        plan = Registration.model_validate(values)
    except ValidationError as error:
        location = tuple(part for part in error.errors(include_url=False)[0]["loc"] if isinstance(part, (str, int)))
        raise RowError(path, file.line_of(location), first_problem(error)) from error
    return Registered(plan, hashlib.sha256(file.text.encode()).hexdigest())


def default_registration(*, study: str, arm: str, registered_at: AwareDatetime, least_traps: int) -> Registered:
    """What is looked at when nothing was registered: the mean clause with the usual limit. Exploratory."""
    plan = Registration(
        study=study, registered_at=registered_at, arm=arm, mean=MeanPlan(), traps=TrapPlan(least=least_traps)
    )
    return Registered(plan, "")
