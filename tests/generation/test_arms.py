"""Arms as text, and the plan they make."""

from __future__ import annotations

import json

import pytest

from qsched.backbones.named import BACKBONES
from qsched.backbones.spec import BackboneSpec
from qsched.errors import InputError
from qsched.generation import make_plan, parse_arms
from qsched.scheduling import Coefficients

C = Coefficients.linear(model=(0.9, 1.0), sample=(1.1, 1.0))


@pytest.fixture
def spec(tmp_path) -> BackboneSpec:
    table = {
        "w4a4": {"coefficients": C.to_dict(), "provenance": {"seed": 1}},
        "w4a8": {"coefficients": {"family": "x"}},
    }
    (tmp_path / "qsched_coefficients.json").write_text(json.dumps(table))
    return BackboneSpec("here", str(tmp_path))


def arms(text: str, spec: BackboneSpec, **more):
    return parse_arms(text, spec, **{"steps": 4, "dtype": None, "default_dtype": "fp32", **more})


def test_shipped_and_given_coefficients_and_stock_arms(spec, tmp_path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(Coefficients.constant(model=0.95).to_json())
    parsed = arms(f"fp32, w4a4,w4a4+qsched,w4a4+qsched:{path}", spec)
    assert [a.name for a in parsed] == ["fp32", "w4a4", "w4a4+qsched", "w4a4+qsched:mine"]
    assert [a.coefficients for a in parsed] == [None, None, C, Coefficients.constant(model=0.95)]
    assert len({a.record().recipe_hash for a in parsed}) == 4
    assert [a.record().simulated for a in parsed] == [False, True, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("fp32,,w4a4", "empty"),
        ("fp32,fp32", "named twice"),
        ("int4", "unknown"),
        ("w4a4+sched", "write w4a4"),
        ("w4a4+qsched:", "write w4a4"),
        ("w4a4+qsched:absent.json", "absent.json does not exist"),
        ("fp32+qsched", "has w4a4, w4a8, not fp32; run `qsched calibrate"),
        ("w4a8+qsched", "w4a8: coefficients are an object"),
    ],
)
def test_a_wrong_arm_is_an_error_with_the_remedy(spec, text, message) -> None:
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        arms(text, spec)


def test_options_of_a_precision_compose_with_coefficients(spec, tmp_path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"family": "constant", "model": 0.9, "sample": 1.0}')
    arms = parse_arms(
        f"fp32,w4a4:keep=x_embedder|proj_out+qsched:{file}", spec, steps=4, dtype=None, default_dtype="fp32"
    )
    assert arms[1].name == "w4a4:keep=x_embedder|proj_out+qsched:mine"
    assert arms[1].recipe.keep == ("x_embedder", "proj_out")
    assert arms[1].record().recipe["precision"]["keep"] == ["x_embedder", "proj_out"]


def test_two_bit_maps_of_one_file_name_are_refused(spec, tmp_path) -> None:
    for folder, bits in (("a", 2), ("b", 8)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "map.json").write_text(f'{{"*": {bits}}}')
    text = f"w4a4:bits={tmp_path}/a/map.json,w4a4:bits={tmp_path}/b/map.json+qsched"
    with pytest.raises(InputError, match="two different files"):
        parse_arms(text, spec, steps=4, dtype=None, default_dtype="fp32")


def test_a_hub_backbone_has_no_shipped_coefficients(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no coefficients come with sdxl-turbo; run `qsched calibrate"):
        arms("w4a8+qsched", BACKBONES["sdxl-turbo"])


def test_per_step_coefficients_must_fit_the_steps(spec, tmp_path) -> None:
    path = tmp_path / "p.json"
    path.write_text(Coefficients.per_step(model=[1, 1], sample=[1, 1]).to_json())
    with pytest.raises(InputError, match=r"arm 'w4a4\+qsched:.*2 per-step coefficients for 4"):
        arms(f"w4a4+qsched:{path}", spec)


def test_arms_share_the_base_dtype_of_the_first_dtype_arm(spec) -> None:
    assert [a.base_dtype for a in arms("w4a4,bf16,w8a8", spec)] == ["bf16"] * 3
    assert [a.base_dtype for a in arms("w4a4,w8a8", spec, default_dtype="fp16")] == ["fp16"] * 2
    assert [a.base_dtype for a in arms("bf16,w4a4", spec, dtype="fp32")] == ["bf16", "fp32"]


def plan(tmp_path, prompts: str = "a: x\nb: y\nc: z\n", **more):
    path = tmp_path / "p.yaml"
    path.write_text(prompts)
    chosen = arms("fp32,w4a4,fp32+qsched:" + str(tmp_path / "c.json"), BackboneSpec("s", str(tmp_path)))
    return make_plan(path, chosen, **{"samples": 2, "set_seed": 0, "batch_size": 4, "limit": None, **more})


def test_a_plan_cuts_equal_batches_for_all_arms_and_loads_each_precision_once(tmp_path) -> None:
    (tmp_path / "c.json").write_text(C.to_json())
    made = plan(tmp_path)
    assert [[job.key for job in batch] for batch in made.batches()] == [["a/0", "a/1", "b/0", "b/1"], ["c/0", "c/1"]]
    assert [[a.name for a in group] for group in made.by_precision()] == [["fp32", "fp32+qsched:c"], ["w4a4"]]
    assert made.n_images == 18


def test_seeds_do_not_depend_on_the_other_prompts_or_their_order(tmp_path) -> None:
    (tmp_path / "c.json").write_text(C.to_json())
    first = {job.key: job.seed for job in plan(tmp_path).jobs()}
    turned = {job.key: job.seed for job in plan(tmp_path, "c: other\nextra: x\na: x\n", batch_size=1).jobs()}
    assert all(first[key] == turned[key] for key in set(first) & set(turned)) and len(set(first.values())) == 6


@pytest.mark.parametrize("option", ["samples", "batch_size", "limit"])
def test_counts_below_one_are_errors(tmp_path, option) -> None:
    (tmp_path / "c.json").write_text(C.to_json())
    with pytest.raises(InputError, match="at least 1"):
        plan(tmp_path, **{option: 0})
