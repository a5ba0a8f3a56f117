"""Check the pictures of a submission: the set keeps its contract, and is the one that the benchmark asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qsched.backbones.find import find_spec
from qsched.backbones.spec import DEFAULT_STEPS
from qsched.bench.identity import read_identity
from qsched.bench.places import Places
from qsched.bench.results import read_json
from qsched.bench.spec import ModelSpec
from qsched.bench.steps import has_other_recipes, is_of_other_weights
from qsched.bench.submit import SUBMISSION
from qsched.errors import QschedError
from qsched.generation import read_prompts
from qsched.generation.verify import verify_set
from qsched.precision import find_recipe, hash_of
from qsched.records import Manifest, iter_rows, read_manifest
from qsched.records.image_set import GENERATE_PAIRS

_SHOWN = 5


def picture_problems(places: Places, model: ModelSpec) -> Iterator[str]:
    """What is wrong with the image set of a model; each is a sentence."""
    images, benchmark = places.images(model), places.benchmark
    report = verify_set(images, decode=True)  # another lab says that our encoder made it
    for fault in report.findings[:_SHOWN]:
        yield f"{fault.where}: {fault.problem}"
    if len(report.findings) > _SHOWN:
        yield f"{len(report.findings) - _SHOWN} more"
    manifest = read_manifest(images)
    wanted = [places.arm_name(arm) for arm in benchmark.arms_of(model)]
    if [arm.name for arm in manifest.arms] != wanted:
        yield f"the arms are {', '.join(arm.name for arm in manifest.arms)}, and the benchmark has {', '.join(wanted)}"
    used = manifest.requests[-1].used_sha256 if manifest.requests else None
    if used != read_identity(places.folder).prompts_sha256:
        yield "the pictures are of other prompts"
    yield from _prompt_problems(places, model)
    if (manifest.samples, manifest.set_seed) != (benchmark.samples, benchmark.seed):
        yield f"samples {manifest.samples}, seed {manifest.set_seed}: the benchmark asks for others"
    yield from _setting_problems(model, manifest)
    submitted = stated_models(places).get(model.name)
    if not isinstance(submitted, dict) or submitted.get("weights") != manifest.provenance.get("backbone_weights"):
        yield f"{SUBMISSION} names other weights than the set"
    if is_of_other_weights(model, manifest):
        yield f"its weights are not those of {model.source} that are here"
    yield from _recipe_problems(manifest)
    if has_other_recipes(places, model, manifest):
        yield "the coefficients of an arm are not those that the benchmark names"


def picture_notes(places: Places, model: ModelSpec) -> tuple[str, ...]:
    """What the set of a model does not say, so that nothing could be compared."""
    tool = read_manifest(places.images(model)).provenance.get("tool")
    if tool == GENERATE_PAIRS:
        return ()
    return (f"the set was not made by {GENERATE_PAIRS}, so that nothing shows steps, guidance and seeds",)


def stated_models(places: Places) -> dict[str, Any]:
    """What submission.json says of each model; empty if it says nothing."""
    models = read_json(places.folder / SUBMISSION).get("models")
    return models if isinstance(models, dict) else {}


def _prompt_problems(places: Places, model: ModelSpec) -> Iterator[str]:
    """Each row has the text and the category that prompts.json gives its prompt."""
    prompts = {one.prompt_id: (one.prompt, one.category) for one in read_prompts(places.prompts)}
    for row in iter_rows(places.images(model)):
        if prompts.get(row.prompt_id) != (row.prompt, row.category):
            yield f"{row.arm} {row.prompt_id}/{row.sample_index}: its prompt is not the one of prompts.json"
            return


def _setting_problems(model: ModelSpec, manifest: Manifest) -> Iterator[str]:
    """Steps, guidance and size are the benchmark's where it states them, else the backbone's own."""
    made = manifest.provenance
    if made.get("tool") != GENERATE_PAIRS:
        return  # an imported set says nothing of them
    try:
        spec = find_spec(model.source, revision=model.revision, variant=model.variant)
    except QschedError:
        steps, source = model.steps, None  # a folder of that lab
    else:
        steps, source = model.steps or spec.steps or DEFAULT_STEPS, model.source
    stated = {
        "steps": (steps, manifest.steps),
        "guidance_scale": (model.guidance_scale, made.get("guidance_scale")),
        "width": (model.width, manifest.width),
        "height": (model.height, manifest.height),
        "dtype": (model.dtype, made.get("base_dtype")),
        "backbone": (source, made.get("backbone_source")),
    }
    for name, (wanted, found) in stated.items():
        if wanted is not None and wanted != found:
            yield f"{name} is {found}, and the benchmark's is {wanted}"


def _recipe_problems(manifest: Manifest) -> Iterator[str]:
    """Each arm's hash is that of its recipe, and the recipe is what the precision means."""
    for arm in manifest.arms:
        if arm.recipe_hash != hash_of(arm.recipe):
            yield f"{arm.name}: its recipe hash is not that of its recipe"
        try:
            known = find_recipe(arm.precision).to_dict()
        except QschedError:
            continue  # a precision with files of its own, which are not here
        if arm.recipe.get("precision") != known:
            yield f"{arm.name}: its recipe is not what {arm.precision} means in this version of qsched"
