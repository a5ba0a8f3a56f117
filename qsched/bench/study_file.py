"""study.yaml of one model: what benchmark.yaml says under `study`, with slug, images and the set's names of arms."""

from __future__ import annotations

import os
from typing import Any

import yaml

from qsched.bench.places import Places
from qsched.bench.spec import ModelSpec, StudySpec

_HEAD = "# Made by qsched bench from benchmark.yaml, study {study}; change it there.\n"


def study_values(places: Places, study: StudySpec, model: ModelSpec) -> dict[str, Any]:
    """The values of the study.yaml; an arm as benchmark.yaml writes it becomes the arm's name in the set."""
    at = places.study(study, model)
    names = {arm.arm: places.arm_name(arm) for arm in places.benchmark.arms_of(model)}
    return {
        "schema_version": 1,
        "slug": at.slug,
        "images": os.path.relpath(places.images(model), at.folder),
        **{key: _renamed(value, names) for key, value in study.study.items()},
    }


def study_text(places: Places, study: StudySpec, model: ModelSpec) -> str:
    """The study.yaml as text."""
    body = yaml.safe_dump(study_values(places, study, model), sort_keys=False, allow_unicode=True)
    return _HEAD.format(study=study.name) + body


def clause_arms(places: Places, study: StudySpec, model: ModelSpec) -> list[str]:
    """The arms, as the set names them, of which a fidelity study has clauses."""
    return [str(one["arm"]) for one in _clauses(places, study, model)]


def needs_preference(places: Places, study: StudySpec, model: ModelSpec) -> list[str]:
    """The arms of which a fidelity study claims that people do not prefer the reference: other votes show that."""
    return [str(one["arm"]) for one in _clauses(places, study, model) if one.get("preference") is not None]


def preference_studies(places: Places, model: ModelSpec) -> list[StudySpec]:
    """The studies of a model whose votes a preference clause counts."""
    return [study for study in places.benchmark.studies_of(model) if not study.is_fidelity]


def _clauses(places: Places, study: StudySpec, model: ModelSpec) -> list[dict[str, Any]]:
    fidelity = study_values(places, study, model).get("fidelity")
    clauses = fidelity.get("clauses", []) if isinstance(fidelity, dict) else []
    return [one for one in clauses if isinstance(one, dict) and "arm" in one]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return value
