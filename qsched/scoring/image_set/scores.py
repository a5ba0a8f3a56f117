"""Automatic metrics of an image set: per image, per arm, and paired against the baseline arm."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from qsched.errors import InputError
from qsched.locations import Location
from qsched.records import ArmRecord, ImageRow, Manifest, iter_rows, read_manifest, text_key
from qsched.scoring.image_set.distance import DistanceRequest, score_distance
from qsched.scoring.image_set.shown import prompts_to_show
from qsched.scoring.image_set.table import JAQ, ArmScores, MetricOfArm, Repair, Seconds, SetScores, WorstPrompt
from qsched.scoring.image_set.values import Values, pair_key, score_rows
from qsched.scoring.jaq_score import DEFAULT_K, RAW, JaqRecord, UnitKind, checked_k, jaq, spread_units
from qsched.scoring.paired import PairedDifference, mean_interval, paired_difference
from qsched.scoring.protocol import Scorer
from qsched.scoring.reference_metrics import ReferenceMetric

ROUNDING = 1e-9  # a difference in the last bits is none


def score_set(
    folder: Location,
    *,
    scorers: Sequence[Scorer],
    references: Sequence[ReferenceMetric] = (),
    baseline: str | None = None,
    k: float = DEFAULT_K,
    k_units: UnitKind = "raw",
    distance: DistanceRequest | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SetScores:
    """Score every picture of the set; the baseline is the first arm unless named.

    If a text scorer and an image scorer are among `scorers`, `jaq` of the first of each is added;
    with `k_units="sd"` in units of their spread over the pictures of the baseline.
    `distance` adds one of every arm, as a set of pictures, to a reference.
    Raises InputError for an unknown arm, a k out of range or a term without spread, IntegrityError for a picture that
    is not its row's.
    """
    checked_k(k)
    manifest = read_manifest(folder)
    rows = sorted(iter_rows(folder), key=lambda row: (row.arm, row.prompt_id, row.sample_index))
    base = _baseline(manifest, baseline)
    by_arm = {arm.name: [row for row in rows if row.arm == arm.name] for arm in manifest.arms}
    empty = [name for name, some in by_arm.items() if not some]
    if empty:
        raise InputError(f"{folder} has no pictures of {empty[0]!r} yet; finish it with `qsched generate-pairs`")
    values = score_rows(folder, rows, by_arm[base], scorers, references, on_progress)
    record = _add_jaq(values, scorers, k, [row.image_id for row in by_arm[base]] if k_units == "sd" else None)
    distances: dict[str, float] = {}
    distance_record = None
    if distance is not None:
        files = {name: [folder / row.file_name for row in some] for name, some in by_arm.items()}
        distance_record, distances = score_distance(files, distance, baseline=base)
    infos = (*(scorer.info for scorer in scorers), *(metric.info for metric in references))
    names = [*([JAQ] if record else []), *(info.name for info in infos)]
    against_twin = {info.name for info in infos if info.kind == "reference"}
    arms = tuple(
        _arm_scores(
            arm,
            by_arm[arm.name],
            None if arm.name == base else by_arm[base],
            metrics=_arm_metrics(by_arm[arm.name], by_arm[base], arm.name == base, values, names, against_twin),
            manifest=manifest,
            same_as=_same_as(arm.name, by_arm),
            distance=distances.get(arm.name),
        )
        for arm in manifest.arms
    )
    prompts = {row.prompt_id: row.prompt for row in rows}
    higher = {info.name: info.higher_is_better for info in infos} | {JAQ: True}
    repairs = _repairs(manifest, by_arm, values, higher, names)
    return SetScores(
        manifest=manifest,
        baseline=base,
        scorers=infos,
        jaq=record,
        arms=arms,
        repairs=repairs,
        images=tuple({**_place(row), **values[row.image_id]} for row in rows),
        distance=distance_record,
        repeated=len(prompts) - len({text_key(text) for text in prompts.values()}),
        unread=_unread(scorers, sorted(set(prompts.values()))),
        leads=_leads(by_arm, values, names[0], higher[names[0]]) if names else frozenset(),
        shown=prompts_to_show(folder, by_arm, values, names[0], repairs) if names else (),
    )


def metrics_by_arm(
    manifest: Manifest,
    rows: Sequence[ImageRow],
    values: Values,
    names: Sequence[str],
    against_twin: set[str],
    *,
    baseline: str,
) -> dict[str, tuple[MetricOfArm, ...]]:
    """The metrics of every arm from the values of its pictures, as `score_set` has them; nothing is scored."""
    in_order = sorted(rows, key=lambda row: (row.arm, row.prompt_id, row.sample_index))
    by_arm = {arm.name: [row for row in in_order if row.arm == arm.name] for arm in manifest.arms}
    base = by_arm[_baseline(manifest, baseline)]
    return {arm: _arm_metrics(some, base, arm == baseline, values, names, against_twin) for arm, some in by_arm.items()}


def _baseline(manifest: Manifest, name: str | None) -> str:
    names = [arm.name for arm in manifest.arms]
    if name is not None and name not in names:
        raise InputError(f"baseline {name!r} is not an arm of this set; choose one of {', '.join(names)}")
    return name or names[0]


def _add_jaq(
    values: Values, scorers: Sequence[Scorer], k: float, spread_over: Sequence[str] | None
) -> JaqRecord | None:
    """Add JAQ to the values of every picture, in units of the terms' spread over these pictures, or raw."""
    # The ground-truth check reads the prompt too, but it is not a text-compatibility model: JAQ leaves it out.
    tc = next((s.info for s in scorers if s.info.kind == "text" and s.info.name != "tiny-check"), None)
    iq = next((s.info for s in scorers if s.info.kind == "image" and s.info.higher_is_better), None)
    if tc is None or iq is None:
        if spread_over is not None:
            raise InputError(
                "--k-units sd: without a text scorer and an image scorer there is no JAQ; add clipscore and clip-iqa "
                "to --metrics, or leave it out"
            )
        return None
    units = RAW
    if spread_over is not None:
        units = spread_units(
            [values[image][tc.name] for image in spread_over], [values[image][iq.name] for image in spread_over]
        )
    for one in values.values():
        one[JAQ] = jaq(one[tc.name], one[iq.name], k=k, units=units)
    return JaqRecord(tc, iq, k, units)


def _arm_metrics(
    rows: list[ImageRow],
    base_rows: list[ImageRow],
    is_baseline: bool,
    values: Values,
    names: Sequence[str],
    against_twin: set[str],
) -> tuple[MetricOfArm, ...]:
    """Every metric that at least one picture of the arm has; no single picture decides which those are."""
    metrics = []
    for name in names:
        found = [values[row.image_id][name] for row in rows if name in values[row.image_id]]
        if not found:
            continue
        mean, n = sum(found) / len(found), len(found)
        if name in against_twin:
            per_prompt = _prompt_means(rows, values, name)
            interval = mean_interval(per_prompt) if len(per_prompt) >= 2 else None
            metrics.append(MetricOfArm(name, mean, n, None, interval))
        else:
            same = is_baseline or _n_identical(rows, base_rows) == len(rows) == len(base_rows)
            metrics.append(MetricOfArm(name, mean, n, None if same else _paired(rows, base_rows, values, name)))
    return tuple(metrics)


def _arm_scores(
    arm: ArmRecord,
    rows: list[ImageRow],
    base_rows: list[ImageRow] | None,
    *,
    metrics: tuple[MetricOfArm, ...],
    manifest: Manifest,
    same_as: str | None,
    distance: float | None,
) -> ArmScores:
    """The arm's row of the table; `base_rows` is None for the baseline itself."""
    mine = {pair_key(row) for row in rows}
    theirs = mine if base_rows is None else {pair_key(row) for row in base_rows}
    seconds = [row.seconds for row in rows if row.seconds is not None]
    memory = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    return ArmScores(
        arm=arm,
        metrics=metrics,
        n_images=len(rows),
        n_missing=len(theirs - mine),
        n_without_twin=len(mine - theirs),
        n_pairs=len(mine & theirs),
        n_identical=_n_identical(rows, rows if base_rows is None else base_rows),
        same_as=same_as,
        seconds=Seconds(sum(seconds) / len(seconds), min(seconds), max(seconds)) if seconds else None,
        peak_memory_bytes=max(memory) if memory else None,
        nfe_per_image=manifest.steps,
        distance=distance,
    )


def _paired(rows: list[ImageRow], base_rows: list[ImageRow], values: Values, metric: str) -> PairedDifference | None:
    """Difference over prompts; needs two of them."""
    means = list(_by_prompt(rows, base_rows, values, metric).values())
    return paired_difference(means, [0.0] * len(means)) if len(means) >= 2 else None


def _by_prompt(rows: list[ImageRow], base_rows: list[ImageRow], values: Values, metric: str) -> dict[str, float]:
    """Difference of each prompt; its samples and repeats are averaged first, they are not independent."""
    base = {pair_key(row): values[row.image_id][metric] for row in base_rows if metric in values[row.image_id]}
    differences: dict[str, list[float]] = {}
    for row in rows:
        twin = base.get(pair_key(row))
        if twin is not None and metric in values[row.image_id]:
            differences.setdefault(text_key(row.prompt), []).append(values[row.image_id][metric] - twin)
    return {prompt: sum(some) / len(some) for prompt, some in differences.items()}


def _worst(
    rows: list[ImageRow], base_rows: list[ImageRow], values: Values, metric: str, *, higher: bool
) -> WorstPrompt:
    """The prompt whose difference is least to the good."""
    differences = _by_prompt(rows, base_rows, values, metric)
    text = min(differences, key=lambda prompt: differences[prompt] if higher else -differences[prompt])
    row = next(row for row in rows if text_key(row.prompt) == text)
    return WorstPrompt(row.prompt_id, row.prompt, differences[text])


def _leads(by_arm: dict[str, list[ImageRow]], values: Values, metric: str, higher: bool) -> frozenset[tuple[str, str]]:
    """(better, worse) arms where the paired interval of the two is beyond 0."""
    found = set()
    for one, other in itertools.permutations(by_arm, 2):
        difference = _paired(by_arm[one], by_arm[other], values, metric)
        if difference is not None and (difference.low > ROUNDING if higher else difference.high < -ROUNDING):
            found.add((one, other))
    return frozenset(found)


def _prompt_means(rows: list[ImageRow], values: Values, metric: str) -> list[float]:
    """The metric averaged over the samples and repeats of each prompt that has it."""
    by_prompt: dict[str, list[float]] = {}
    for row in rows:
        if metric in values[row.image_id]:
            by_prompt.setdefault(text_key(row.prompt), []).append(values[row.image_id][metric])
    return [sum(some) / len(some) for some in by_prompt.values()]


def _n_identical(rows: list[ImageRow], others: list[ImageRow]) -> int:
    """Pairs whose two pictures are the same, byte for byte."""
    hashes = {pair_key(row): row.sha256 for row in others}
    return sum(hashes.get(pair_key(row)) == row.sha256 for row in rows)


def _same_as(name: str, by_arm: dict[str, list[ImageRow]]) -> str | None:
    """The first earlier arm that has exactly the same pictures."""
    for other in list(by_arm)[: list(by_arm).index(name)]:
        if len(by_arm[other]) == len(by_arm[name]) == _n_identical(by_arm[name], by_arm[other]):
            return other
    return None


def _repairs(
    manifest: Manifest,
    by_arm: dict[str, list[ImageRow]],
    values: Values,
    higher: dict[str, bool],
    names: list[str],
) -> tuple[Repair, ...]:
    """Every arm with coefficients against the stock arm of its precision: the comparison that coefficients are for.

    An arm with a bias (qsched-bias) is also compared with the Q-Sched arms of its precision. Of a metric against the
    twin in the baseline the two distances are compared; an arm that is the baseline has none.
    """
    found = []
    for arm in manifest.arms:
        stock = [other for other in manifest.arms if _is_stock_of(other, arm)][:1]
        twins = [other for other in manifest.arms if _is_plain_twin_of(other, arm)]
        for other in stock + twins:
            rows, other_rows = by_arm[arm.name], by_arm[other.name]
            n_pairs = len({pair_key(row) for row in rows} & {pair_key(row) for row in other_rows})
            n_identical = _n_identical(rows, other_rows)
            differences, worst = [], []
            for name in names if n_identical < n_pairs else ():
                difference = _paired(rows, other_rows, values, name)
                if difference is not None:
                    differences.append((name, difference))
                    worst.append((name, _worst(rows, other_rows, values, name, higher=higher[name])))
            found.append(Repair(arm.name, other.name, n_pairs, n_identical, tuple(differences), tuple(worst)))
    return tuple(found)


def _is_stock_of(other: ArmRecord, arm: ArmRecord) -> bool:
    return _alike(other, arm) and arm.coefficients is not None and other.coefficients is None


def _is_plain_twin_of(other: ArmRecord, arm: ArmRecord) -> bool:
    """True if the arm has a bias and the other is Q-Sched without one, in the same precision."""
    return _alike(other, arm) and _has_bias(arm) and other.coefficients is not None and not _has_bias(other)


def _alike(other: ArmRecord, arm: ArmRecord) -> bool:
    return other.precision == arm.precision and other.recipe.get("base_dtype") == arm.recipe.get("base_dtype")


def _has_bias(arm: ArmRecord) -> bool:
    return arm.coefficients is not None and "bias" in arm.coefficients


def _unread(scorers: Sequence[Scorer], prompts: list[str]) -> dict[str, int]:
    """Scorer -> how many prompts its text encoder does not read to their end."""
    counts = {scorer.info.name: scorer.count_unread(prompts) for scorer in scorers}
    return {name: count for name, count in counts.items() if count}


def _place(row: ImageRow) -> dict[str, object]:
    return {
        "image_id": row.image_id,
        "arm": row.arm,
        "prompt_id": row.prompt_id,
        "sample_index": row.sample_index,
    }
