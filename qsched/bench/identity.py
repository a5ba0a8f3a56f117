"""What makes two benchmark folders the same benchmark: the file without what is local to a machine, and the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from qsched.bench.checks import check_categories
from qsched.bench.places import Places
from qsched.bench.prompts import choose_prompts, prompts_text
from qsched.bench.spec import CALIBRATE, SHIPPED, Benchmark
from qsched.errors import InputError
from qsched.files import write_atomic
from qsched.generation import read_prompts
from qsched.generation.plan import prompts_hash
from qsched.records import hash_of

#: Fields of a model that say where and how it runs here; its weights are compared by their hash.
_LOCAL = {"backbone", "loras", "seconds_per_image", "offload"}


class Identity(BaseModel):
    """benchmark.json; `benchmark_sha256` is the hash of the other three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    version: str
    spec_sha256: str
    prompts_sha256: str
    calibration_sha256: str | None
    benchmark_sha256: str


def spec_hash(benchmark: Benchmark) -> str:
    """Hash of all that benchmark.yaml says, but where files are and how long a picture takes."""
    values: dict[str, Any] = benchmark.model_dump(mode="json", exclude={"weights", "description"})
    sources = [*values["prompts"], *([values["calibration"]["prompts"]] if values["calibration"] else [])]
    for source in sources:
        del source["file"], source["format"]
    for model in values["models"]:
        for key in _LOCAL:
            del model[key]
    for arm in [*values["arms"], *(arm for model in values["models"] for arm in model["arms"] or ())]:
        if arm["coefficients"] not in (SHIPPED, CALIBRATE):
            arm["coefficients"] = "file"  # compared by the arm's recipe hash
    return hash_of(values)


def begin_folder(places: Places, *, source: Path) -> Identity:
    """Make the folder ready, or check that it is of this benchmark; InputError if it is of another.

    source    the benchmark.yaml; its prompts are read once, and afterwards those in the folder count
    """
    benchmark, folder = places.benchmark, source.parent
    if places.identity.is_file():
        found = read_identity(places.folder)
        if found.spec_sha256 != spec_hash(benchmark):
            raise InputError(
                f"{places.folder} was begun from another benchmark.yaml than {source} ({found.name} {found.version}); "
                "restore the file, or choose another folder with --out"
            )
        if identity_of_folder(places) != found:
            raise InputError(
                f"the prompts in {places.folder} are not those that it was begun with; restore prompts.json and "
                "calibration.json, or choose another folder with --out"
            )
        if places.file.resolve() != source.resolve():
            write_atomic(places.file, source.read_bytes())  # where files are may have changed
        return found
    prompts = choose_prompts(benchmark.prompts, folder=folder)
    check_categories(benchmark, prompts)
    write_atomic(places.prompts, prompts_text(prompts).encode(), parents=True)
    if benchmark.calibration is not None:
        chosen = choose_prompts([benchmark.calibration.prompts], folder=folder, without=prompts)
        write_atomic(places.calibration_prompts, prompts_text(chosen).encode())
    if places.file.resolve() != source.resolve():
        write_atomic(places.file, source.read_bytes())
    found = identity_of_folder(places)
    write_atomic(places.identity, (found.model_dump_json(indent=1) + "\n").encode())
    return found


def identity_of_folder(places: Places) -> Identity:
    """The identity as the files of the folder give it."""
    benchmark = places.benchmark
    spec, prompts = spec_hash(benchmark), prompts_hash(read_prompts(places.prompts))
    calibration = None if benchmark.calibration is None else prompts_hash(read_prompts(places.calibration_prompts))
    return Identity(
        name=benchmark.name,
        version=benchmark.version,
        spec_sha256=spec,
        prompts_sha256=prompts,
        calibration_sha256=calibration,
        benchmark_sha256=hash_of([spec, prompts, calibration]),
    )


def read_identity(folder: Path) -> Identity:
    """benchmark.json of a folder; InputError if it is not there or not one."""
    path = folder / "benchmark.json"
    try:
        return Identity.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder} has no benchmark.json; `qsched bench run` makes such a folder") from error
    except ValidationError as error:
        raise InputError(f"{path} is not the identity of a benchmark: {error.errors()[0]['msg']}") from error
