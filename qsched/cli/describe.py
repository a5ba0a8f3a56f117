"""What a file or folder of ours is: recognised by its content, described in (label, words) lines."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qsched.errors import InputError, QschedError
from qsched.locations import Location, RemotePath

Lines = list[tuple[str, str]]
_TABLES = (".parquet", ".csv", ".jsonl", ".gz")
_SQLITE = b"SQLite format 3\0"


def describe(path: Location) -> Lines:
    """The lines for a path; InputError for one that does not exist or that is none of our kinds."""
    if isinstance(path, RemotePath) or path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.name in ("manifest.json", "images.jsonl") and (path.parent / "manifest.json").is_file():
        return _image_set(path.parent)
    if _head(path) == _SQLITE:
        return _database(path)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _safetensors(path)
    if suffix == ".json":
        return _json(path)
    if suffix in (".yaml", ".yml"):
        return _yaml(path)
    if suffix in _TABLES:
        return _table(path)
    if suffix == ".txt":
        return _prompts(path)
    raise InputError(f"{path} is none of the files that qsched makes or reads; `qsched info --help` lists them")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _folder(path: Location) -> Lines:
    from qsched.generation.store import SHARDS_FOLDER

    try:
        if (path / "manifest.json").is_file():
            return _image_set(path)
        if (path / SHARDS_FOLDER).is_dir():
            shards = sorted(p.name for p in (path / SHARDS_FOLDER).iterdir() if p.is_dir())
            return [("kind", f"shards of an image set: {', '.join(shards)}"), ("next", f"qsched merge {path}")]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if isinstance(path, RemotePath):
        raise InputError(f"{path} is not an image set: it has no manifest.json. Copy another file to look at it")
    if (path / "model_index.json").is_file():
        index = _read_json(path / "model_index.json")
        size = sum(file.stat().st_size for file in path.glob("*/*.safetensors"))
        parts = ", ".join(sorted(name for name, value in index.items() if isinstance(value, list) and value[0]))
        return [
            ("kind", f"a diffusers model folder ({index.get('_class_name')}), usable as --backbone"),
            ("weights", f"{_bytes(size)} in safetensors files"),
            ("parts", parts),
        ]
    if (path / "winrates.json").is_file():
        return _json(path / "winrates.json")
    raise InputError(
        f"{path} has no manifest.json (an image set), model_index.json (a model) or winrates.json (a report)"
    )


def _image_set(folder: Location) -> Lines:
    from qsched.records import iter_rows, read_manifest

    manifest = read_manifest(folder)
    rows = list(iter_rows(folder))
    counts = Counter(row.arm for row in rows)
    shard = manifest.shard
    places = sum(map(len, shard.batches)) if shard else manifest.n_prompts * manifest.samples
    expected = len(manifest.arms) * places
    part = f"shard {shard.index} of {shard.count} of an image set" if shard else "an image set"
    state = "complete" if len(rows) == expected else "incomplete: run the same command again"
    lines = [
        ("kind", f"{part}, {manifest.set_id}, begun {manifest.created_at:%Y-%m-%d %H:%M}"),
        ("pictures", f"{len(rows)} of {expected} ({state}), {manifest.width}x{manifest.height} pixels"),
        ("backbone", f"{manifest.backbone}, {manifest.steps_words}"),
        ("pairing", manifest.pairing_note or f"by seed; the set's seed is {manifest.set_seed}"),
        ("prompts", f"{manifest.n_prompts}, samples per prompt: {manifest.samples}"),
    ]
    native = "not marked as simulated" if manifest.pairing_note else "native arithmetic"  # of another tool: not known
    for arm in manifest.arms:
        facts = [f"{counts[arm.name]} pictures", "simulated arithmetic" if arm.simulated else native]
        if arm.packed_bytes is not None:
            facts.append(f"{_bytes(arm.packed_bytes)} packed")
        if arm.same_as:
            facts.append(f"the same pictures as {arm.same_as}")
        lines.append(("arm", f"{arm.name}: {', '.join(facts)}"))
    for request in manifest.requests:
        limit = "" if request.limit is None else f", limit {request.limit}"
        lines.append(
            (
                "asked",
                f"{request.asked_at:%Y-%m-%d %H:%M}: {', '.join(request.arms)}; {request.n_prompts} prompts of "
                f"{request.prompts_file}{limit}, samples: {request.samples}, batches of {request.batch_size}",
            )
        )
    builds = {tuple(sorted(row.versions.items())) for row in rows}
    if len(builds) > 1:
        lines.append(("note", f"made in {len(builds)} environments (versions, threads or GPU)"))
    lines.append(("next", f"qsched merge {folder.parent.parent}" if shard else f"qsched verify {folder}"))
    return lines


def _json(path: Path) -> Lines:
    data = _read_json(path)
    for keys, tell in _JSON_KINDS:
        if keys <= data.keys():
            return tell(path, data)
    tables = [name for name, value in data.items() if isinstance(value, dict) and "coefficients" in value]
    if tables and len(tables) == len(data):
        return [("kind", "coefficients that come with a model, by precision"), ("precisions", ", ".join(tables))]
    return _prompts(path)


def _coefficients(path: Path, data: dict[str, Any]) -> Lines:
    from qsched.scheduling import read_calibrated

    coefficients, origin = read_calibrated(path)
    lines = [("kind", "coefficients of Q-Sched"), *((name, str(v)) for name, v in coefficients.to_dict().items())]
    if coefficients.is_identity:
        lines.append(("note", "all are 1: the stock scheduler"))
    stated = {name: value for name, value in origin.to_dict().items() if value is not None and name != "file"}
    lines.append(("made for", ", ".join(f"{k} {v}" for k, v in stated.items()) or "not stated"))
    if "qsched_bias" in data:
        lines.append(("also", "coefficients of qsched-bias, with a bias for each channel and step"))
    if "verdict" in data:
        lines.append(("verdict", str(data["verdict"])))
    return lines


def _winrates(path: Path, data: dict[str, Any]) -> Lines:
    simulated = f", {data['n_simulated']} of them simulated" if data.get("n_simulated") else ""
    annotators = "not recorded" if data.get("n_annotators") is None else str(data["n_annotators"])
    lines = [
        ("kind", f"a report of win rates: {data.get('title')}"),
        ("study", f"{data.get('study') or 'not named'}, question: {data.get('question') or 'not named'}"),
        ("votes", f"{data.get('n_votes')}{simulated}, annotators: {annotators}"),
    ]
    lines += [("finding", str(claim.get("text"))) for claim in data.get("claims", [])]
    page = path.with_name("report.html")
    return [*lines, ("page", str(page))] if page.is_file() else lines


def _metrics(_: Path, data: dict[str, Any]) -> Lines:
    scorers = ", ".join(str(one.get("name")) for one in data["scorers"])
    arms = ", ".join(str(one.get("arm")) for one in data["arms"])
    return [("kind", f"automatic metrics of {data['set_id']}"), ("arms", arms), ("scorers", scorers or "none")]


def _certificate(_: Path, data: dict[str, Any]) -> Lines:
    clauses = [("clause", f"{one.get('claim')}: {one.get('verdict')}") for one in data["clauses"]]
    votes = f"{data.get('votes_used')} used of {data.get('votes_read')}, simulated: {data.get('simulated_votes')}"
    return [("kind", f"a certificate of a fidelity study, {data.get('status')}"), ("votes", votes), *clauses]


_JSON_KINDS: tuple[tuple[set[str], Callable[[Path, dict[str, Any]], Lines]], ...] = (
    ({"coefficients"}, _coefficients),
    ({"family", "model", "sample"}, _coefficients),
    ({"pairwise", "strengths", "wording"}, _winrates),
    ({"scorers", "arms", "set_id"}, _metrics),
    ({"clauses"}, _certificate),
)


def _yaml(path: Path) -> Lines:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict) or not {"images", "questions"} & data.keys():
        return _prompts(path)
    from study_server.owner import read_design

    design, images = read_design(path)
    return [
        ("kind", f"a study: {design.title} (/s/{design.slug})"),
        ("images", str(images)),
        ("next", f"qsched study check {path}"),
    ]


def _prompts(path: Path) -> Lines:
    from qsched.generation.prompt_layouts import OWN
    from qsched.generation.prompts import layout_of, read_prompts

    try:
        layout, prompts = layout_of(path), read_prompts(path)
    except QschedError as error:
        raise InputError(f"{path} is not a file that qsched knows; read as prompts: {error}") from error
    categories = Counter(prompt.category for prompt in prompts if prompt.category)
    kind = f"{len(prompts)} prompts" + ("" if layout == OWN else f", read as {layout}")
    lines = [("kind", kind), ("first", f"{prompts[0].prompt_id}: {prompts[0].prompt:.80}")]
    if categories:
        lines.append(("categories", ", ".join(f"{name} {count}" for name, count in sorted(categories.items()))))
    return lines


def _table(path: Path) -> Lines:
    """A triplets table or a votes table, else prompts."""
    from analysis.triplets.read import layout_of, read_triplets
    from analysis.votes import open_source, read_votes
    from analysis.votes.layouts import has_shape

    source = open_source(path)
    is_triplets = False
    with contextlib.suppress(InputError):
        layout_of(source)
        is_triplets = True
    if is_triplets:
        return [("kind", f"a triplets table (a fidelity study): {read_triplets(path).frame.height} rows")]
    if not has_shape(source):
        return _prompts(path)
    votes = read_votes(path, allow_mixed=True)
    frame = votes.frame
    counts = Counter(frame["kind"].cast(str).to_list())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    simulated = int(frame["simulated"].sum())
    return [
        ("kind", f"a votes table: {frame.height} answers ({kinds})"),
        ("studies", ", ".join(votes.studies) or "not named"),
        ("simulated", "none" if not simulated else f"{simulated}: given by software, not by people"),
        ("next", f"qsched winrates {path} --out report/"),
    ]


def _database(path: Path) -> Lines:
    from study_server.db.summary import summarize_sqlite

    lines = [("kind", "a study database (SQLite)")]
    for study in summarize_sqlite(path):
        lines.append(
            (
                "study",
                f"{study.slug} ({study.status}): {study.title}; image set {study.set_id}, {study.pairs} pairs, "
                f"{study.sessions} sessions, {study.answers} answers",
            )
        )
    return lines if len(lines) > 1 else [*lines, ("study", "none yet")]


def _safetensors(path: Path) -> Lines:
    import struct

    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100 * 2**20)))
    except (OSError, struct.error, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from error
    notes = header.pop("__metadata__", None) or {}
    tensors = ("tensors", f"{len(header)}, {_bytes(path.stat().st_size)}")
    if "qsched" not in notes:
        return [("kind", "tensors in a safetensors file"), tensors]
    made = json.loads(notes["qsched"])
    return [
        ("kind", f"calibration statistics: {made.get('kind')}"),
        ("measured on", f"{made.get('n_prompts')} prompts, {made.get('steps')} steps, {made.get('dtype')}"),
        tensors,
    ]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    return data if isinstance(data, dict) else {}


def _bytes(count: int) -> str:
    from qsched.generation.sheet import megabytes

    return megabytes(count)
