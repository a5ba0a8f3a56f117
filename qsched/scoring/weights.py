"""Where a scorer's weights come from: a folder or file, a shipped model by name, or a pinned hub id.

/data/hps                              a folder (or one file) on disk
tiny-clip                              the model that ships with the package
org/name@<40 hex digits>               a hub repository at one commit; fetched once, then offline
"""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError

from qsched.errors import InputError

HUB_ID = re.compile(r"^(?:hf-hub:)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@]*))?$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
SHIPPED = ("tiny-clip",)
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".tar")
CONFIG_NAMES = (
    *("open_clip_config.json", "config.json", "tokenizer.json", "vocab.json", "merges.txt"),
    *("med_config.json", "vocab.txt", "spiece.model", "preprocessor_config.json", "adapter_config.json"),
    *("chat_template.json", "chat_template.jinja", "data_collator_qwen.py"),
)
# What the readers of checkpoints (safetensors, torch, open_clip) raise on a file or a config that is not theirs. Each
# has its own way, and none documents it: a file that a person names may not end in a traceback.
UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    ZeroDivisionError,
    pickle.UnpicklingError,
    struct.error,
    SafetensorError,
)


@dataclass(frozen=True)
class Weights:
    """Weights on disk, and the words that identify them in a record."""

    path: Path  # a folder, or a single file
    name: str  # as asked for: what a reader can type again
    identity: str  # "revision <sha>" or "sha256 <first 16 digits>": changes when the weights change


def resolve_weights(spec: str | Path, *, files: tuple[str, ...] = ()) -> Weights:
    """Find the weights that `spec` names, fetching a pinned hub id that is not on disk yet.

    `files` are the file patterns wanted from a hub repository; all of them if empty.
    Raises InputError for a name that is neither, for a hub id without a commit, and for a failed fetch.
    """
    text = str(spec)
    if text in SHIPPED:
        from qsched.tiny import model_path

        folder = Path(model_path(text))
        return Weights(folder, text, f"sha256 {weights_digest(folder)}")
    path = Path(text).expanduser()
    if path.exists():
        return Weights(path, text, f"sha256 {weights_digest(path)}")
    match = HUB_ID.match(text)
    if match is None:
        raise InputError(
            f"weights {text!r} are neither a folder or file on disk, nor one of {', '.join(SHIPPED)}, nor a hub id; "
            "give a path, or org/name@<commit>"
        )
    revision = match["revision"]
    if revision is None or COMMIT.match(revision) is None:
        raise InputError(
            f"weights {text!r} name no commit; a hub id is pinned, so that a score can be made again: "
            f"{match['repo']}@<40 hex digits of the commit>"
        )
    return Weights(_fetch(match["repo"], revision, files), text, f"revision {revision}")


def reason_of(error: BaseException) -> str:
    """An error of a checkpoint reader in one line; torch's runs to a page of advice that does not apply."""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


def _fetch(repo: str, revision: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(files) or None))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{repo}@{revision} is not on this machine and cannot be fetched ({type(error).__name__}). "
            f"On a machine with a connection: hf download {repo} --revision {revision} --local-dir FOLDER; "
            "then give that folder as the weights"
        ) from error


def _counts(file: Path) -> bool:
    """Weights, architecture and tokenizer change a score; notes on the training do not."""
    return file.is_file() and (file.suffix in WEIGHT_SUFFIXES or file.name in CONFIG_NAMES)


@lru_cache(maxsize=64)
def weights_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 over the weight and config files, by name and content."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _counts(file))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:16]
