"""Which extra brings which package: a missing package is named together with the line that installs it.

`pip install qsched` brings the commands; what a command needs beyond that comes with an extra.
"""

from __future__ import annotations

from types import TracebackType

from qsched.errors import MissingExtraError

#: By import name: the extras that bring the package.
EXTRAS: dict[str, tuple[str, ...]] = {
    "torch": ("generate", "score"),
    "diffusers": ("generate",),
    "transformers": ("generate",),
    "accelerate": ("generate",),
    "peft": ("lora",),
    "safetensors": ("generate",),
    "sentencepiece": ("generate",),
    "torchao": ("generate",),
    "bitsandbytes": ("generate",),
    "open_clip": ("score",),
    "lpips": ("score",),
    "pycvvdp": ("score",),
    "ssimulacra2": ("score",),
    "pyiqa": ("pyiqa",),
    "optuna": ("optuna",),
    "piq": ("score",),
    "spacy": ("aq-map",),
    "dreamsim": ("dreamsim",),
    "ray": ("ray",),
    "gguf": ("gguf",),
    "qsched_tiny_models": ("tiny",),
    "fastapi": ("server",),
    "starlette": ("server",),
    "uvicorn": ("server",),
    "alembic": ("server",),
    "psycopg": ("server",),
    "filelock": ("server",),
    "httpx": ("client", "server"),
    "flip_evaluator": ("fidelity", "score"),
    "sqlalchemy": ("server", "analysis"),
    "polars": ("server", "analysis"),
    "pyarrow": ("server", "analysis"),
    "scipy": ("generate", "score", "analysis"),
    "matplotlib": ("score", "analysis"),
}
#: By the package of ours that wanted the import: the extra that is meant if several bring it. The longest name counts.
_WANTED_BY = {
    "analysis": "analysis",
    "study_server": "server",
    # Their names in the wheel.
    "qsched.analysis": "analysis",
    "qsched.study_server": "server",
    "qsched.client": "client",
    "qsched.scoring": "score",
    "qsched": "generate",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The extra that brings the module which could not be imported; None if no extra of ours does."""
    module = (error.name or "").split(".")[0]
    extras = EXTRAS.get(module)
    if extras is None:
        return None
    wanted = _wanted_by(error.__traceback__)
    return MissingExtraError(module, wanted if wanted in extras else extras[0])


def _wanted_by(trace: TracebackType | None) -> str:
    """The extra of our package that failed to import something: that of the last frame that belongs to one."""
    wanted = ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        ours = [package for package in _WANTED_BY if name == package or name.startswith(f"{package}.")]
        wanted = _WANTED_BY[max(ours, key=len)] if ours else wanted
        trace = trace.tb_next
    return wanted
