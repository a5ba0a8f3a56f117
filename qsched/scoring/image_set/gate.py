"""`qsched gate`: are at least a stated share of prompts within a limit, shown with confidence?

A limit on one prompt, or on a mean, is raised when it is inconvenient. Here the claim is about prompts: "for at least a
share s of prompts like these, every picture is within the limit". Of n prompts k are within; the bounds of Clopper and
Pearson (1934, Biometrika 26:404-413), exact for any n, decide:

    passed      lower bound >= s     the claim is shown
    failed      upper bound <  s     its opposite is shown
    not shown   otherwise            too few prompts to tell

Each bound is wrong in at most 1 - level of the studies. Prompts must be a random sample of those meant, and the limit
must be fixed before the pictures are seen. Several arms or limits are separate claims: nothing is corrected for them.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from qsched.errors import InputError
from qsched.locations import Location
from qsched.records import ImageRow, Manifest, iter_rows, read_manifest, text_key
from qsched.records.metric_jnd import MetricMaps
from qsched.scoring.image_set.values import pair_key, score_rows
from qsched.scoring.protocol import ScorerInfo
from qsched.scoring.reference_metrics import ReferenceMetric

Outcome = Literal["passed", "failed", "not shown"]
WORST = 3
_LIMIT = re.compile(
    r"(?P<metric>[A-Za-z0-9_./:-]+?)\s*(?P<sign><=|>=)\s*(?P<value>-?[0-9]*\.?[0-9]+)\s*(?P<unit>(?i:jnd))?"
)


@dataclass(frozen=True)
class Limit:
    """`metric <= value` or `metric >= value`; `jnd` is what it was stated as, if it was stated in JND."""

    metric: str
    sign: Literal["<=", ">="]
    value: float
    jnd: float | None = None

    def allows(self, score: float) -> bool:
        """Whether a picture of this score is within the limit."""
        return score <= self.value if self.sign == "<=" else score >= self.value

    def __str__(self) -> str:
        stated = "" if self.jnd is None else f" ({self.jnd:g} JND)"
        return f"{self.metric} {self.sign} {self.value:.6g}{stated}"


@dataclass(frozen=True)
class GateResult:
    """One arm against one limit.

    `within` of `prompts` prompts are within the limit; `low` and `high` bound the share of all such prompts. `needed`
    prompts would show the claim if the observed share went on, None if it is not above the wanted one. `worst` are the
    prompts furthest beyond or nearest to the limit, each with the score of its worst picture.
    """

    arm: str
    limit: Limit
    share: float
    level: float
    prompts: int
    within: int
    low: float
    high: float
    outcome: Outcome
    needed: int | None
    worst: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Gate:
    """The results of an image set, with what made the scores."""

    set_id: str
    baseline: str
    metrics: tuple[ScorerInfo, ...]
    results: tuple[GateResult, ...]

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 one failed, 3 none failed but one was not shown."""
        outcomes = {result.outcome for result in self.results}
        return 1 if "failed" in outcomes else 3 if "not shown" in outcomes else 0

    def to_json(self) -> dict[str, object]:
        """A plain dictionary."""
        return {
            "schema_version": 1,
            "set_id": self.set_id,
            "baseline": self.baseline,
            "metrics": [info.to_json() for info in self.metrics],
            "results": [asdict(result) for result in self.results],
        }


def parse_limit(text: str) -> Limit:
    """`cvvdp>=9.5` as a Limit; InputError for anything else."""
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise InputError(f"limit {text!r} is not METRIC<=NUMBER or METRIC>=NUMBER; write for example 'cvvdp>=9.5'")
    sign: Literal["<=", ">="] = "<=" if found["sign"] == "<=" else ">="
    if found["unit"]:
        if sign == ">=" or float(found["value"]) <= 0:
            raise InputError(f"limit {text!r}: a visible difference has a largest value: '{found['metric']}<=1JND'")
        return Limit(found["metric"], sign, math.nan, jnd=float(found["value"]))
    return Limit(found["metric"], sign, float(found["value"]))


def place_limit(limit: Limit, info: ScorerInfo, maps: MetricMaps | None) -> Limit:
    """A limit in JND as one of the metric: the value up to which the mean damage is within it by its upper bound.

    InputError without a map of the metric, for a map of another version of it, or where the map does not reach so low.
    """
    if limit.jnd is None:
        return limit
    if maps is None:
        raise InputError(
            f"limit {info.name}<={limit.jnd:g}JND needs --jnd-map: `qsched jnd TRIPLETS --image-set FOLDER` makes one "
            "from people's votes"
        )
    found = maps.of(info.name)
    if found.version != info.version:
        raise InputError(
            f"the map of {info.name} was made with {found.version}, this is {info.version}; another version, "
            "or another --display, needs a map of its own"
        )
    value = found.limit_at(limit.jnd)
    return Limit(info.name, ">=" if info.higher_is_better else "<=", value, jnd=limit.jnd)


def check_direction(limit: Limit, info: ScorerInfo) -> None:
    """InputError for a limit that lets bad pictures pass: `>=` is for metrics of which more is better."""
    if (limit.sign == ">=") != info.higher_is_better:
        better = "higher" if info.higher_is_better else "lower"
        other = ">=" if info.higher_is_better else "<="
        raise InputError(
            f"limit '{limit}' would let the worst pictures pass: {better} {limit.metric} is better ({info.scale}); "
            f"write '{limit.metric}{other}NUMBER'"
        )


def judge_share(within: int, prompts: int, *, share: float, level: float) -> tuple[float, float, Outcome]:
    """Lower and upper bound of the share, each one-sided at `level`, and what they decide."""
    from scipy.stats import beta

    low = 0.0 if within == 0 else float(beta.ppf(1 - level, within, prompts - within + 1))
    high = 1.0 if within == prompts else float(beta.ppf(level, within + 1, prompts - within))
    outcome: Outcome = "passed" if low >= share else "failed" if high < share else "not shown"
    return low, high, outcome


def prompts_needed(within: int, prompts: int, *, share: float, level: float) -> int | None:
    """The fewest prompts of which the observed share would show the claim; None if it is not above `share`."""
    observed = within / prompts
    if observed <= share:
        return None
    few = max(prompts, math.ceil(math.log(1 - level) / math.log(share)))
    many = few
    while not _shows(many, observed, share, level):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _shows(middle, observed, share, level) else (middle, many)
    return many


def _shows(prompts: int, observed: float, share: float, level: float) -> bool:
    return judge_share(math.floor(observed * prompts), prompts, share=share, level=level)[2] == "passed"


def judge_set(
    folder: Location,
    limits: Sequence[Limit],
    metrics: Sequence[ReferenceMetric],
    *,
    share: float,
    level: float,
    baseline: str | None = None,
    arms: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Gate:
    """Score the arms against the baseline's pictures and judge every limit; InputError for an unknown arm.

    A prompt is within a limit if each of its pictures is. Prompts that are equal up to case and spaces are one. Raises
    InputError if a picture of the set is missing: a gate that leaves pictures out can be passed by leaving pictures
    out. An arm or a limit that is named twice is judged once.
    """
    manifest = read_manifest(folder)
    names = [arm.name for arm in manifest.arms]
    base = baseline or names[0]
    chosen = list(dict.fromkeys(arms)) or [name for name in names if name != base]
    for name in (base, *chosen):
        if name not in names:
            raise InputError(f"{name!r} is not an arm of this set; choose one of {', '.join(names)}")
    if base in chosen or not chosen:
        raise InputError(f"{base!r} is the baseline; a gate needs another arm to judge against it")
    rows = list(iter_rows(folder))
    base_rows = [row for row in rows if row.arm == base]
    ours = [row for row in rows if row.arm in chosen]
    _check_whole(manifest, ours, base_rows, chosen)
    values = score_rows(folder, ours, base_rows, (), metrics, on_progress)
    results = []
    for arm in chosen:
        mine = [row for row in ours if row.arm == arm]
        for limit in dict.fromkeys(limits):
            scores = {row.image_id: values[row.image_id][limit.metric] for row in mine}
            results.append(_judge(arm, limit, mine, scores, share=share, level=level))
    return Gate(manifest.set_id, base, tuple(metric.info for metric in metrics), tuple(results))


def _check_whole(manifest: Manifest, ours: list[ImageRow], base_rows: list[ImageRow], chosen: list[str]) -> None:
    """Every picture that the set was asked for is there; the baseline's twins alone may be the few of a killed run."""
    remedy = "finish the set with the same `qsched generate-pairs` command"
    if manifest.shard is not None:
        part = f"shard {manifest.shard.index} of {manifest.shard.count}"
        raise InputError(f"{manifest.set_id} is {part}, a part of a set; `qsched merge` makes the set")
    twins = {pair_key(row) for row in base_rows}
    wanted = manifest.n_prompts * manifest.samples
    if len(twins) != wanted:
        raise InputError(f"the baseline has {len(twins)} of the {wanted} pictures that were asked for; {remedy}")
    for arm in chosen:
        mine = {pair_key(row) for row in ours if row.arm == arm}
        if mine != twins:
            raise InputError(
                f"{arm} has {len(mine - twins)} picture(s) without a twin in the baseline and lacks "
                f"{len(twins - mine)}; {remedy}"
            )


def _judge(
    arm: str, limit: Limit, rows: list[ImageRow], scores: dict[str, float], *, share: float, level: float
) -> GateResult:
    worst_first = max if limit.sign == "<=" else min
    by_prompt: dict[str, float] = {}
    names: dict[str, str] = {}
    for row in rows:
        key = text_key(row.prompt)
        score = scores[row.image_id]
        by_prompt[key] = worst_first(by_prompt[key], score) if key in by_prompt else score
        names.setdefault(key, row.prompt_id)
    within = sum(limit.allows(score) for score in by_prompt.values())
    n = len(by_prompt)
    low, high, outcome = judge_share(within, n, share=share, level=level)
    ranked = sorted(by_prompt, key=lambda key: by_prompt[key], reverse=limit.sign == "<=")
    return GateResult(
        arm=arm,
        limit=limit,
        share=share,
        level=level,
        prompts=n,
        within=within,
        low=low,
        high=high,
        outcome=outcome,
        needed=prompts_needed(within, n, share=share, level=level) if outcome == "not shown" else None,
        worst=tuple((names[key], by_prompt[key]) for key in ranked[:WORST]),
    )


def explain(result: GateResult) -> str:
    """One sentence for a person."""
    seen = f"{result.within} of {result.prompts} prompts are within {result.limit}"
    if result.outcome == "passed":
        return f"{seen}; at least {100 * result.low:.1f} % of such prompts are ({100 * result.level:.0f} % confidence)"
    if result.outcome == "failed":
        return f"{seen}; at most {100 * result.high:.1f} % of such prompts are ({100 * result.level:.0f} % confidence)"
    bounds = (
        f"{seen}; the share of such prompts may be anything from {100 * result.low:.1f} % to {100 * result.high:.1f} %"
    )
    if result.needed is None:
        return f"{bounds}, and what was seen is not above {100 * result.share:.1f} %"
    return f"{bounds}; about {result.needed} prompts would show {100 * result.share:.1f} % if this share went on"


def to_markdown(gate: Gate) -> str:
    """A table for a pull request."""
    lines = [
        f"### Visible-loss gate of {gate.set_id} against {gate.baseline}",
        "",
        "| arm | limit | prompts within | share of prompts | wanted | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for result in gate.results:
        worst = ", ".join(f"{prompt} {score:.4g}" for prompt, score in result.worst)
        lines.append(
            f"| {_cell(result.arm)} | {result.limit} | {result.within} of {result.prompts} | "
            f"{100 * result.low:.1f} % to {100 * result.high:.1f} % | {100 * result.share:.1f} % | "
            f"**{result.outcome}** (worst: {_cell(worst)}) |"
        )
    lines += ["", *(f"{info.name}: {info.scale}; {info.version}." for info in gate.metrics)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def to_junit(gate: Gate) -> str:
    """JUnit XML: a case per arm and limit; "not shown" is a failure too, of its own type."""
    bad = [result for result in gate.results if result.outcome != "passed"]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="qsched gate {html.escape(gate.set_id)}" tests="{len(gate.results)}" failures="{len(bad)}">',
    ]
    for result in gate.results:
        name = html.escape(f"{result.arm}: {result.limit} for {100 * result.share:.1f} % of prompts")
        message = html.escape(explain(result))
        lines.append(f'  <testcase classname="{html.escape(gate.baseline)}" name="{name}">')
        if result.outcome != "passed":
            lines.append(f'    <failure type="{result.outcome}" message="{message}"/>')
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>"]) + "\n"
