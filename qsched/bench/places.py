"""The files of a benchmark's folder. They are the state: there is no other record of what is done.

benchmark.yaml                       the file, as it was given
benchmark.json                       its hashes (`Identity`)
prompts.json, calibration.json       the chosen prompts
models/MODEL/images/                 the image set, with metrics.json
models/MODEL/coefficients/PRECISION/calibrated.json
studies/STUDY/MODEL/study.yaml       ready for `qsched study create`
studies/STUDY/MODEL/votes.parquet    (or .csv, .jsonl; of a fidelity study triplets.parquet)
studies/STUDY/MODEL/report/          winrates.json and the report; of a fidelity study certificates/ARM/
studies/STUDY/MODEL/evidence/        of simulated people, and where you put that of your study
site/                                the leaderboard
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qsched.bench.spec import CALIBRATE, SHIPPED, ArmSpec, Benchmark, ModelSpec, StudySpec
from qsched.errors import InputError

CALIBRATED = "calibrated"
VOTES, TRIPLETS = "votes", "triplets"
_SUFFIXES = (".parquet", ".csv", ".jsonl")


def file_name(text: str) -> str:
    """A precision or an arm as the name of a file or folder."""
    return re.sub(r"[^A-Za-z0-9+._=-]+", "_", text)


@dataclass(frozen=True)
class StudyPlaces:
    """A study of one model."""

    folder: Path
    is_fidelity: bool
    simulated: bool
    slug: str

    @property
    def study_yaml(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def votes(self) -> Path | None:
        """The votes that are there; InputError for two files of them."""
        stem = TRIPLETS if self.is_fidelity else VOTES
        there = [path for suffix in _SUFFIXES if (path := self.folder / f"{stem}{suffix}").is_file()]
        if len(there) > 1:
            raise InputError(f"{self.folder} has {' and '.join(path.name for path in there)}; keep one of them")
        return there[0] if there else None

    @property
    def votes_to_be(self) -> Path:
        return self.folder / f"{TRIPLETS if self.is_fidelity else VOTES}.parquet"

    @property
    def content(self) -> Path:
        return self.folder / "content.csv"

    @property
    def database(self) -> Path:
        """Of simulated people only."""
        return self.folder / "simulated.db"

    @property
    def preregistration(self) -> Path:
        return self.folder / "preregistration.json"

    @property
    def simulation(self) -> Path:
        return self.folder / "simulation.json"

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def registration(self, arm: str) -> Path:
        """The clauses of an arm, written before the votes."""
        return self.folder / "registrations" / f"{file_name(arm)}.yaml"

    def certificate(self, arm: str) -> Path:
        return self.folder / "certificates" / file_name(arm)


@dataclass(frozen=True)
class Places:
    """A benchmark in its folder."""

    folder: Path
    benchmark: Benchmark

    @property
    def file(self) -> Path:
        return self.folder / "benchmark.yaml"

    @property
    def identity(self) -> Path:
        return self.folder / "benchmark.json"

    @property
    def prompts(self) -> Path:
        return self.folder / "prompts.json"

    @property
    def calibration_prompts(self) -> Path:
        return self.folder / "calibration.json"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def images(self, model: ModelSpec) -> Path:
        return self.folder / "models" / model.name / "images"

    def coefficients(self, model: ModelSpec, precision: str) -> Path:
        return self.folder / "models" / model.name / "coefficients" / file_name(precision) / f"{CALIBRATED}.json"

    def study(self, study: StudySpec, model: ModelSpec) -> StudyPlaces:
        slug = self.benchmark.slug_of(study, model)
        folder = self.folder / "studies" / study.name / model.name
        return StudyPlaces(folder, study.is_fidelity, study.votes == "simulated", slug)

    def arm_text(self, model: ModelSpec, arm: ArmSpec) -> str:
        """The arm as `--arms` takes it."""
        if arm.coefficients == SHIPPED:
            return arm.arm
        if arm.coefficients == CALIBRATE:
            return f"{arm.arm}:{self.coefficients(model, arm.precision)}"
        return f"{arm.arm}:{arm.coefficients}"

    def arm_name(self, arm: ArmSpec) -> str:
        """The arm's name in image set and votes."""
        if arm.coefficients == SHIPPED:
            return arm.arm
        return f"{arm.arm}:{CALIBRATED if arm.coefficients == CALIBRATE else Path(arm.coefficients).stem}"


def check_folder_name(folder: Path) -> None:
    """InputError for a folder whose path cannot stand in `--arms`."""
    if "," in str(folder):
        raise InputError(f"{folder}: a comma in the path would divide the list of arms; choose another folder")
