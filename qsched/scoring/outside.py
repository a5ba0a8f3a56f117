"""Scorers that are not ours: `file.py:Name`, `package.module:Name`, or an entry point of the group `qsched.scorers`.

`Name` is a class or function that makes a scorer: a BatchedScorer (pictures and prompts), a ReferenceMetric (a picture
against its twin), or anything with the attributes of the Scorer protocol. It is called with those of the keywords
`weights` (the text after `--weights name=`) and `device` that its signature has. docs/add-a-scorer.md has an example.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from qsched.errors import InputError
from qsched.scoring.protocol import Scorer, ScorerInfo, checked_scores, image_labels, same_length
from qsched.scoring.pyiqa_scorer import PREFIX
from qsched.scoring.reference_metrics import ReferenceMetric

GROUP = "qsched.scorers"


class OutsideScorer:
    """Keeps the contract of a scorer round one that may not: one finite float for each picture."""

    def __init__(self, scorer: Scorer, info: ScorerInfo) -> None:
        self._scorer = scorer
        self._info = info

    @property
    def info(self) -> ScorerInfo:
        return self._info

    def score(
        self, images: Sequence[Image.Image], prompts: Sequence[str], *, names: Sequence[str] | None = None
    ) -> list[float]:
        """One finite float per image, in order; raises ScoringError that names the image that failed."""
        same_length(self._info.name, images=images, prompts=prompts)
        labels = image_labels(images, names)
        if not labels:
            return []
        return checked_scores(self._info.name, self._scorer.score(images, prompts, names=names), labels)

    def count_unread(self, prompts: Sequence[str]) -> int:
        """How many of the prompts are longer than the scorer reads."""
        return self._scorer.count_unread(prompts)


OURS_WITH_COLON = ("clipscore:100", "clipscore:log")  # scales of a scorer of ours


def is_outside(name: str) -> bool:
    """Whether a name is not one of ours by its form, or belongs to an installed entry point."""
    if name in OURS_WITH_COLON:
        return False
    return (":" in name and not name.startswith(PREFIX)) or name in _installed()


def check_place(name: str) -> None:
    """InputError for a scorer in a file that does not exist; nothing is imported."""
    place = name.rpartition(":")[0]
    if place.endswith(".py") and not Path(place).is_file():
        raise InputError(f"scorer {name}: {place} does not exist; write file.py:Class, or package.module:Class")


def load_outside(
    name: str, *, weights: str | None, device: str, taken: Sequence[str] = ()
) -> OutsideScorer | ReferenceMetric:
    """The scorer of that name; InputError if it cannot be made or breaks the contract. `taken` are names of ours."""
    factory, source = _find(name)
    made = _make(name, factory, weights=weights, device=device)
    info = getattr(made, "info", None)
    if not isinstance(info, ScorerInfo):
        raise InputError(f"scorer {name}: its `info` is {type(info).__name__}, not a qsched.scoring.ScorerInfo")
    if info.name in taken:
        raise InputError(f"scorer {name} calls itself {info.name!r}, the name of one of ours; give it another")
    if not info.name or "," in info.name:
        raise InputError(f"scorer {name} calls itself {info.name!r}; a name has a character and no comma")
    info = replace(info, version=f"{info.version}; {source}")
    if isinstance(made, ReferenceMetric):
        made.info = info
        return made
    if not isinstance(made, Scorer) or info.kind == "reference":
        raise InputError(
            f"scorer {name} made a {type(made).__name__} of kind {info.kind!r}; derive it from BatchedScorer (kinds "
            "text and image) or from ReferenceMetric (kind reference)"
        )
    return OutsideScorer(made, info)


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _find(name: str) -> tuple[Callable[..., Any], str]:
    """What makes the scorer, and where it is from."""
    point = _installed().get(name)
    if point is not None:
        distribution = point.dist
        source = point.value if distribution is None else f"{distribution.name} {distribution.version}"
        place, attribute = point.value.split(":", 1) if ":" in point.value else (point.value, "")
    else:
        place, _, attribute = name.rpartition(":")
        source = place
    if place.endswith(".py"):
        module, source = _load_file(name, Path(place))
    else:
        module = _load_module(name, place)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise InputError(f"scorer {name}: {place} has no class or function {attribute!r}")
    return factory, source


def _load_file(name: str, path: Path) -> tuple[ModuleType, str]:
    check_place(name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = spec_from_file_location(f"qsched_scorer_{digest[:12]}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"scorer {name}: {path} is not a Python file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"scorer {name}: {path} does not load: {type(error).__name__}: {error}") from error
    return module, f"{path.name} sha256 {digest[:16]}"


def _load_module(name: str, place: str) -> ModuleType:
    try:
        return import_module(place)
    except ImportError as error:
        raise InputError(
            f"scorer {name}: {place} cannot be imported ({error}); install it, or name the file: file.py:Class"
        ) from error


def _make(name: str, factory: Callable[..., Any], *, weights: str | None, device: str) -> Any:
    known = inspect.signature(factory).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    if weights is not None and "weights" not in known and not takes_all:
        raise InputError(f"scorer {name} takes no weights, but {weights!r} was given; leave them out")
    options: dict[str, str] = {"device": device} if "device" in known or takes_all else {}
    if weights is not None:
        options["weights"] = weights
    try:
        return factory(**options)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"scorer {name} cannot be made: {type(error).__name__}: {error}") from error
