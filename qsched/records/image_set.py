"""The IMAGE SET contract: a folder with `manifest.json`, `images.jsonl` and `images/<opaque>.png`.

Made by `qsched generate-pairs`, imported by `study_server`, read by `analysis` for example pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from qsched.errors import InputError, RowError
from qsched.locations import Location
from qsched.threads import in_order, threads_for

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
ROWS_NAME = "images.jsonl"
IMAGES_FOLDER = "images"
#: Parts of the rows that a run in a bucket has not joined yet; empty or absent in a finished set.
PARTS_FOLDER = "rows"
#: `provenance["tool"]` of a set whose seeds and recipe hashes follow the rules below.
GENERATE_PAIRS = "qsched generate-pairs"

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ImageId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]


class Record(BaseModel):
    """Frozen, and closed to fields that the contract does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ArmRecord(Record):
    """One way of making the images: a precision, with or without Q-Sched."""

    name: Name
    precision: Name
    coefficients: dict[str, object] | None = None
    recipe: dict[str, object]
    recipe_hash: Sha256
    simulated: bool = Field(description="True where low-precision arithmetic is imitated in floating point")
    denoiser_bytes: int | None = Field(default=None, description="size of the denoiser's tensors in memory; measured")
    packed_bytes: int | None = Field(
        default=None, description="size with codes and scales packed; computed for a simulated precision, else measured"
    )
    nominal_bytes: int | None = Field(
        default=None, description="size with the weights at their bits and without their scales; computed"
    )
    coefficients_origin: dict[str, object] | None = Field(
        default=None, description="file, backbone, weights, precision and steps that the coefficients were made for"
    )
    same_as: Name | None = Field(
        default=None, description="arm that makes the same pictures: they were made once and copied"
    )
    layers_converted: int | None = None
    layers_skipped: tuple[str, ...] = ()
    layers_kept: tuple[str, ...] = Field(default=(), description="'name: reason' of those the recipe leaves alone")


class RequestRecord(Record):
    """What one run added to a set. The batches of a set follow from its requests, in their order."""

    asked_at: AwareDatetime
    arms: tuple[Name, ...] = Field(description="all arms of the set from then on")
    prompts_file: str
    prompts_sha256: Sha256 = Field(description="hash of the prompts file")
    used_sha256: Sha256 = Field(description="hash of id, text and category of the prompts used, in order")
    limit: int | None = None
    n_prompts: int = Field(ge=1)
    samples: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="of the pictures that this request added")


class ShardRecord(Record):
    """Which part of a set a folder holds: shard `index` of `count`, counted from 1."""

    index: int = Field(ge=1)
    count: int = Field(ge=1)
    batches: tuple[tuple[str, ...], ...] = Field(description="its batches in order, as 'prompt_id/sample_index'")


class Manifest(Record):
    """What was asked for and with what; written before the first image, completed by measured sizes."""

    schema_version: Literal[1] = 1
    set_id: Name
    created_at: AwareDatetime
    backbone: Name
    arms: tuple[ArmRecord, ...]
    prompts_sha256: Sha256
    n_prompts: int = Field(ge=1)
    samples: int = Field(ge=1)
    set_seed: int | None = Field(description="None in imported sets: not known")
    steps: int | None = Field(ge=1, description="None in imported sets: not known")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    requests: tuple[RequestRecord, ...] = Field(default=(), description="what was asked for, and when; first to last")
    shard: ShardRecord | None = Field(default=None, description="set while the folder is a part, before the merge")
    pairing: Literal["seed", "unproven"] = Field(
        default="seed",
        description="seed: the pictures of a pair share a seed; unproven: they only share a name",
    )
    provenance: dict[str, object] = Field(default_factory=dict)

    @property
    def steps_words(self) -> str:
        """`4 steps`, `1 step` or `steps not known`."""
        if self.steps is None:
            return "steps not known"
        return f"{self.steps} step" if self.steps == 1 else f"{self.steps} steps"

    @property
    def pairing_note(self) -> str | None:
        """What to say wherever the set is used, if it is not known that its pairs started from the same noise."""
        if self.pairing == "seed":
            return None
        return (
            "the pictures were imported: they are paired by name, and whether a pair started from the same noise is "
            "not known"
        )

    @model_validator(mode="after")
    def _packed_bytes_of_older_manifests(self) -> Manifest:
        # Until version 0.1 the size was kept in the provenance, by precision.
        reports = self.provenance.get("arms")
        if not isinstance(reports, dict) or all(arm.packed_bytes is not None for arm in self.arms):
            return self
        arms = tuple(_with_packed_bytes(arm, reports.get(arm.precision)) for arm in self.arms)
        object.__setattr__(self, "arms", arms)
        return self


class ImageRow(Record):
    """One finished image."""

    image_id: ImageId
    prompt_id: Name
    prompt: Annotated[str, StringConstraints(min_length=1)]
    category: str | None = None
    arm: Name
    sample_index: int = Field(ge=0, le=1_000_000)
    seed: int | None = Field(ge=0, le=2**53, description="None in sets whose pairing is unproven")
    width: int = Field(ge=1, le=65_536)
    height: int = Field(ge=1, le=65_536)
    sha256: Sha256
    seconds: float | None = Field(ge=0, description="wall time of the batch divided by its size; None: not known")
    peak_memory_bytes: int | None = Field(default=None, ge=0)
    batch: tuple[str, ...] = Field(description="'prompt_id/sample_index' of every image made in the same batch")
    simulated: bool
    recipe_hash: Sha256
    versions: dict[str, str]
    git_commit: str | None = None

    @property
    def file_name(self) -> str:
        """Path of the picture relative to the set's folder."""
        return f"{IMAGES_FOLDER}/{self.image_id}.png"


def _with_packed_bytes(arm: ArmRecord, report: object) -> ArmRecord:
    packed = report.get("packed_bytes") if isinstance(report, dict) else None
    if arm.packed_bytes is not None or not isinstance(packed, int):
        return arm
    return arm.model_copy(update={"packed_bytes": packed})


def image_id_for(*, sha256: str, arm: str, prompt_id: str, sample_index: int) -> str:
    """Opaque id of an image: a hash of its bytes and of its place, so equal bytes in two arms differ in id."""
    key = json.dumps([sha256, arm, prompt_id, sample_index], ensure_ascii=True)
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def image_id_of(row: ImageRow) -> str:
    """The id that follows from a row's hash and place."""
    return image_id_for(sha256=row.sha256, arm=row.arm, prompt_id=row.prompt_id, sample_index=row.sample_index)


def image_seed(set_seed: int, prompt_id: str, sample_index: int) -> int:
    """Seed of one image, 0 <= seed < 2**53 (JSON readers that keep numbers as doubles hold it exactly)."""
    key = json.dumps([set_seed, prompt_id, sample_index], ensure_ascii=True).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 11


def hash_of(recipe: object) -> str:
    """sha256 of a JSON-ready value in canonical form."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def text_key(prompt: str) -> str:
    """The same for prompts that are equal up to case and spaces: they are one prompt when prompts are counted."""
    return " ".join(prompt.casefold().split())


def read_manifest(folder: Location) -> Manifest:
    """Read and check `manifest.json`; raises InputError for a folder that is not an image set."""
    path = folder / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not an image set: it has no {MANIFEST_NAME}. Make one with `qsched generate-pairs --out`."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{path} breaks the image-set contract: {first_problem(error)}") from error


class RowLine(NamedTuple):
    """A line of a file of rows; the last one of a file that is still written may be a part of one."""

    path: Location
    number: int
    data: bytes

    @property
    def is_whole(self) -> bool:
        """Whether it was written to its end."""
        return self.data.endswith(b"\n")


def row_lines(folder: Location) -> Iterator[RowLine]:
    """The lines of `images.jsonl`, then those of the parts that a run in a bucket has not joined yet, each once.

    Raises InputError for a file that cannot be read.
    """
    parts = row_parts(folder)
    seen: set[bytes] = set()
    path = folder / ROWS_NAME
    if path.exists():
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if parts:  # those of a run that was stopped while it joined them are in both
                    seen.add(line)
                yield RowLine(path, number, line)
    for part, data in zip(parts, in_order(_read, parts, threads=threads_for(folder)), strict=True):
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            if line not in seen:
                yield RowLine(part, number, line)


def row_parts(folder: Location) -> list[Location]:
    """The parts of the rows that wait to be joined, in the order in which they were written."""
    parts = folder / PARTS_FOLDER
    try:
        return sorted((part for part in parts.iterdir() if part.suffix == ".jsonl"), key=lambda part: part.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{parts} cannot be read: {error.strerror or error}") from error


def _open(path: Location) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Location) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Location, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror or error}; an image set has its rows there")


def iter_rows(folder: Location) -> Iterator[ImageRow]:
    """Yield the rows of `images.jsonl` in file order; raises RowError for a row that breaks the contract."""
    for line in row_lines(folder):
        if not line.is_whole:
            problem = "half-written row; resume the run with the same command to mend it"
            raise RowError(line.path, line.number, problem)
        try:
            yield ImageRow.model_validate_json(line.data)
        except ValidationError as error:
            raise RowError(line.path, line.number, first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic in words: field, what it should be, what was given."""
    item = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in item["loc"]) or "row"
    return f"{field}: {item['msg']} (got {item.get('input')!r:.120})"
