"""Import the model libraries without the packages that a run does not use, in a process of ours (`qsched.process`).

diffusers and transformers import peft, bitsandbytes and torchao wherever they are installed, and bitsandbytes and
torchao import torch's compiler. Our arms call bitsandbytes and torchao themselves, so the two libraries need to know
them only for a model that was saved quantized, and peft only for an adapter. For any other model these packages are
hidden while the libraries are imported (`sys.modules[name] = None`, as Python defines it) and can be imported
afterwards. So are scipy (for two kinds of schedules), torchvision (for processors of pictures) and boto3 (for the
setup of accelerate) if the model's folder shows no use for them. Whatever the libraries cannot do then, they refuse.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from qsched.backbones.spec import BackboneSpec
from qsched.process import is_our_own

_OPTIONAL = ("bitsandbytes", "peft", "torchao", "boto3")
_MODULES = ("qsched.backbones.load", "transformers.modeling_utils")


def import_model_libraries(spec: BackboneSpec) -> None:
    """Import torch, diffusers and transformers for this model. Does nothing in a process that is not ours."""
    if not is_our_own() or "diffusers" in sys.modules:
        return
    with _without_collection(), _hidden(unused_packages(spec)):
        for name in _MODULES:
            import_module(name)


def unused_packages(spec: BackboneSpec) -> tuple[str, ...]:
    """The packages that the libraries would import for nothing."""
    if may_need_all(spec):
        return ()
    schedulers = [path.read_bytes() for path in Path(spec.source).glob("scheduler*/scheduler_config.json")]
    schedulers.append(json.dumps(spec.scheduler).encode())
    needs_scipy = any(sign in one for one in schedulers for sign in (b"LMSDiscrete", b'"use_beta_sigmas": true'))
    needs_torchvision = any(Path(spec.source).glob("*/*processor_config.json"))
    return (*_OPTIONAL, *(() if needs_scipy else ("scipy",)), *(() if needs_torchvision else ("torchvision",)))


def may_need_all(spec: BackboneSpec) -> bool:
    """True for a model with an adapter, or one that was saved quantized, or whose files may not be here yet."""
    if spec.loras or not spec.is_local:
        return True
    folder = Path(spec.source)
    return any(folder.glob("*/adapter_config.json")) or any(
        b"quantization_config" in path.read_bytes() for path in folder.glob("*/config.json")
    )


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """The packages look as if they were not installed; those that are imported already stay."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: the import system's own mark
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextmanager
def _without_collection() -> Iterator[None]:
    """Imports make a million objects that stay: they are not searched for garbage, neither now nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        # At its end the interpreter lets go of everything; some libraries complain about what is left.
        atexit.register(gc.unfreeze)
