"""A set grows: arms, prompts, samples are added to what is there, as long as seeds and batches stay true.

Seeds depend on prompt id and sample alone, so they always stay true for a prompt whose text is unchanged. Batches stay
true because each request cuts only what it adds (`plan.GrowthStage`), and the manifest keeps all requests. Nothing in a
set is removed or changed: such a request is refused, with the reason.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from qsched.errors import InputError, RowError
from qsched.generation.arms import Arm
from qsched.generation.plan import GrowthStage, Plan, prompts_hash
from qsched.generation.prompts import Prompt
from qsched.locations import Location
from qsched.records import ArmRecord, ImageRow, Manifest, RequestRecord, iter_rows
from qsched.records.set_diff import flat

#: What the provenance says of the newest request.
NEWEST_PROVENANCE = ("prompts_file", "limit", "batch_size", "truncated_prompts", "asked_sha256")


def stages_of(manifest: Manifest) -> tuple[GrowthStage, ...]:
    """The requests of a set as a plan needs them; a set without a list of requests was asked for once."""
    if manifest.requests:
        return tuple(GrowthStage(r.n_prompts, r.samples, r.batch_size) for r in manifest.requests)
    size = manifest.provenance.get("batch_size")
    if not isinstance(size, int):
        raise InputError(
            f"the set {manifest.set_id} does not say in which batches it was made (provenance.batch_size), so it can "
            "be neither resumed nor grown; choose another --out"
        )
    return (GrowthStage(manifest.n_prompts, manifest.samples, size),)


def check_growth(folder: Location, found: Manifest, plan: Plan) -> None:
    """InputError, before anything is loaded, if `plan` would change or remove what the set in `folder` has."""
    problem = (
        _changed_shard(found, plan)
        or _changed_numbers(found, plan)
        or _changed_arms([arm.name for arm in found.arms], [arm.name for arm in plan.arms])
        or _changed_recipes(found, plan)
        or _changed_prompts(folder, found, plan)
    )
    if problem:
        raise InputError(
            f"{folder} holds a set that was asked for differently ({problem}). A set may gain arms, prompts and "
            "samples, but what it has never changes. Ask for all that it has, choose another --out, or pass "
            "--overwrite to delete it and start again."
        )


def requests_after(found: Manifest | None, plan: Plan, now: datetime) -> tuple[RequestRecord, ...]:
    """The requests of a set after `plan` passed `check_growth`; one that adds nothing is not listed again."""
    request = RequestRecord(
        asked_at=now,
        arms=tuple(arm.name for arm in plan.arms),
        prompts_file=plan.prompts_file,
        prompts_sha256=plan.prompts_sha256,
        used_sha256=plan.used_sha256,
        limit=plan.limit,
        n_prompts=len(plan.prompts),
        samples=plan.samples,
        batch_size=plan.batch_size,
    )
    if found is None:
        return (request,)
    earlier = found.requests or (_implied(found, plan),)
    last = earlier[-1]
    adds = (request.arms, request.used_sha256, request.samples) != (last.arms, last.used_sha256, last.samples)
    return (*earlier, request) if adds else earlier


def grown(found: Manifest, asked: Manifest) -> Manifest:
    """The manifest of the set in a folder after the request `asked`: measured fields kept, new arms appended."""
    if asked.requests[: len(found.requests)] != found.requests:
        raise InputError(
            f"another run changed the set {found.set_id} while this one was starting; run the same command again"
        )
    if asked.requests == found.requests:
        if "asked_sha256" not in asked.provenance:
            return found
        return found.model_copy(
            update={"provenance": found.provenance | {"asked_sha256": asked.provenance["asked_sha256"]}}
        )
    names = {arm.name for arm in found.arms}
    provenance = dict(found.provenance)
    newest = (*NEWEST_PROVENANCE, "calibration")  # the first arm that needs statistics may be a later one
    provenance.update({key: asked.provenance[key] for key in newest if key in asked.provenance})
    reports = [one for m in (asked, found) if isinstance(one := m.provenance.get("arms"), dict)]
    if reports:  # those of the request are there in a merge of shards only; what the set has measured stays
        provenance["arms"] = {name: report for one in reports for name, report in one.items()}
    return found.model_copy(
        update={
            **{key: getattr(asked, key) for key in ("prompts_sha256", "n_prompts", "samples", "requests", "shard")},
            "arms": (*found.arms, *(arm for arm in asked.arms if arm.name not in names)),
            "provenance": provenance,
        }
    )


def identity_of_requests(manifest: Manifest) -> dict[str, object]:
    """What was asked for, without when and from which file; named for an error message."""
    apart = {"asked_at", "prompts_file", "prompts_sha256"}
    requests = [request.model_dump(mode="json", exclude=apart) for request in manifest.requests]
    return {f"request {n}.{key}": value for n, one in enumerate(requests, 1) for key, value in one.items()}


def added_words(found: Manifest, asked: Manifest) -> str:
    """'1 arm (w8a8), 20 prompts' and the like; '' if the request adds nothing."""
    names = {arm.name for arm in found.arms}
    arms = [arm.name for arm in asked.arms if arm.name not in names]
    parts = [f"{len(arms)} arm{'s' * (len(arms) > 1)} ({', '.join(arms)})"] if arms else []
    for word, more in (("prompt", asked.n_prompts - found.n_prompts), ("sample", asked.samples - found.samples)):
        if more > 0:
            parts.append(f"{more} {word}{'s' * (more > 1)}" + (" per prompt" if word == "sample" else ""))
    return ", ".join(parts)


def _implied(found: Manifest, plan: Plan) -> RequestRecord:
    """The one request of a set that was made before requests were kept."""
    limit = found.provenance.get("limit")
    return RequestRecord(
        asked_at=found.created_at,
        arms=tuple(arm.name for arm in found.arms),
        prompts_file=str(found.provenance.get("prompts_file", "")),
        prompts_sha256=found.prompts_sha256,
        used_sha256=prompts_hash(plan.prompts[: found.n_prompts]),
        limit=limit if isinstance(limit, int) else None,
        n_prompts=found.n_prompts,
        samples=found.samples,
        batch_size=stages_of(found)[0].batch_size,
    )


def _changed_shard(found: Manifest, plan: Plan) -> str:
    there = None if found.shard is None else (found.shard.index, found.shard.count)
    if there == plan.shard:
        return ""
    words = ["the whole set" if one is None else f"shard {one[0]} of {one[1]}" for one in (there, plan.shard)]
    return f"shard: {words[0]} there, {words[1]} now"


def _changed_numbers(found: Manifest, plan: Plan) -> str:
    if plan.set_seed != found.set_seed:
        return f"set_seed: {found.set_seed} there, {plan.set_seed} now; other noise for every picture"
    if len(plan.prompts) < found.n_prompts:
        return f"n_prompts: {found.n_prompts} there, {len(plan.prompts)} now; a set does not lose pictures"
    if plan.samples < found.samples:
        return f"samples: {found.samples} there, {plan.samples} now; a set does not lose pictures"
    return ""


def _changed_arms(there: Sequence[str], now: Sequence[str]) -> str:
    gone = [name for name in there if name not in now]
    if gone:
        return f"arms: {', '.join(gone)} is there and not in --arms; name the arms of the set, then the new ones"
    if list(now[: len(there)]) != list(there):
        return f"arms: the set has {', '.join(there)} in this order; name them so, and new ones after them"
    return ""


def _changed_recipes(found: Manifest, plan: Plan) -> str:
    for record, arm in zip(found.arms, plan.arms, strict=False):  # the names are the same already
        if changed := changed_recipe(record, arm):
            return f"arm {arm.name}: {changed}; a file of another name makes a new arm"
    return ""


def changed_recipe(record: ArmRecord, arm: Arm) -> str:
    """In words, in what an arm of a set differs from the arm of that name now; '' for a set that does not say it.

    An arm is named after the stem of its file (coefficients, bit map, GGUF weights), whose content may change.
    """
    there, now = flat(record.recipe), flat(arm.record().model_dump(mode="json")["recipe"])
    changed = [key for key in {**there, **now} if there.get(key) != now.get(key)] if there else []
    return "" if not changed else f"{changed[0]} was {there.get(changed[0])}, is {now.get(changed[0])} now"


def _changed_prompts(folder: Location, found: Manifest, plan: Plan) -> str:
    first = plan.prompts[: found.n_prompts]
    if found.requests:
        same = prompts_hash(first) == found.requests[-1].used_sha256
    else:
        same = plan.prompts_sha256 == found.prompts_sha256
    if same:
        return ""
    reason = _first_difference(folder, first)
    return f"prompts: {reason}; append new prompts at the end"


def _first_difference(folder: Location, prompts: Sequence[Prompt]) -> str:
    """In words, how the prompts that have pictures differ from those that are asked for in their place."""
    now = {p.prompt_id: p for p in prompts}
    for row in _whole_rows(folder):
        prompt = now.get(row.prompt_id)
        if prompt is None:
            return f"{row.prompt_id!r} has pictures and is not among the first {len(prompts)} of the file"
        if prompt.prompt != row.prompt:
            return f"the text of {row.prompt_id!r} was {row.prompt!r:.60}, is {prompt.prompt!r:.60} now"
        if prompt.category != row.category:
            return f"the category of {row.prompt_id!r} was {row.category!r}, is {prompt.category!r} now"
    return f"the first {len(prompts)} are other prompts than the set was made for, or in another order"


def _whole_rows(folder: Location) -> Iterator[ImageRow]:
    with contextlib.suppress(RowError):  # what a kill left; the run mends it
        yield from iter_rows(folder)
