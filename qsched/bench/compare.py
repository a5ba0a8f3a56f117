"""What changed between two benchmark folders: for each arm, the difference of its contrasts with the baseline.

Two vote sets give contrasts a and b (strength of an arm minus the baseline's, in log-odds) with standard errors s_a and
s_b. For independent sets

    d = b - a,   se(d) = sqrt(s_a^2 + s_b^2),   d +- q se(d),

where q is the larger of the two quantiles that the sets' own intervals use: the degrees of freedom of d (Welch 1947)
are at least the smaller of the two. People or prompts that both sets share make the true variance smaller as a rule, so
that the interval is then too wide rather than too narrow. The same votes on both sides are no two sets.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsched.bench.results import ArmResult, MetricEstimate, ModelResult, Preference, open_folder, read_results
from qsched.files import sha256_of_file


@dataclass(frozen=True)
class Change:
    """An arm of one model in one study: its contrasts in log-odds and their difference (None: there is none), and what
    to know."""

    model: str
    arm: str
    study: str
    before: MetricEstimate | None
    after: MetricEstimate | None
    difference: MetricEstimate | None
    verdict: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two folders: whether they are one benchmark, changes of arms, and other differences as sentences."""

    same_benchmark: bool
    changes: tuple[Change, ...]
    others: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {"schema_version": 1, **asdict(self)}


def compare_folders(before: Path, after: Path) -> Comparison:
    """Compare what two folders show; models, arms and studies that only one has are named."""
    a, b = read_results(before), read_results(after)
    others = (
        []
        if a.identity.version == b.identity.version
        else [f"version {a.identity.version} became {b.identity.version}"]
    )
    if a.identity.prompts_sha256 != b.identity.prompts_sha256:
        others.append("the prompts differ")
    changes: list[Change] = []
    by_name = {model.model: model for model in b.models}
    for model in a.models:
        other = by_name.pop(model.model, None)
        if other is None:
            others.append(f"{model.model} is in the first only")
            continue
        others += _model_words(model, other)
        changes += _changes(model, other, _votes(before, model.model), _votes(after, model.model))
    others += [f"{name} is in the second only" for name in by_name]
    return Comparison(a.identity.benchmark_sha256 == b.identity.benchmark_sha256, tuple(changes), tuple(others))


def difference(before: Preference, after: Preference) -> MetricEstimate | None:
    """d with its interval; None if a set has no estimate with a standard error."""
    a, b = before.contrast, after.contrast
    if a is None or b is None or before.contrast_se is None or after.contrast_se is None:
        return None
    quantiles = [_quantile(a, before.contrast_se), _quantile(b, after.contrast_se)]
    if None in quantiles:
        return None
    half = max(q for q in quantiles if q is not None) * math.hypot(before.contrast_se, after.contrast_se)
    d = b.value - a.value
    return MetricEstimate(d, d - half, d + half)


def _quantile(one: MetricEstimate, se: float) -> float | None:
    """What the interval of a contrast multiplied its standard error with."""
    if one.low is None or one.high is None or not 0 < se < math.inf:
        return None
    return (one.high - one.low) / (2 * se)


def _changes(a: ModelResult, b: ModelResult, votes_a: dict[str, str], votes_b: dict[str, str]) -> list[Change]:
    found = []
    after = {(arm.arm, one.study): (arm, one) for arm in b.arms for one in arm.preferences}
    for arm in a.arms:
        for one in arm.preferences:
            if (arm.arm, one.study) not in after:
                continue
            other_arm, other = after[arm.arm, one.study]
            same = votes_a.get(one.study) is not None and votes_a.get(one.study) == votes_b.get(one.study)
            found.append(_change(a.model, arm, other_arm, one, other, same_votes=same))
    return found


def _change(
    model: str, arm: ArmResult, other_arm: ArmResult, one: Preference, other: Preference, *, same_votes: bool
) -> Change:
    d = None if same_votes else difference(one, other)
    notes = []
    if same_votes:
        verdict = "the same votes: no two sets to compare"
    elif d is None or d.low is None or d.high is None:
        verdict = "no interval: one of the two has no estimate"
    elif d.low > 0:
        verdict = "better than before"
    elif d.high < 0:
        verdict = "worse than before"
    else:
        verdict = "no change shown"
    if arm.recipe_hash != other_arm.recipe_hash:
        notes.append("its recipe or coefficients differ")
    if one.simulated or other.simulated:
        notes.append("simulated votes")
    return Change(
        model=model,
        arm=arm.arm,
        study=one.study,
        before=one.contrast,
        after=other.contrast,
        difference=d,
        verdict=verdict,
        notes=tuple(notes),
    )


def _model_words(a: ModelResult, b: ModelResult) -> list[str]:
    words = []
    if a.weights != b.weights:
        words.append(f"{a.model}: other weights")
    sizes = {arm.arm: arm.size_bytes for arm in b.arms}
    names = [arm.arm for arm in a.arms]
    words += [f"{a.model}: {arm.arm} is in the first only" for arm in a.arms if arm.arm not in sizes]
    words += [f"{a.model}: {arm.arm} is in the second only" for arm in b.arms if arm.arm not in names]
    for arm in a.arms:
        size = sizes.get(arm.arm)
        if size is not None and arm.size_bytes is not None and size != arm.size_bytes:
            words.append(f"{a.model}: {arm.arm} is {size - arm.size_bytes:+,} bytes")
    return words


def _votes(folder: Path, model: str) -> dict[str, str]:
    """The hash of the votes of each study of a model."""
    places = open_folder(folder)
    found = {}
    for one in places.benchmark.models:
        if one.name == model:
            for study in places.benchmark.studies_of(one):
                if (votes := places.study(study, one).votes) is not None:
                    found[study.name] = sha256_of_file(votes)
    return found
