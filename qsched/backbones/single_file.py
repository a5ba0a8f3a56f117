"""A checkpoint in one file, as ComfyUI and others keep them, to a diffusers folder: once, without a connection.

A file has the weights of a denoiser, often those of the VAE and text encoders too, and no configuration. That comes
from a diffusers folder of the same model, which may be without weights; what the file lacks is taken from there.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from qsched.backbones.components import load_modules, module_classes
from qsched.backbones.errors import BackboneError
from qsched.backbones.families import family_of
from qsched.backbones.find import DEFAULTS_NAME
from qsched.backbones.index import INDEX_NAME, check_folder, component_classes, pipeline_class
from qsched.backbones.load import denoiser_name

_TEXTS = ("cond_stage_model.", "conditioner.", "text_encoders.", "te.")
_VAE = ("first_stage_model.", "vae.")
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Converted:
    """What became of a file.

    from_file, from_config    components by where their weights come from
    used, there               weights of the components that came from the file, and all weights of the file
    """

    folder: Path
    from_file: tuple[str, ...]
    from_config: tuple[str, ...]
    dtype: torch.dtype
    used: int
    there: int


def convert_single_file(file: Path, config: Path, out: Path) -> Converted:
    """Write the checkpoint as a diffusers folder `out`, in the dtype of its file.

    BackboneError, before anything is read, for what the configuration lacks, a component whose weights are in neither,
    or an `out` that is there; and for weights that do not fit.
    """
    kind = _checked(file, config, out)
    tensors, dtype = _header(file)
    classes = {name: cls for name, cls in module_classes(config).items() if name != "safety_checker"}
    own = tuple(name for name in classes if _is_in_file(name, classes, kind, tensors))
    rest = tuple(name for name in classes if name not in own)
    lacking = [name for name in rest if not any((config / name).glob("*.safetensors"))]
    if lacking:
        raise BackboneError(
            f"{file.name} has no weights of the {' and '.join(lacking)}, and {config} has none either; put a "
            f"*.safetensors of it into {config / lacking[0]}"
        )
    parts = load_modules(config, dtype=dtype, variant=None, leave_out=frozenset(module_classes(config)) - set(rest))
    try:
        pipeline = getattr(diffusers, kind).from_single_file(
            str(file), config=str(config), torch_dtype=dtype, local_files_only=True, safety_checker=None, **parts
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(
            f"{file} does not load as the {kind} that {config} describes: {reason}. Give the configuration of the "
            "model that the file belongs to"
        ) from error
    _check_whole(pipeline, own, file)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".qsched-") as name:
        made = Path(name) / out.name
        pipeline.save_pretrained(made)
        if (config / DEFAULTS_NAME).is_file():
            shutil.copyfile(config / DEFAULTS_NAME, made / DEFAULTS_NAME)
        made.rename(out)
    used = sum(parameter.numel() for name in own for parameter in getattr(pipeline, name).parameters())
    return Converted(out, own, rest, dtype, used, sum(tensors.values()))


def _checked(file: Path, config: Path, out: Path) -> str:
    """The pipeline's class; BackboneError for what can be refused by looking at names."""
    if not file.is_file() or file.suffix != ".safetensors":
        raise BackboneError(
            f"{file} is not a .safetensors file on this machine; other formats can run code, convert them"
        )
    if not (config / INDEX_NAME).is_file():
        raise BackboneError(
            f"--config {config} has no {INDEX_NAME}; give a diffusers folder of the same model, which needs no "
            "weights: `hf download ORG/NAME --revision COMMIT --exclude '*.safetensors' '*.bin' --local-dir FOLDER`"
        )
    check_folder(config, str(config))
    if not hasattr(getattr(diffusers, pipeline_class(config), None), "from_single_file"):
        raise BackboneError(
            f"{pipeline_class(config)} cannot be read from a single file by diffusers; use a folder of it"
        )
    classes = module_classes(config)
    missing = []
    for name in component_classes(config):
        if name == "safety_checker":
            continue
        wanted = "scheduler_config.json" if name == "scheduler" else "config.json" if name in classes else "*"
        if not any((config / name).glob(wanted)):
            missing.append(f"{name}/{wanted}")
    if missing:
        raise BackboneError(f"{config} lacks {', '.join(missing)}, which its {INDEX_NAME} names; download them too")
    if out.exists():
        raise BackboneError(f"--out {out} is there already; choose a new folder, or remove it")
    if not out.parent.is_dir():
        raise BackboneError(f"--out {out}: the folder {out.parent} does not exist; create it first")
    return pipeline_class(config)


def _header(file: Path) -> tuple[dict[str, int], torch.dtype]:
    """Weights of each tensor, and the dtype that most of them have."""
    sizes: dict[str, int] = {}
    dtypes: dict[str, int] = {}
    try:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  # not a mapping
                part = opened.get_slice(name)
                sizes[name] = torch.Size(part.get_shape()).numel()
                dtypes[part.get_dtype()] = dtypes.get(part.get_dtype(), 0) + sizes[name]
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"{file} cannot be read as safetensors: {error}; download it again") from error
    common = max(dtypes, key=lambda name: dtypes[name], default="none")
    if common not in _DTYPES:
        raise BackboneError(
            f"{file} holds weights as {common}, which is quantized already; use the file in {', '.join(_DTYPES)}"
        )
    return sizes, _DTYPES[common]


def _is_in_file(name: str, classes: dict[str, Any], kind: str, tensors: dict[str, int]) -> bool:
    if name == denoiser_name(family_of(kind), classes):
        return True
    prefixes = _TEXTS if name.startswith("text_encoder") else _VAE if name == "vae" else ()
    return bool(prefixes) and any(tensor.startswith(prefixes) for tensor in tensors)


def _check_whole(pipeline: Any, names: tuple[str, ...], file: Path) -> None:
    for name in names:
        module: nn.Module = getattr(pipeline, name)
        empty = [tensor for tensor, parameter in module.named_parameters() if parameter.is_meta]
        if empty:
            raise BackboneError(f"{file} lacks {len(empty)} tensors of the {name} (for example {empty[0]})")
