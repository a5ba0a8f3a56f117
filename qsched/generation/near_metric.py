"""Pairs by a metric that `qsched score` has measured, such as cvvdp (JOD): near-identical, or most visible first."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qsched.errors import InputError
from qsched.generation.curate import ListedPair
from qsched.locations import Location
from qsched.records.curation import LESS_VISIBLE, Stratum

_RULE = re.compile(r"([A-Za-z0-9_.:/-]+)(>=|<=)([0-9.]+)")
_HOLDS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class NearRule:
    """`cvvdp>=9.9`: pairs of which this holds are near-identical."""

    metric: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a pair with this value is near-identical."""
        return bool(_HOLDS[self.sign](value, self.bound))


def read_near_rule(text: str) -> NearRule:
    """`METRIC>=NUMBER` or `METRIC<=NUMBER`; InputError for anything else."""
    found = _RULE.fullmatch(text.replace(" ", ""))
    try:
        if found is not None:
            return NearRule(found[1], found[2], float(found[3]))
    except ValueError:
        pass
    raise InputError(f"--near {text!r}: write METRIC>=NUMBER or METRIC<=NUMBER, for example cvvdp>=9.9")


def near_by_metric(
    pairs: Sequence[ListedPair], rule: NearRule, *, folder: Location, set_id: str, baseline: str | None
) -> list[ListedPair]:
    """The pairs, with near-identical and different ones separated by the rule; broken and identical ones stay.

    Raises InputError if the set was not scored with the metric against this baseline, or a pair has no value.
    """
    measured = _read_measured("--near", rule.metric, folder=folder, set_id=set_id, baseline=baseline)
    if (rule.sign == ">=") is not measured.higher_is_better:
        better, sign = ("higher", ">=") if measured.higher_is_better else ("lower", "<=")
        raise InputError(
            f"--near {rule.metric}{rule.sign}{rule.bound:g} would call the most different pairs near-identical: "
            f"{rule.metric} is {better} for pictures that are alike; write {rule.metric}{sign}{rule.bound:g}"
        )
    return [
        pair
        if pair.stratum in (Stratum.BROKEN, Stratum.IDENTICAL)
        else replace(pair, stratum=Stratum.NEAR_IDENTICAL if rule.holds(measured.of(pair)) else Stratum.DIFFERENT)
        for pair in pairs
    ]


def read_visible_rule(text: str) -> tuple[str, int]:
    """`METRIC=PROMPTS`; InputError for anything else."""
    metric, _, number = text.replace(" ", "").partition("=")
    if not metric or not number.isdecimal() or int(number) < 1:
        raise InputError(f"--visible-first {text!r}: write METRIC=PROMPTS, for example cvvdp=40")
    return metric, int(number)


def most_visible_first(
    pairs: Sequence[ListedPair], metric: str, count: int, *, folder: Location, set_id: str, baseline: str | None
) -> list[ListedPair]:
    """The pairs with `use` taken from all prompts but the `count` whose pictures differ most from the baseline's.

    A prompt counts with its mean over arms and samples. Raises InputError as `near_by_metric` does.
    """
    option = "--visible-first"
    measured = _read_measured(option, metric, folder=folder, set_id=set_id, baseline=baseline)
    by_prompt: dict[str, list[float]] = {}
    for pair in pairs:
        by_prompt.setdefault(pair.prompt_id, []).append(measured.of(pair))
    if count > len(by_prompt):
        raise InputError(f"{option} {metric}={count}: the list has {len(by_prompt)} prompts; give at most as many")
    sign = 1.0 if measured.higher_is_better else -1.0
    means = {prompt: sign * math.fsum(values) / len(values) for prompt, values in by_prompt.items()}
    order = sorted(means, key=lambda prompt: (means[prompt], prompt))
    rank = {prompt: place for place, prompt in enumerate(order, start=1)}

    def kept(pair: ListedPair) -> ListedPair:
        place = rank[pair.prompt_id]
        if place <= count:
            return pair
        why = f"{LESS_VISIBLE}: prompt {place} of {len(order)} by {metric}"
        return replace(pair, use=False, why=f"{pair.why}; {why}" if pair.why else why)

    return [kept(pair) for pair in pairs]


@dataclass(frozen=True)
class _MetricOfPairs:
    """The values of one metric against the baseline, by prompt, sample and arm."""

    option: str
    metric: str
    baseline: str
    higher_is_better: bool
    values: dict[tuple[str, int, str], float]

    def of(self, pair: ListedPair) -> float:
        """The value of a pair; InputError if it has none."""
        arm = pair.second_arm if pair.first_arm == self.baseline else pair.first_arm
        value = self.values.get((pair.prompt_id, pair.sample_index, arm))
        if value is None:
            raise InputError(
                f"{self.option}: the picture of {arm}, prompt {pair.prompt_id!r}, has no value of {self.metric}; score "
                "it again"
            )
        return value


def _read_measured(option: str, metric: str, *, folder: Location, set_id: str, baseline: str | None) -> _MetricOfPairs:
    table, rows = _read_scores(option, folder)
    scorers = {info["name"]: info for info in table["scorers"]}
    remedy = f"run `qsched score {folder} --metrics {metric} --baseline ...`"
    if table["set_id"] != set_id:
        raise InputError(f"{folder / 'metrics.json'} belongs to image set {table['set_id']}, not to {set_id}; {remedy}")
    info = scorers.get(metric)
    if info is None or info["kind"] != "reference":
        known = ", ".join(name for name, one in scorers.items() if one["kind"] == "reference") or "none"
        raise InputError(f"{option}: metrics.json has no metric {metric!r} of two pictures (it has {known}); {remedy}")
    if baseline != table["baseline"]:
        raise InputError(
            f"{option}: {metric} was measured against {table['baseline']!r}; add --baseline {table['baseline']}"
        )
    values = {(row["prompt_id"], row["sample_index"], row["arm"]): float(row[metric]) for row in rows if metric in row}
    return _MetricOfPairs(option, metric, table["baseline"], bool(info["higher_is_better"]), values)


def _read_scores(option: str, folder: Location) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        table = json.loads((folder / "metrics.json").read_text("utf-8"))
        rows = [json.loads(line) for line in (folder / "metrics_images.jsonl").read_text("utf-8").splitlines()]
        return dict(table), rows
    except FileNotFoundError as error:
        raise InputError(
            f"{option}: {error.filename} does not exist; score the set first: qsched score {folder}"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'metrics.json'} cannot be read: {error}; run `qsched score` again") from error
