"""What a model is: a hash of every byte of its tensors, and of the configuration that changes its pictures.

The tensors are hashed one by one, so the same model has the same identity in one file or in several, in a folder or
from the hub. Reading 24 GB takes a while: the tensor hashes of a file are remembered in the user's cache folder by
path, size, inode and times, and read again when one of these changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from qsched.backbones.errors import BackboneError
from qsched.backbones.spec import BackboneSpec, Lora
from qsched.files import WriteError, write_atomic

_CHUNK = 16 * 2**20
_MAX_HEADER = 100 * 2**20  # the limit of the safetensors format itself
# Written by whoever saved the model: it says nothing about the pictures.
_ABOUT_SAVING = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype", "architectures")
_NOT_WHOLE = (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error)
_VOCABULARIES = (".model", ".txt", ".jinja", ".tiktoken")
_ADAPTER_METADATA = "lora_adapter_metadata"  # as diffusers writes it: alpha and rank


def model_identity(folder: Path) -> str:
    """SHA-256 of a diffusers folder: every tensor by component and name, then configurations and vocabularies.

    Files beside the components (training records, defaults, shipped coefficients) do not count. Raises BackboneError
    for a safetensors file that cannot be read.
    """
    digest = hashlib.sha256()
    for line in sorted((*_tensor_lines(folder), *_configuration_lines(folder))):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def identity_of(spec: BackboneSpec) -> str | None:
    """The identity of a model before it is loaded; None if some of its files are not in a folder of the user's."""
    if not spec.is_local or any(lora.file is not None for lora in spec.loras):
        return None
    return loaded_identity(Path(spec.source), spec, [(lora, Path(lora.source)) for lora in spec.loras])


def loaded_identity(folder: Path, spec: BackboneSpec, loras: Iterable[tuple[Lora, Path]]) -> str:
    """The identity of a folder's model as a spec loads it, with its adapters, variant and scheduler."""
    lines = [f"lora {lora.scale!r} {lora_digest(path)}" for lora, path in loras]
    lines += [f"variant {spec.variant}"] if spec.variant is not None else []
    lines += [f"scheduler {json.dumps(spec.scheduler, sort_keys=True)}"] if spec.scheduler is not None else []
    identity = model_identity(folder)
    return identity if not lines else hashlib.sha256("\n".join([identity, *lines]).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of every tensor of a safetensors file, by name."""
    lines = sorted(f"{name} {digest}" for name, digest in tensor_digests(path).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def lora_digest(path: Path) -> str:
    """SHA-256 of an adapter: its tensors, and alpha and rank if the file's header states them."""
    metadata = _read_header(path).get("__metadata__", {}).get(_ADAPTER_METADATA)
    digest = file_digest(path)
    return digest if metadata is None else hashlib.sha256(f"{digest} {metadata}".encode()).hexdigest()


def tensor_digests(path: Path) -> dict[str, str]:
    """Tensor name -> SHA-256 of its dtype, shape and bytes, for one safetensors file; from the cache if it is there."""
    real = path.resolve()
    stat = real.stat()
    stamp = [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    cached = _cache_path(real)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(cached.read_text(encoding="utf-8"))
        if known["stamp"] == stamp:
            return dict(known["tensors"])
    tensors = dict(_hash_file(real))
    with contextlib.suppress(WriteError):  # a cache that cannot be written only costs time
        write_atomic(cached, json.dumps({"stamp": stamp, "tensors": tensors}).encode(), parents=True)
    return tensors


def _tensor_lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*/*.safetensors")):
        for name, digest in tensor_digests(path).items():
            yield f"tensor {path.parent.name} {name} {digest}"


def _configuration_lines(folder: Path) -> Iterator[str]:
    index = _read_json(folder / "model_index.json")
    components = {name: value for name, value in index.items() if isinstance(value, list) and value[:1] != [None]}
    yield f"pipeline {index.get('_class_name')} {json.dumps(components, sort_keys=True)}"
    for path in sorted(folder.glob("*/*")):
        place = f"{path.parent.name}/{path.name}"
        if path.suffix == ".json" and path.name != "training.json" and not path.name.endswith(".index.json"):
            settings = {name: v for name, v in _read_json(path).items() if name not in _ABOUT_SAVING}
            yield f"configuration {place} {json.dumps(settings, sort_keys=True)}"
        elif path.suffix in _VOCABULARIES:
            yield f"vocabulary {place} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read as JSON: {error}; save or download the model again") from error
    return data if isinstance(data, dict) else {"": data}


def _hash_file(path: Path) -> Iterator[tuple[str, str]]:
    """Name and digest of every tensor; the format is an 8-byte length, a JSON header, and the bytes."""
    try:
        with path.open("rb") as file:
            length, header = _header(file)
            header.pop("__metadata__", None)
            for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
                first, last = entry["data_offsets"]
                digest = hashlib.sha256(f"{entry['dtype']} {entry['shape']} ".encode())
                file.seek(8 + length + first)
                remaining = last - first
                while remaining:
                    chunk = file.read(min(_CHUNK, remaining))
                    if not chunk:
                        raise ValueError(f"tensor {name} ends {remaining} bytes early")
                    digest.update(chunk)
                    remaining -= len(chunk)
                yield name, digest.hexdigest()
    except _NOT_WHOLE as error:
        raise _not_whole(path, error) from error


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return _header(file)[1]
    except _NOT_WHOLE as error:
        raise _not_whole(path, error) from error


def _header(file: IO[bytes]) -> tuple[int, dict[str, Any]]:
    """Length and content of a safetensors file's header."""
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MAX_HEADER:
        raise ValueError(f"a header of {length} bytes")
    return length, dict(json.loads(file.read(length)))


def _not_whole(path: Path, error: Exception) -> BackboneError:
    return BackboneError(f"{path} is not a whole safetensors file ({error}); download or save it again")


def _cache_path(path: Path) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "qsched" / "tensors" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
