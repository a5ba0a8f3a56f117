"""Near-identical by a metric that `qsched score` has measured, such as cvvdp (JOD) or lpips, instead of by pixels."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qsched.errors import InputError
from qsched.generation.curate import ListedPair
from qsched.locations import Location
from qsched.records.curation import Stratum

_RULE = re.compile(r"([a-z0-9_.-]+)(>=|<=)([0-9.]+)")
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
    """The pairs with near-identical and different told apart by the rule; broken and identical ones stay.

    Raises InputError if the set was not scored with the metric against this baseline, or a pair has no value.
    """
    table, rows = _read_scores(folder)
    scorers = {info["name"]: info for info in table["scorers"]}
    remedy = f"run `qsched score {folder} --metrics {rule.metric} --baseline ...`"
    if table["set_id"] != set_id:
        raise InputError(f"{folder / 'metrics.json'} belongs to image set {table['set_id']}, not to {set_id}; {remedy}")
    info = scorers.get(rule.metric)
    if info is None or info["kind"] != "reference":
        known = ", ".join(name for name, one in scorers.items() if one["kind"] == "reference") or "none"
        raise InputError(
            f"--near: metrics.json has no metric {rule.metric!r} of two pictures (it has {known}); {remedy}"
        )
    if baseline != table["baseline"]:
        raise InputError(
            f"--near: {rule.metric} was measured against {table['baseline']!r}; add --baseline {table['baseline']}"
        )
    values = {
        (row["prompt_id"], row["sample_index"], row["arm"]): float(row[rule.metric])
        for row in rows
        if rule.metric in row
    }
    return [_with_metric(pair, rule, values, baseline=table["baseline"]) for pair in pairs]


def _with_metric(
    pair: ListedPair, rule: NearRule, values: dict[tuple[str, int, str], float], *, baseline: str
) -> ListedPair:
    if pair.stratum in (Stratum.BROKEN, Stratum.IDENTICAL):
        return pair
    arm = pair.second_arm if pair.first_arm == baseline else pair.first_arm
    value = values.get((pair.prompt_id, pair.sample_index, arm))
    if value is None:
        raise InputError(
            f"--near: the picture of {arm}, prompt {pair.prompt_id!r}, has no value of {rule.metric}; score it again"
        )
    return replace(pair, stratum=Stratum.NEAR_IDENTICAL if rule.holds(value) else Stratum.DIFFERENT)


def _read_scores(folder: Location) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        table = json.loads((folder / "metrics.json").read_text("utf-8"))
        rows = [json.loads(line) for line in (folder / "metrics_images.jsonl").read_text("utf-8").splitlines()]
        return dict(table), rows
    except FileNotFoundError as error:
        raise InputError(
            f"--near: {error.filename} does not exist; score the set first: qsched score {folder}"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'metrics.json'} cannot be read: {error}; run `qsched score` again") from error
