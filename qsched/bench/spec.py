"""benchmark.yaml: every key, its rule and its default; errors name the file and the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from qsched.errors import RowError
from qsched.records.yaml_file import YamlFile, read_yaml
from qsched.scheduling import METHODS

MAX_BYTES = 1_000_000
#: Where an arm's coefficients come from, beside a file.
SHIPPED, CALIBRATE = "shipped", "calibrate"
#: The slug of a study is `BENCHMARK-STUDY-MODEL`; a study server takes so many characters.
MAX_SLUG = 63
#: A plan counts every picture of every prompt, one by one.
MAX_SAMPLES = 1_000
_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Text = Annotated[str, StringConstraints(min_length=1)]


class BenchSection(BaseModel):
    """A part of benchmark.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class PromptSource(BenchSection):
    """A file of prompts, and which of them are used.

    limit           the first so many, after `per_category`
    per_category    the first so many of each category
    draw            a seed: prompts are drawn at random instead of the first ones, and kept in the order of their ids
                    (0 and `limit` are the choice of DeepCompressor's benchmarks)
    """

    file: Text
    format: Text | None = None
    limit: int | None = Field(default=None, ge=1)
    per_category: int | None = Field(default=None, ge=1)
    draw: int | None = Field(default=None, ge=0)


class ArmSpec(BenchSection):
    """An arm as `generate-pairs --arms` writes it, without a file of coefficients.

    coefficients    of an arm with +qsched or +qsched-bias: `shipped`, `calibrate`, or a file
    """

    arm: Annotated[str, StringConstraints(pattern=r"^[^\s,+]+(\+[a-z-]+)?$")]
    coefficients: Text = SHIPPED

    @property
    def precision(self) -> str:
        """The part before the plus sign."""
        return self.arm.partition("+")[0]

    @property
    def method(self) -> str:
        """The part after the plus sign; empty for a stock arm."""
        return self.arm.partition("+")[2]

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_an_arm(cls, data: Any) -> Any:
        return {"arm": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _only_a_repair_has_coefficients(self) -> ArmSpec:
        if "+" in self.arm and self.method not in METHODS:
            raise ValueError(f"{self.arm}: the part after + is {' or '.join(METHODS)}")
        if not self.method and self.coefficients != SHIPPED:
            raise ValueError(f"{self.arm} has no coefficients; write {self.arm}+qsched, or leave coefficients out")
        return self


Arms = Annotated[tuple[ArmSpec, ...], Field(min_length=2)]


class ModelSpec(BenchSection):
    """A backbone with its settings; None is the backbone's own value. `arms` replaces those of the benchmark."""

    name: Name
    backbone: Text | None = None
    revision: Text | None = None
    variant: Text | None = None
    steps: int | None = Field(default=None, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    dtype: Literal["fp32", "bf16", "fp16"] | None = None
    vae_dtype: Literal["fp32", "bf16", "fp16"] | None = None
    offload: Literal["none", "model", "sequential"] = "none"
    batch_size: int = Field(default=8, ge=1)
    negative_prompt: Text | None = None
    eta: float | None = Field(default=None, ge=0, le=1)
    loras: tuple[Text, ...] = ()
    arms: Arms | None = None
    seconds_per_image: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={}, description="for `plan`: by arm, '' for the others"
    )

    @property
    def source(self) -> str:
        """What `--backbone` takes."""
        return self.backbone or self.name


class CalibrationSpec(BenchSection):
    """How coefficients are found and statistics measured: prompts of their own, and options of `qsched calibrate`."""

    prompts: PromptSource
    n_prompts: int = Field(default=25, ge=2)
    n_heldout: int = Field(default=100, ge=2)
    statistics: int = Field(default=8, ge=1, description="prompts for the statistics of svdquant and others")
    strategy: Literal["closed-form", "race", "coarse-to-fine", "grid", "optuna"] = "closed-form"
    objective: Text | None = None
    judge: Text = "auto"
    control: bool = True
    force: bool = False
    seed: int = Field(default=0, ge=0)


class SimulationSpec(BenchSection):
    """Simulated people instead of people."""

    annotators: int = Field(default=30, ge=2)
    votes_each: int = Field(default=36, ge=1)
    seed: int = Field(default=0, ge=0)


class StudySpec(BenchSection):
    """A study of each model (or of `models`): `study` is a study.yaml without slug and images.

    votes    `people` (files of a study that you run), or `simulated`: only then does `bench run` let software vote
    """

    name: Name
    votes: Literal["people", "simulated"] = "people"
    simulation: SimulationSpec = SimulationSpec()
    models: tuple[Name, ...] | None = None
    study: dict[str, Any]

    @model_validator(mode="after")
    def _leave_out_what_is_filled_in(self) -> StudySpec:
        for key in ("slug", "images", "schema_version"):
            if key in self.study:
                raise ValueError(f"study has {key}, which is filled in for each model; leave it out")
        if self.votes == "people" and "simulation" in self.model_fields_set:
            raise ValueError("simulation belongs to votes: simulated; add that key, or leave the section out")
        return self

    @property
    def is_fidelity(self) -> bool:
        """Triplets and a certificate instead of win rates."""
        return self.study.get("design") == "fidelity"


class ReportSpec(BenchSection):
    """Options of `qsched winrates` for every preference study, fixed before the votes, with the limits that it has."""

    by: Literal["category", "prompt"] | None = None
    equivalence_margin: float | None = Field(default=None, ge=0.0001, le=0.4999)
    confidence: float = Field(default=0.95, ge=0.5, le=0.9999)
    resamples: int = Field(default=1000, ge=100, le=100_000)
    seed: int = Field(default=0, ge=0)


class Benchmark(BenchSection):
    """A whole benchmark. The baseline is the first arm; `version` is its author's."""

    schema_version: Literal[1]
    name: Name
    version: Text
    title: Text
    description: str = ""
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    arms: Arms
    prompts: Annotated[tuple[PromptSource, ...], Field(min_length=1)]
    samples: int = Field(default=1, ge=1, le=MAX_SAMPLES)
    seed: int = 0
    metrics: tuple[Text, ...] = ()
    display: Literal["standard_fhd", "standard_4k", "standard_phone"] = "standard_fhd"
    weights: dict[str, Text] = Field(default={}, description="of scorers: a folder or org/name@commit")
    calibration: CalibrationSpec | None = None
    studies: tuple[StudySpec, ...] = ()
    report: ReportSpec = ReportSpec()

    def arms_of(self, model: ModelSpec) -> tuple[ArmSpec, ...]:
        """The arms of a model, the baseline first."""
        return model.arms or self.arms

    def slug_of(self, study: StudySpec, model: ModelSpec) -> str:
        """The address of a model's study on a server."""
        return f"{self.name}-{study.name}-{model.name}"

    def studies_of(self, model: ModelSpec) -> tuple[StudySpec, ...]:
        """The studies that show a model's pictures."""
        return tuple(one for one in self.studies if one.models is None or model.name in one.models)

    @field_validator("models", "studies")
    @classmethod
    def _names_differ(cls, value: tuple[ModelSpec | StudySpec, ...]) -> tuple[ModelSpec | StudySpec, ...]:
        names = [one.name for one in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice; names differ")
        return value

    @model_validator(mode="after")
    def _slugs_differ(self) -> Benchmark:
        slugs = [self.slug_of(study, model) for model in self.models for study in self.studies_of(model)]
        for slug in slugs:
            if len(slug) > MAX_SLUG:
                raise ValueError(f"the slug {slug} has {len(slug)} characters, at most {MAX_SLUG}; shorten a name")
            if slugs.count(slug) > 1:
                raise ValueError(f"two studies would have the slug {slug}; give one of them, or a model, another name")
        return self

    @model_validator(mode="after")
    def _hangs_together(self) -> Benchmark:
        known = [model.name for model in self.models]
        for study in self.studies:
            if unknown := [name for name in study.models or () if name not in known]:
                raise ValueError(f"study {study.name} names the model {unknown[0]}; the models are {', '.join(known)}")
        for model in self.models:
            arms = self.arms_of(model)
            names = [arm.arm for arm in arms]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"the arm {twice[0]} of {model.name} is named twice; name each arm once")
            if unknown := sorted(model.seconds_per_image.keys() - {"", *names}):
                raise ValueError(
                    f"seconds_per_image of {model.name} names {unknown[0]}; its arms are {', '.join(names)}"
                )
            if arms[0].method:
                raise ValueError(f"the first arm of {model.name} is {names[0]}; the baseline is a stock arm")
            if self.calibration is None and any(arm.coefficients == CALIBRATE for arm in arms):
                raise ValueError("an arm has coefficients: calibrate, and there is no calibration section; add one")
        return self


def read_benchmark(path: Path) -> Benchmark:
    """The benchmark of a file; RowError with the line of the first value that breaks a rule."""
    file = read_yaml(path, max_bytes=MAX_BYTES, missing="docs/benchmark.md shows one")
    if not isinstance(file.root, yaml.MappingNode):
        raise RowError(path, 1, "a benchmark is a mapping of keys; docs/benchmark.md shows one")
    try:
        return Benchmark.model_validate(file.values())
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        raise row_error(file, item["loc"], _problem(item)) from error


def row_error(file: YamlFile, location: tuple[int | str, ...], problem: str) -> RowError:
    """A problem at a place of the file, as an error with its line."""
    words = ".".join(str(part) for part in location)
    return RowError(file.path, file.line_of(location), f"{words}: {problem}" if words else problem)


def _problem(item: ErrorDetails) -> str:
    if item["type"] == "extra_forbidden":
        return "this key is unknown; see docs/benchmark.md"
    if item["type"] == "missing":
        return "this key is missing"
    problem = item["msg"].removeprefix("Value error, ")
    if item["type"] != "value_error":
        problem += f" (got {item['input']!r:.80})"
    if item["type"] == "string_type" and not isinstance(item["input"], list | dict):
        problem += "; put it in quotes"
    if item["type"] == "string_pattern_mismatch" and _NAME in problem:
        problem = f"{item['input']!r} is not a name: lower-case letters, digits, - and _, at most 40"
    return re.sub(r"\s+", " ", problem)
