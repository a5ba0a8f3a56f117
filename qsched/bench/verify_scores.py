"""Check the scores of a submission: the means follow from the values, and cheap values from the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from random import SystemRandom
from typing import Any

from qsched.bench.places import Places
from qsched.bench.results import read_json
from qsched.bench.spec import ModelSpec
from qsched.command_line import counted
from qsched.errors import QschedError
from qsched.records import ImageRow, iter_rows, read_manifest
from qsched.records.same_values import differences
from qsched.records.yaml_file import read_utf8

SCORES, VALUES = "metrics.json", "metrics_images.jsonl"
#: What needs no weights, and no more time than decoding a picture.
CHEAP = ("psnr", "ssim", "tiny-check")
#: Pictures of a model whose cheap values are computed again.
MOST_AGAIN = 200
_PLACE = ("image_id", "arm", "prompt_id", "sample_index")


def scores_are_here(places: Places, model: ModelSpec) -> bool:
    """Whether there is anything to check."""
    return (places.images(model) / SCORES).is_file()


def computed_again(places: Places, model: ModelSpec) -> tuple[list[str], list[str]]:
    """(metrics whose values are computed again, the others)."""
    scorers = read_json(places.images(model) / SCORES).get("scorers")
    known = scorers if isinstance(scorers, list) else []  # score_problems says what is wrong with any other
    names = [str(one["name"]) for one in known if isinstance(one, dict) and "name" in one]
    return [name for name in names if name in CHEAP], [name for name in names if name not in CHEAP]


def score_problems(places: Places, model: ModelSpec) -> Iterator[str]:
    """What is wrong with metrics.json and metrics_images.jsonl of a model; each is a sentence."""
    try:
        yield from _problems(places, model)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{SCORES} and {VALUES} are not what `qsched score` writes: {type(error).__name__}: {error}"
    except QschedError as error:
        yield str(error)


def _problems(places: Places, model: ModelSpec) -> Iterator[str]:
    from qsched.scoring.image_set.scores import metrics_by_arm

    images = places.images(model)
    found, manifest, rows = read_json(images / SCORES), read_manifest(images), list(iter_rows(images))
    values = _values(read_utf8(images / VALUES, max_bytes=1024 * 1024 * 1024))
    if found["set_id"] != manifest.set_id:
        yield f"{SCORES} is of the set {found['set_id']}, and the pictures are {manifest.set_id}"
    baseline = places.arm_name(places.benchmark.arms_of(model)[0])
    if found["baseline"] != baseline:
        yield f"{SCORES} compares the arms with {found['baseline']}, and the benchmark with {baseline}"
    if wrong := [arm["arm"] for arm in found["arms"] if arm["nfe_per_image"] != manifest.steps]:
        yield f"{SCORES} has another number of evaluations for {wrong[0]} than the pictures ({manifest.steps})"
    names = [one["name"] for one in found["scorers"]]
    lacking = [name for name in places.benchmark.metrics if ":" not in name and name not in names]
    if lacking:
        yield f"{SCORES} lacks {', '.join(lacking)}, which the benchmark asks for"
    if differ := values.keys() ^ {row.image_id for row in rows}:
        yield f"{VALUES} and the pictures differ, first in {min(differ)}"
        return
    against_twin = {one["name"] for one in found["scorers"] if one["kind"] == "reference"}
    shown = [*(["jaq"] if found["jaq"] else []), *names]
    made = metrics_by_arm(manifest, rows, values, shown, against_twin, baseline=found["baseline"])
    stated = {arm["arm"]: arm["metrics"] for arm in found["arms"]}
    again = json.loads(json.dumps({arm: [asdict(one) for one in metrics] for arm, metrics in made.items()}))
    if changed := list(differences(stated, again)):
        does = "does" if len(changed) == 1 else "do"
        yield f"{counted(len(changed), 'number')} of {SCORES} {does} not follow from {VALUES}: {changed[0]}"
    yield from _other_values(places, model, rows, values, found["baseline"])


def _values(text: str) -> dict[str, dict[str, float]]:
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["image_id"]: {name: row[name] for name in row if name not in _PLACE} for row in rows}


def _other_values(
    places: Places, model: ModelSpec, rows: list[ImageRow], values: dict[str, dict[str, float]], baseline: str
) -> Iterator[str]:
    """The cheap metrics of some pictures, chosen at random so that no submitter can tell which."""
    from qsched.scoring.image_set.values import pair_key, score_rows
    from qsched.scoring.registry import load_metrics

    names, _ = computed_again(places, model)
    if not names:
        return
    scorers, references = load_metrics(",".join(names), weights={})
    twins = {pair_key(row): row for row in rows if row.arm == baseline}
    others = [row for row in rows if row.arm != baseline]
    chosen = SystemRandom().sample(others, min(MOST_AGAIN, len(others)))
    base = {pair_key(row): twins[pair_key(row)] for row in chosen if pair_key(row) in twins}
    again = score_rows(places.images(model), [*chosen, *base.values()], list(base.values()), scorers, references, None)
    for image, ours in again.items():
        theirs: dict[str, Any] = {name: values[image].get(name) for name in ours}
        for name in differences(ours, theirs):
            yield f"{name} of the picture {image} is {ours[name]:g}, and {VALUES} says {theirs[name]}"
            return
