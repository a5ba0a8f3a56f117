"""What a pipeline or scheduler class of the installed diffusers can do, read from its source. Nothing is imported.

A refusal therefore costs neither a load nor an import of torch. Read are the signature of `__call__`, the names that it
returns its result under, and whether there is a `prepare_latents`; of a scheduler the inputs of `step`.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from qsched.backbones.errors import BackboneError
from qsched.errors import MissingExtraError

# Arguments that only a class has which starts from a picture, or makes something else than pictures.
_OTHER_TASKS = {
    "strength": "starts from a picture",
    "mask_image": "fills in a part of a picture",
    "control_image": "starts from a control picture",
    "image_guidance_scale": "edits a picture",
    "controlnet_conditioning_scale": "starts from a control picture",
    "adapter_conditioning_scale": "starts from a control picture",
    "num_frames": "makes videos",
    "audio_length_in_s": "makes sounds",
}
_STEP_INPUTS = ["model_output", "timestep", "sample"]


@dataclass(frozen=True)
class PipelineCall:
    """How a pipeline class is called.

    defaults    argument -> its default if it is a literal, else None
    required    arguments without a default
    results     names under which pictures or other things are returned
    needs_image    True if there is an `image`, and no path without one
    """

    name: str
    defaults: dict[str, object]
    required: frozenset[str]
    results: frozenset[str]
    needs_image: bool
    passes_generator: bool

    def takes(self, argument: str) -> bool:
        """True if the call has an argument of that name."""
        return argument in self.defaults


def drivable_call(name: str, source: str) -> PipelineCall:
    """How the pipeline class `name` of the model `source` is called; BackboneError if it does not draw from text."""
    call = pipeline_call(name)
    if call is None:
        raise BackboneError(
            f"{source} is a {name}, which diffusers {version('diffusers')} does not have; update it (pip install -U "
            "diffusers), or give the class a family of its own (docs/backbones.md, entry point qsched.backbones)"
        )
    reason = _obstacle(call)
    if reason is not None:
        raise BackboneError(
            f"{source} is a {name}, and qsched drives pipelines that make pictures from a prompt and given noise: "
            f"{reason}. Use a folder of a text-to-image pipeline"
        )
    return call


def reads_texts_first(name: str) -> bool:
    """True if the class has its prompts encoded by its `encode_prompt`, so that the text encoders can leave then."""
    found = _class_named(name, "pipelines")
    methods = {} if found is None else _methods(found, "pipelines")
    call = methods.get("__call__")
    return call is not None and any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "self.encode_prompt" for node in ast.walk(call)
    )


def check_scheduler(name: str, source: str) -> None:
    """BackboneError for a scheduler class of diffusers whose step has not the inputs that Q-Sched scales."""
    found = _class_named(name, "schedulers")
    step = None if found is None else _methods(found, "schedulers").get("step")
    if found is None or step is None:
        raise BackboneError(
            f"{source} has the scheduler {name}, which diffusers {version('diffusers')} does not have or which has no "
            "step; put another one into its folder scheduler/ and into model_index.json"
        )
    if [a.arg for a in step.args.args[1:4]] != _STEP_INPUTS:
        raise BackboneError(
            f"{source} has the scheduler {name}, whose step has other inputs than {', '.join(_STEP_INPUTS)}: Q-Sched "
            "cannot scale them. Put another scheduler, such as FlowMatchEulerDiscreteScheduler, into its folder"
        )


@functools.cache
def pipeline_call(name: str) -> PipelineCall | None:
    """The call of a pipeline class of the installed diffusers; None if there is no such class or call."""
    found = _class_named(name, "pipelines")
    methods = {} if found is None else _methods(found, "pipelines")
    call = methods.get("__call__")
    if call is None:
        return None
    arguments = [*call.args.args[1:], *call.args.kwonlyargs]
    without = len(call.args.args) - len(call.args.defaults)
    given = [*([None] * without + call.args.defaults)[1:], *call.args.kw_defaults]
    return PipelineCall(
        name,
        {argument.arg: _literal(value) for argument, value in zip(arguments, given, strict=True)},
        frozenset(argument.arg for argument, value in zip(arguments, given, strict=True) if value is None),
        frozenset(_returned(call)),
        needs_image=any(a.arg == "image" for a in arguments) and not _knows_no_image(call),
        passes_generator="prepare_extra_step_kwargs" in methods or _step_takes_generator(call),
    )


def _obstacle(call: PipelineCall) -> str | None:
    for argument, what in _OTHER_TASKS.items():
        if call.takes(argument):
            return f"this one {what} (its call has `{argument}`)"
    for argument in ("prompt", "num_inference_steps", "generator", "output_type"):
        if not call.takes(argument):
            return f"its call has no `{argument}`"
    if not call.takes("latents"):
        return "its call has no `latents`"
    if call.needs_image:
        return "it needs a picture (its call has `image`)"
    if needed := sorted(call.required - {"prompt"}):
        return f"it needs {' and '.join(f'`{name}`' for name in needed)} besides a prompt"
    if not call.results & {"images", "image"}:
        return f"it returns {' and '.join(sorted(call.results)) or 'nothing that is named'}, not images"
    return None


@functools.cache
def _class_named(name: str, part: str) -> ast.ClassDef | None:
    path = _index(part).get(name)
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)


@functools.cache
def _index(part: str) -> dict[str, Path]:
    """Class name -> file, for `pipelines` or `schedulers` of the installed diffusers."""
    found = find_spec("diffusers")
    if found is None or found.origin is None:
        raise MissingExtraError("diffusers", "generate")
    classes: dict[str, Path] = {}
    for path in sorted((Path(found.origin).parent / part).rglob("*.py")):
        # Split, not searched line by line: there are hundreds of files, and this comes before every run.
        for beginning in (b"\n" + path.read_bytes()).split(b"\nclass ")[1:]:
            if found_name := re.match(rb"\w+", beginning):
                classes.setdefault(found_name[0].decode(), path)
    return classes


def _methods(cls: ast.ClassDef, part: str) -> dict[str, ast.FunctionDef]:
    """Methods of the class and of its bases, as far as they are in the same part of diffusers."""
    inherited: dict[str, ast.FunctionDef] = {}
    for base in reversed(cls.bases):
        parent = _class_named(base.id, part) if isinstance(base, ast.Name) else None
        inherited |= {} if parent is None else _methods(parent, part)
    return inherited | {n.name: n for n in cls.body if isinstance(n, ast.FunctionDef)}


def _literal(node: ast.expr | None) -> object:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _returned(call: ast.FunctionDef) -> set[str]:
    returns = [n.value for n in ast.walk(call) if isinstance(n, ast.Return) and isinstance(n.value, ast.Call)]
    return {keyword.arg for value in returns for keyword in value.keywords if keyword.arg is not None}


def _knows_no_image(call: ast.FunctionDef) -> bool:
    tests = [n for n in ast.walk(call) if isinstance(n, ast.Compare) and isinstance(n.left, ast.Name)]
    return any(isinstance(n.left, ast.Name) and n.left.id == "image" and _is_none(n.comparators[0]) for n in tests)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _step_takes_generator(call: ast.FunctionDef) -> bool:
    steps = [n for n in ast.walk(call) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("scheduler.step")]
    return any(keyword.arg == "generator" for step in steps for keyword in step.keywords)
