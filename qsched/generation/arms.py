"""Arms as a researcher writes them: `precision[+method[:coefficients.json]]`, separated by commas.

    fp32,w4a4,w4a4+qsched,w4a4+qsched:mine.json,w4a4+qsched-bias:mine.json

The method is `qsched` (the paper's two coefficients) or `qsched-bias` (ours, with a bias for each latent channel and
step); one file of `qsched calibrate` may hold both. Without a file an arm takes the coefficients that come with the
backbone's weights, in `qsched_coefficients.json` ({precision: {"coefficients": {...}, "provenance": {...}}}).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from qsched.backbones.spec import BackboneSpec
from qsched.errors import InputError
from qsched.precision import Recipe, find_recipe, hash_of
from qsched.records import ArmRecord
from qsched.scheduling import METHODS, CoefficientError, Coefficients, Method, Origin, calibrated_from, read_calibrated

SHIPPED_NAME = "qsched_coefficients.json"


@dataclass(frozen=True)
class Arm:
    """One way of making the images.

    coefficients   None for the stock scheduler
    origin         where the coefficients come from
    same_as        the arm that makes the same pictures: its coefficients are all 1, so they are made once and copied
    """

    name: str
    recipe: Recipe
    base_dtype: str
    coefficients: Coefficients | None = None
    origin: Origin | None = None
    same_as: str | None = None

    def record(self) -> ArmRecord:
        """The arm as the manifest keeps it before anything was measured."""
        recipe: dict[str, object] = {
            "precision": self.recipe.to_dict(),
            "base_dtype": self.base_dtype,
            "coefficients": None if self.coefficients is None else self.coefficients.to_dict(),
        }
        return ArmRecord(
            name=self.name,
            precision=self.recipe.name,
            coefficients=None if self.coefficients is None else self.coefficients.to_dict(),
            recipe=recipe,
            recipe_hash=hash_of(recipe),
            simulated=self.recipe.simulated,
            coefficients_origin=None if self.origin is None else self.origin.to_dict(),
            same_as=self.same_as,
        )


def parse_arms(text: str, spec: BackboneSpec, *, steps: int, dtype: str | None, default_dtype: str) -> tuple[Arm, ...]:
    """The arms of `--arms`, in order; InputError for one that is unknown, doubled or without coefficients.

    All arms share a base dtype, except one whose precision is a dtype. It is `dtype` if given, else that
    of the first dtype arm (`bf16,w4a8` quantizes in bf16), else `default_dtype`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"arms {text!r}: an arm is empty; write for example fp32,w4a8,w4a8+qsched")
    split = [part.partition("+") for part in parts]
    recipes = [find_recipe(precision) for precision, _, _ in split]
    _check_one_recipe_per_name(recipes)
    named = [recipe.dtype_name for recipe in recipes if recipe.dtype_name]
    base = dtype or (named[0] if named else default_dtype)
    arms = []
    for part, recipe, (_, plus, schedule) in zip(parts, recipes, split, strict=True):
        name, coefficients, origin = part, None, None
        if plus:
            method, file = _checked_method(part, recipe.name, schedule)
            if file:
                coefficients, origin = read_calibrated(Path(file), method=method)
            else:
                coefficients, origin = shipped_coefficients(spec, recipe.name, method=method)
            _check_steps(part, coefficients, steps)
            # The stem, not the path: a name travels into tables and figures.
            name = f"{recipe.name}+{method}:{Path(file).stem}" if file else part
        arms.append(Arm(name, recipe, recipe.dtype_name or base, coefficients, origin))
    names = [arm.name for arm in arms]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"arm {doubled[0]!r} is named twice; name each arm once (files of one name need renaming)")
    return tuple(replace(arm, same_as=_same_as(arm, arms)) for arm in arms)


def check_origins(
    arms: tuple[Arm, ...], spec: BackboneSpec, *, weights: str | None, steps: int, allowed: bool = False
) -> None:
    """Refuse coefficients of another model, precision or step count, unless `allowed`; `weights` None: not compared."""
    for arm in arms:
        if arm.origin is None or allowed:
            continue
        found = arm.origin.differences(backbone=spec.name, weights=weights, precision=arm.recipe.name, steps=steps)
        if found:
            raise CoefficientError(
                f"arm {arm.name!r}: the coefficients of {arm.origin.file} were calibrated for {'; '.join(found)}. "
                "Calibrate this combination with `qsched calibrate`, or pass --allow-other-coefficients"
            )


def _same_as(arm: Arm, arms: list[Arm]) -> str | None:
    """The first earlier arm that differs from this one only by coefficients that change nothing."""
    for other in arms[: arms.index(arm)]:
        alike = (other.recipe.hash, other.base_dtype) == (arm.recipe.hash, arm.base_dtype)
        if alike and _is_stock(arm) and _is_stock(other):
            return other.name
    return None


def _is_stock(arm: Arm) -> bool:
    return arm.coefficients is None or arm.coefficients.is_identity


def _checked_method(arm: str, precision: str, schedule: str) -> tuple[Method, str]:
    """(method, file or an empty text) of what follows an arm's plus sign."""
    name, colon, file = schedule.partition(":")
    method = next((method for method in METHODS if method == name), None)
    if method is None or (colon and not file):
        choices = " or ".join(f"{precision}+{method}[:coefficients.json]" for method in METHODS)
        raise InputError(f"arm {arm!r}: write {choices}")
    return method, file


def _check_one_recipe_per_name(recipes: list[Recipe]) -> None:
    """Files of the same name in two folders would be two precisions under one name."""
    hashes: dict[str, str] = {}
    for recipe in recipes:
        if hashes.setdefault(recipe.name, recipe.hash) != recipe.hash:
            raise InputError(f"precision {recipe.name!r} names two different files; rename one of the files")


def shipped_coefficients(
    spec: BackboneSpec, precision: str, *, method: Method = "qsched"
) -> tuple[Coefficients, Origin]:
    """The coefficients that come with the backbone, and their origin; InputError with the remedy if there are none."""
    remedy = (
        f"run `qsched calibrate --backbone {spec.name} --precision {precision} --prompts calibration --out c.json` "
        f"and write {precision}+{method}:c.json"
    )
    if not spec.is_local:
        raise InputError(f"arm {precision}+{method}: no coefficients come with {spec.name}; {remedy}")
    path = Path(spec.source) / SHIPPED_NAME
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"arm {precision}+{method}: {path} does not exist; {remedy}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(table, dict) or precision not in table:
        found = ", ".join(table) if isinstance(table, dict) else type(table).__name__
        raise InputError(f"arm {precision}+{method}: {path} has {found or 'nothing'}, not {precision}; {remedy}")
    return calibrated_from(table[precision], f"{path}, {precision}", file=SHIPPED_NAME, method=method)


def _check_steps(arm: str, coefficients: Coefficients, steps: int) -> None:
    try:
        coefficients.check_steps(steps)
    except CoefficientError as error:
        raise CoefficientError(f"arm {arm!r}: {error}") from error
