"""The files of an evidence folder, as `qsched study evidence` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from qsched.errors import InputError
from qsched.records.evidence import MANIFEST, PLACES_FIELD, ROW_FIELDS, sha256

REQUIRED = (
    "chain.json",
    "designs.jsonl",
    "excluded.jsonl",
    "pairs.jsonl",
    "rows.jsonl",
    "seals.jsonl",
)
#: The table for the analysis: of a preference study, or of a fidelity study.
VOTES, TRIPLETS = "votes.parquet", "triplets.parquet"
PREREGISTRATION = "preregistration.json"
#: What the planned looks of a study with a stopping rule found.
LOOKS = "votes.looks.json"


class Head(NamedTuple):
    """A head as it was published, and when (milliseconds since 1970 UTC)."""

    head: str
    sealed_ms: int


@dataclass(frozen=True)
class Line:
    """One vote of the chain; `row` is None if it was deleted at its person's request."""

    position: int
    leaf: str
    surplus: str | None
    excluded: bool
    row: dict[str, Any] | None


@dataclass(frozen=True)
class Evidence:
    """Everything in the folder. `preregistration` is the text of its file, None without one."""

    folder: Path
    study: str
    salt: str
    head: str
    votes: int
    lines: tuple[Line, ...]
    seals: tuple[dict[str, Any], ...]
    excluded: tuple[dict[str, Any], ...]
    pairs: tuple[dict[str, Any], ...]
    designs: tuple[dict[str, Any], ...]
    preregistration: str | None
    manifest_sha256: str
    file_problems: tuple[str, ...]

    @property
    def preregistered(self) -> dict[str, Any]:
        """The preregistration as a document; empty without one, or if it is not JSON."""
        try:
            found = json.loads(self.preregistration or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def table(self) -> str:
        """The file of the votes table, or of the triplets table of a fidelity study."""
        return TRIPLETS if (self.folder / TRIPLETS).is_file() else VOTES

    @property
    def design(self) -> dict[str, Any]:
        """The design that is in force, the newest."""
        return dict(json.loads(self.designs[-1]["design"]))


def read_evidence(folder: Path) -> Evidence:
    """The evidence in a folder; InputError if a file is missing or is not what it should be."""
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} has no {MANIFEST}; give a folder that `qsched study evidence` wrote")
    tables = [name for name in (VOTES, TRIPLETS) if (folder / name).is_file()]
    if len(tables) == 2:
        raise InputError(f"{folder} has {VOTES} and {TRIPLETS}; the evidence of one study has one of them")
    missing = [name for name in REQUIRED if not (folder / name).is_file()] + ([] if tables else [VOTES])
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}; an audit needs every file of the evidence")
    manifest = (folder / MANIFEST).read_bytes()
    chain = _object(folder / "chain.json", ("schema_version", "study", "salt", "head", "votes"))
    if chain["schema_version"] != 1:
        raise InputError(
            f"{folder / 'chain.json'} has schema_version {chain['schema_version']!r}; this version reads 1"
        )
    lines = tuple(
        Line(line["position"], line["leaf"], line["surplus"], line["excluded"], line["row"])
        for line in _lines(folder / "rows.jsonl", ("position", "leaf", "surplus", "excluded", "row"))
    )
    for line in lines:
        if not (line.row is None or isinstance(line.row, dict)):
            raise InputError(f"{folder / 'rows.jsonl'}: the row at position {line.position} is neither a vote nor null")
        if line.row is not None and line.row.keys() - {PLACES_FIELD} != set(ROW_FIELDS):
            raise InputError(f"{folder / 'rows.jsonl'}: the vote at position {line.position} has other fields")
    preregistration = folder / PREREGISTRATION
    return Evidence(
        folder=folder,
        study=str(chain["study"]),
        salt=str(chain["salt"]),
        head=str(chain["head"]),
        votes=int(chain["votes"]),
        lines=lines,
        seals=_lines(folder / "seals.jsonl", ("votes", "head", "sealed_ms")),
        excluded=_lines(folder / "excluded.jsonl", ("annotator", "excluded_ms", "reason")),
        pairs=_lines(folder / "pairs.jsonl", ("pair_id", "first_arm", "second_arm")),
        designs=_lines(folder / "designs.jsonl", ("version", "design")),
        preregistration=preregistration.read_bytes().decode(errors="replace") if preregistration.is_file() else None,
        manifest_sha256=sha256(manifest),
        file_problems=tuple(_compare_files(folder, manifest)),
    )


def _compare_files(folder: Path, manifest: bytes) -> list[str]:
    try:
        listed: dict[str, str] = dict(json.loads(manifest)["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / MANIFEST} is not a list of files ({error}); get the folder again") from error
    problems = [f"{name} is listed in {MANIFEST} and missing" for name in listed if not (folder / name).is_file()]
    problems += [
        f"{name} is not the file that {MANIFEST} lists: it was changed after the study was opened"
        for name, digest in listed.items()
        if (folder / name).is_file() and sha256((folder / name).read_bytes()) != digest
    ]
    unlisted = sorted({*REQUIRED, VOTES, TRIPLETS, PREREGISTRATION, LOOKS} - set(listed))
    problems += [f"{name} is not listed in {MANIFEST}" for name in unlisted if (folder / name).is_file()]
    return problems


def _object(path: Path, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from error
    if not isinstance(found, dict) or not set(fields) <= found.keys():
        raise InputError(f"{path} lacks one of the fields {', '.join(fields)}")
    return found


def _lines(path: Path, fields: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
    found = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}:{number} is not JSON ({error})") from error
        if not isinstance(line, dict) or not set(fields) <= line.keys():
            raise InputError(f"{path}:{number} lacks one of the fields {', '.join(fields)}")
        found.append(line)
    return tuple(found)
