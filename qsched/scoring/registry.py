"""Scorers by name. Weights are loaded once: the same name, weights and device give the same object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from qsched.errors import InputError
from qsched.scoring import structural, visible_difference
from qsched.scoring.outside import OutsideScorer, check_place, is_outside, load_outside
from qsched.scoring.protocol import Scorer, ScorerInfo
from qsched.scoring.pyiqa_scorer import PREFIX, PyiqaReference, PyiqaScorer, check_listed, needs_reference
from qsched.scoring.reference_metrics import Lpips, Psnr, ReferenceMetric, Ssim
from qsched.scoring.steady import steady
from qsched.scoring.visible_difference import DEFAULT_DISPLAY, load_visible_difference

REWARDS = ("image-reward", "hpsv3", "mps", "vqascore")
SCORERS = (
    *("clipscore", "clipscore:100", "clipscore:log", "clip-iqa", "aq-map", "hpsv2.1", "pickscore"),
    *REWARDS,
    "tiny-check",
)
REFERENCE_METRICS = ("psnr", "ssim", "lpips", "dreamsim", *structural.NAMES, *visible_difference.NAMES)
TERMS = ("jaq", "tc", "iq")  # what a calibration keeps its own values under
WITH_WEIGHTS = (*(name for name in SCORERS if name != "tiny-check"), "lpips", "dreamsim")


def load_scorer(name: str, *, weights: str | None = None, device: str = "cpu", batch_size: int | None = None) -> Scorer:
    """A scorer of images against prompts, or of images alone.

    `weights`: a folder, a shipped model's name or a pinned hub id (see weights.py); the default is the
    published model of that scorer. A name may be one from outside (see outside.py). Raises InputError for an unknown
    name.
    """
    return _load_scorer(name, weights, device, batch_size)


@lru_cache(maxsize=16)
def _load_scorer(name: str, weights: str | None, device: str, batch_size: int | None) -> Scorer:
    if is_outside(name):
        return _load_outside_scorer(name, weights, device)
    options: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
    if name.startswith(PREFIX):
        _no_weights(name, weights)
        return steady(PyiqaScorer(name.removeprefix(PREFIX), device=device, **options))
    if name == "tiny-check":
        from qsched.scoring.tiny_check import TinyCheck

        _no_weights(name, weights)
        return TinyCheck(**options)
    options["device"] = device
    if weights is not None:
        options["weights"] = weights
    if name in ("clipscore", "clip-iqa"):
        from qsched.scoring.clip_scorers import ClipIqa, ClipScore

        return (ClipScore if name == "clipscore" else ClipIqa)(**options)
    if name in ("clipscore:100", "clipscore:log"):
        from qsched.scoring.clip_scorers import ClipScore100

        return ClipScore100(log=name == "clipscore:log", **options)
    if name == "aq-map":
        from qsched.scoring.aq_map import AqMap

        return AqMap(**options)
    if name in ("hpsv2.1", "pickscore"):
        from qsched.scoring.preference_scorers import HpsV21, PickScore

        return (HpsV21 if name == "hpsv2.1" else PickScore)(**options)
    if name in REWARDS:
        return _load_reward(name, options)
    raise InputError(
        f"scorer {name!r} is unknown; choose one of {', '.join(SCORERS)}, {PREFIX}<metric>, or name your own, "
        "file.py:Class"
    )


def _load_outside_scorer(name: str, weights: str | None, device: str) -> Scorer:
    made = _load_outside(name, weights, device)
    if not isinstance(made, OutsideScorer):
        raise InputError(f"{name} compares a picture with its twin; here a scorer of pictures and prompts is needed")
    return _steady_outside(name, weights, device)


@lru_cache(maxsize=16)
def _steady_outside(name: str, weights: str | None, device: str) -> Scorer:
    made = _load_outside(name, weights, device)
    assert isinstance(made, OutsideScorer)
    return steady(made)


def _load_reward(name: str, options: dict[str, Any]) -> Scorer:
    """A model of people's preferences that needs transformers; those that score one picture at a time have no batch."""
    if name == "image-reward":
        from qsched.scoring.image_reward import ImageReward

        return ImageReward(**options)
    options.pop("batch_size", None)
    if name == "hpsv3":
        from qsched.scoring.hpsv3 import HpsV3

        return HpsV3(**options)
    if name == "mps":
        from qsched.scoring.mps import Mps

        return Mps(**options)
    from qsched.scoring.vqascore import VqaScore

    return VqaScore(**options)


@lru_cache(maxsize=16)
def _load_outside(name: str, weights: str | None, device: str) -> OutsideScorer | ReferenceMetric:
    return load_outside(name, weights=weights, device=device, taken=(*SCORERS, *REFERENCE_METRICS, *TERMS))


def load_reference_metric(
    name: str, *, weights: str | None = None, device: str = "cpu", display: str = DEFAULT_DISPLAY
) -> ReferenceMetric:
    """A metric of an image against its twin: one of REFERENCE_METRICS or pyiqa:<full-reference metric>."""
    if name == "lpips":
        return Lpips(weights, device=device)
    if name == "dreamsim":
        from qsched.scoring.dreamsim_metric import DreamSim

        return DreamSim(weights, device=device)
    _no_weights(name, weights)
    if name == "psnr":
        return Psnr()
    if name == "ssim":
        return Ssim()
    if name in structural.NAMES:
        return structural.Structural(name)
    if name in visible_difference.NAMES:
        return load_visible_difference(name, display=display, device=device)
    if name.startswith(PREFIX):
        return PyiqaReference(name.removeprefix(PREFIX), device=device)
    raise InputError(f"reference metric {name!r} is unknown; choose {', '.join(REFERENCE_METRICS)} or {PREFIX}<metric>")


def parse_metrics(names: str) -> list[str]:
    """The names of a comma-separated list; InputError for an empty one or one named twice."""
    wanted = [name.strip() for name in names.split(",")]
    if not all(wanted):
        raise InputError(f"metrics {names!r} hold an empty name; write names with a comma between: clipscore,clip-iqa")
    doubled = sorted({name for name in wanted if wanted.count(name) > 1})
    if doubled:
        raise InputError(f"metrics {names!r}: {doubled[0]} is named twice; name it once")
    return wanted


def compares_with_twin(name: str) -> bool:
    """Whether a metric is of a picture against its twin in the baseline arm; loads nothing but pyiqa's list."""
    return name in REFERENCE_METRICS or (name.startswith(PREFIX) and needs_reference(name.removeprefix(PREFIX)))


def check_metric(name: str, *, twins: bool = True) -> None:
    """InputError for a metric that is unknown; no weights are loaded, and a package that is not here is not asked.

    twins    also metrics of a picture against its twin
    """
    choices = (*SCORERS, *(REFERENCE_METRICS if twins else ()))
    if is_outside(name):
        check_place(name)
    elif name.startswith(PREFIX):
        check_listed(name.removeprefix(PREFIX))
    elif name not in choices:
        what = "metric" if twins else "scorer"
        raise InputError(
            f"{what} {name!r} is unknown; choose one of {', '.join(choices)}, {PREFIX}<metric>, or name your own, "
            "file.py:Class"
        )


def load_metrics(
    names: str,
    *,
    weights: dict[str, str],
    device: str = "cpu",
    also: Sequence[str] = (),
    display: str = DEFAULT_DISPLAY,
) -> tuple[list[Scorer], list[ReferenceMetric]]:
    """(scorers, reference metrics) of a comma-separated list.

    `also` are scorers that somebody else loads from the same weights; `display` is where cvvdp and flip imagine the
    pictures (a key of visible_difference.DISPLAYS). Raises InputError for an unknown name, a name
    twice and weights of a scorer that is not in use.
    """
    wanted = parse_metrics(names)
    for name in weights:
        if name not in (*wanted, *also):
            raise InputError(
                f"weights are given for {name!r}, which is not among the metrics {', '.join(wanted)}; add it to them "
                "or leave its weights out"
            )
    for name in wanted:
        check_metric(name)
    scorers: list[Scorer] = []
    references: list[ReferenceMetric] = []
    for name in wanted:
        if is_outside(name):
            made = _load_outside(name, weights.get(name), device)
            if isinstance(made, ReferenceMetric):
                references.append(made)
            else:
                scorers.append(_steady_outside(name, weights.get(name), device))
        elif compares_with_twin(name):
            references.append(load_reference_metric(name, weights=weights.get(name), device=device, display=display))
        else:
            scorers.append(load_scorer(name, weights=weights.get(name), device=device))
    check_names([*(one.info for one in scorers), *(one.info for one in references)])
    return scorers, references


def check_names(infos: Sequence[ScorerInfo]) -> None:
    """InputError for two scorers of one name: values are kept by name, and one would take the other's place."""
    known: dict[str, ScorerInfo] = {}
    for info in infos:
        other = known.setdefault(info.name, info)
        if other != info:
            raise InputError(
                f"two scorers call themselves {info.name!r} ({other.version}; {info.version}); give one of them "
                "another name, or leave it out"
            )


def parse_weights(items: Sequence[str]) -> dict[str, str]:
    """`scorer=path` options as a map; InputError for one without the equals sign, an unknown name, or a name twice."""
    weights: dict[str, str] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not (name and equals and path):
            raise InputError(f"--weights {item!r}; write scorer=path, for example clipscore=tiny-clip")
        if name not in WITH_WEIGHTS and not is_outside(name):
            raise InputError(f"--weights {item!r}: {name!r} takes no weights; choose one of {', '.join(WITH_WEIGHTS)}")
        if name in weights:
            raise InputError(f"--weights names {name!r} twice, {weights[name]!r} and {path!r}; give it once")
        weights[name] = path
    return weights


def _no_weights(name: str, weights: str | None) -> None:
    if weights is not None:
        raise InputError(f"{name} takes no weights, but {weights!r} was given; leave them out")
