"""`qsched calibrate` on a random-weight pipeline in a folder, quantized for real, scored by a real CLIP."""

from __future__ import annotations

import hashlib
import json
import weakref
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qsched.calibration.command import CalibrationRequest, run_calibration, split_prompts
from qsched.calibration.settings import CalibrationSettings
from qsched.cli.main import app
from qsched.errors import QschedError
from qsched.scheduling import read_coefficients
from tests.calibration.pipelines import random_flux
from tools.ship_coefficients import shipped_entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A diffusers folder with its defaults, and prompts beside it."""
    base = tmp_path_factory.mktemp("model")
    random_flux().pipeline.save_pretrained(base / "random-flux")
    (base / "random-flux" / "qsched.json").write_text('{"steps": 2, "guidance_scale": 0.0, "width": 32, "height": 32}')
    lines = [
        f"p{i}: a {size} red ring {side}"
        for i, (size, side) in enumerate(
            (size, side) for size in ("small", "large") for side in ("left", "right", "above", "below")
        )
    ]
    (base / "prompts.yaml").write_text("\n".join(lines) + "\n")
    return base


def invoke(folder: Path, clip: Path, out: Path, *more: str):
    weights = ["--weights", f"clipscore={clip}", "--weights", f"clip-iqa={clip}"]
    where = ["--backbone", str(folder / "random-flux"), "--prompts", str(folder / "prompts.yaml"), "--out", str(out)]
    search = [] if "--strategy" in more else ["--strategy", "race"]
    search += [] if "closed-form" in more or "--grid-size" in more else ["--grid-size", "3"]
    search += [] if "--judge" in more else ["--judge", "none"]  # the default judge's weights are not here
    return CliRunner().invoke(app, ["calibrate", *where, "--precision", "w4a4", *search, *weights, *more])


@pytest.mark.slow
def test_the_command_writes_coefficients_with_provenance_and_a_page(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--strategy", "grid", "--device", "cpu")
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert read_coefficients(out).to_dict() == record["coefficients"]
    assert record["precision"] == "w4a4" and record["steps"] == 2 and record["backbone"] == "random-flux"
    spent = record["provenance"]["spent"]
    assert spent["search_nfe"] == 4 + 4 * 9 * (2 - 1) and spent["candidates"] == 9
    assert record["provenance"]["arm"]["layers_converted"] > 0 and record["provenance"]["arm"]["simulated"] is True
    assert record["objective"]["tc"]["name"] == "clipscore" and "sha256" in record["objective"]["iq"]["version"]
    assert record["gain"]["full_precision_control"]["n"] == 4
    assert len(record["heldout"]["jaq"]["tuned"]) == 4
    assert not set(record["provenance"]["prompts"]["heldout"]) & set(record["provenance"]["prompts"]["calibration"])
    page = out.with_suffix(".html").read_text()
    assert "<svg" in page and "held-out" in page and "full precision" in page and "<script" not in page
    again = invoke(folder, clip_folder, out, "--strategy", "grid", "--device", "cpu")
    assert again.exit_code == 0 and json.loads(out.read_text())["found"] == record["found"]
    entry = shipped_entry(record)
    assert "tuned" not in entry["heldout"]["jaq"] and entry["heldout"]["jaq"]["gain"]["n"] == 4


def test_the_default_strategy_writes_both_methods_and_generate_pairs_makes_the_arm(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--strategy", "closed-form", "--device", "cpu", "--force")
    assert done.exit_code == 0, done.output
    assert "Q-Sched:" in done.output and "qsched-bias:" in done.output and "is linear" in done.output
    record = json.loads(out.read_text())
    assert record["qsched_bias"]["method"] == "qsched-bias" and record["method"] == "qsched"
    spent = record["provenance"]["spent"]
    assert spent["search_nfe"] == spent["most_nfe"] == 2 * 4 * 2 + 3 * 4 * (2 - 1)
    assert {one["found_by"] for one in record["candidates"]} > {"stock", "least squares, a bias per channel and step"}
    read_coefficients(out, method="qsched-bias")
    # Whether a bias wins on random weights depends on the processor; the arm is made with one written by hand.
    record["qsched_bias"]["coefficients"] = {
        "family": "per_step",
        "model": [1.0, 1.0],
        "sample": [1.0, 1.0],
        "bias": [[0.3, -0.3, 0.2, 0.1]] * 2,
    }
    out.write_text(json.dumps(record))
    arms = f"fp32,w4a4,w4a4+qsched-bias:{out}"
    options = ["--prompts", str(folder / "prompts.yaml"), "--limit", "2", "--device", "cpu", "--batch-size", "2"]
    model = ["--backbone", str(folder / "random-flux"), "--arms", arms, "--out", str(tmp_path / "set")]
    made = CliRunner().invoke(app, ["generate-pairs", *model, *options])
    assert made.exit_code == 0, made.output
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert [arm["name"] for arm in manifest["arms"]] == ["fp32", "w4a4", "w4a4+qsched-bias:c"]
    rows = [json.loads(line) for line in (tmp_path / "set" / "images.jsonl").read_text().splitlines()]
    assert len({row["sha256"] for row in rows}) == 6, "the bias changes the pictures"
    assert (
        manifest["arms"][2]["coefficients"]["bias"] and manifest["arms"][2]["coefficients_origin"]["file"] == "c.json"
    )


def test_an_early_round_and_a_sparing_autoencoder_stand_in_the_record(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    options = ["--strategy", "grid", "--device", "cpu", "--no-control", "--early-decode", "half"]
    done = invoke(folder, clip_folder, out, *options, "--vae-slicing", "--vae-tiling")
    assert done.exit_code == 0, done.output
    assert "32 pictures decoded by half named the 8 candidates that were judged by whole pictures" in done.output
    provenance = json.loads(out.read_text())["provenance"]
    assert provenance["spent"]["early_round"]["finalists"] == 8
    assert provenance["settings"]["early_decode"] == "half" and provenance["arm"]["vae"] == "tiling"
    other = invoke(folder, clip_folder, out, *options)
    assert "holds the values of another calibration (other vae)" in str(other.exception)


def test_the_quantized_model_is_gone_when_the_control_is_loaded(folder, clip_folder, tmp_path, monkeypatch):
    from qsched.calibration import command

    models, alive, load = [], [], command.load_for

    def watched(request):
        alive.append(sum(model() is not None for model in models))
        backbone = load(request)
        models.append(weakref.ref(backbone.denoiser))
        return backbone

    monkeypatch.setattr(command, "load_for", watched)
    done = invoke(folder, clip_folder, tmp_path / "c.json", "--strategy", "closed-form", "--device", "cpu", "--force")
    assert done.exit_code == 0, done.output
    assert alive == [0, 0], "one after the other, and never both"


def test_a_dry_run_counts_and_times_and_writes_nothing(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--strategy", "closed-form", "--device", "cpu", "--dry-run")
    assert done.exit_code == 0, done.output
    # 4 + 4 prompts of 2 steps: 16 + 12 to search; 8 + 2 x 4 to check, twice for the control, 3 x 3 for the examples.
    assert "at most 28 for the search, 41 for the check" in done.output
    assert "pictures to decode and score: at most 148" in done.output  # 16 + 96 + 24 + 12
    assert "MB in full precision" in done.output and "nothing was written" in done.output
    assert not list(tmp_path.iterdir())
    run = invoke(folder, clip_folder, out, "--strategy", "closed-form", "--device", "cpu")
    spent = json.loads(out.read_text())["provenance"]["spent"]
    assert run.exit_code == 0 and spent["search_nfe"] == 28 and spent["check_nfe"] <= 41


def test_a_probe_prints_the_linear_share_of_each_step_and_writes_nothing(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--strategy", "closed-form", "--device", "cpu", "--probe")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["step", "error", "scalars", "bias", "bias", "and", "scalars"] in lines
    shares = [line[3:] for line in lines if line[:1] in (["1"], ["2"]) and line[2:3] == ["%"]]
    assert len(shares) == 2
    most = max(float(cell) for line in shares for cell in line if cell != "%")
    assert f"at most {most:.1f} % is linear" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["svdquant", "w4a4:ptqd"])
def test_a_precision_that_needs_statistics_is_calibrated_on_its_own_prompts(precision, folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    options = ["--no-control", "--strategy", "grid", "--device", "cpu", "--n-prompts", "2", "--n-heldout", "2"]
    done = invoke(folder, clip_folder, out, *options, "--grid-size", "2", "--precision", precision)
    assert done.exit_code == 0, done.output
    hashes = json.loads(out.read_text())["provenance"]["arm"]["statistics_sha256"]
    kept = list((tmp_path / "c.statistics").iterdir())
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in kept] == list(hashes.values())


def test_another_seed_with_the_same_out_is_refused_with_exit_code_2(folder, clip_folder, tmp_path, monkeypatch):
    out = tmp_path / "c.json"
    assert invoke(folder, clip_folder, out, "--no-control", "--budget-nfe", "100").exit_code == 0
    done = invoke(folder, clip_folder, out, "--no-control", "--seed", "1")
    assert isinstance(done.exception, QschedError) and "other seed" in str(done.exception)


@pytest.mark.parametrize(
    "more, rule",
    [
        (["--n-prompts", "1"], "at least 2 are needed"),
        (["--n-prompts", "8"], "Give a longer prompts file"),
        (["--model-range", "wide"], "write two numbers"),
        (["--sample-range", "1.1,1.2"], "is always a candidate"),
        (["--family", "cubic"], "choose one of constant"),
        (["--strategy", "anneal"], "choose one of closed-form, race"),
        (["--strategy", "closed-form", "--family", "linear"], "add --strategy race"),
        (["--strategy", "closed-form", "--precision", "fp32"], "add --strategy race"),
        (["--strategy", "closed-form", "--precision", "w4a4:ptqd"], "add --strategy race"),
        (["--probe"], "leave --strategy race out"),
        (["--probe", "--dry-run"], "ask one of them"),
        (["--iq", "clipscore"], "is both TC and IQ"),
        (["--objective", "paper"], "choose one of paper-clip"),
        (["--objective", "paper-clip", "--k", "1"], "leave --tc, --iq and --k out"),
        (["--objective", "paper-clip"], "clipscore:100 has no default weights"),
        (["--judge", "clip-iqa"], "--judge clip-iqa is part of the objective"),
        (["--judge", "clipscore:100"], "cannot be loaded: clipscore:100 has no default weights"),
        (["--judge", "auto"], "is not on this machine and cannot be fetched"),
        (["--k-units", "var"], "choose raw or sd"),
        (["--k", "nan"], "k is nan"),
        (["--budget-nfe", "0"], "above 0"),
        (["--budget-minutes", "inf"], "above 0, or none"),
        (["--weights", "clipscore"], "write scorer=path"),
        (["--k", "-1"], "k is -1"),
        (["--precision", "w99a1"], "is unknown; choose for example"),
        (["--model-range", "0.9,inf"], "must be finite"),
        (["--sample-range", "nan,1.2"], "must be finite"),
        (["--heldout", "demos"], "demos"),
        (["--out", "c.txt"], "does not end in .json"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_any_picture(folder, clip_folder, tmp_path, more, rule):
    done = invoke(folder, clip_folder, tmp_path / "c.json", *more)
    assert isinstance(done.exception, QschedError) and rule in str(done.exception), done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more",
    [
        ["--seed", "-1"],
        ["--grid-size", "0"],
        ["--grid-size", "1"],
        ["--grid-size", "-3"],
    ],
)
def test_numbers_below_their_least_are_refused_on_the_command_line_and_in_settings(folder, clip_folder, tmp_path, more):
    done = invoke(folder, clip_folder, tmp_path / "c.json", *more)
    assert done.exit_code == 2 and isinstance(done.exception, SystemExit) and not list(tmp_path.iterdir())
    with pytest.raises(QschedError, match="or more"):
        CalibrationSettings(strategy="race", **{{"--seed": "seed", "--grid-size": "size"}[more[0]]: int(more[1])})


def test_outputs_never_overwrite_prompts_or_a_strange_file(folder, clip_folder, tmp_path):
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps({f"p{i}": f"a small red ring {i}" for i in range(8)}))
    before = prompts.read_text()
    strange = tmp_path / "other.json"
    strange.write_text('{"settings": 1}')
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "words.journal.jsonl").write_text("my diary, without a line end")
    refused = [
        (prompts, ["--prompts", str(prompts)], "would write over --prompts"),
        (prompts, ["--heldout", str(prompts)], "would write over --heldout"),
        (strange, [], "is not a coefficients file"),
        (tmp_path / "file" / "c.json", [], "not a folder that can be written to"),
        (tmp_path / "folder.json", [], "is a folder"),
        (tmp_path / "words.json", ["--no-control"], "another calibration"),
    ]
    for out, more, rule in refused:
        done = invoke(folder, clip_folder, out, *more)
        assert isinstance(done.exception, QschedError) and rule in str(done.exception), (rule, done.exception)
    assert prompts.read_text() == before and strange.read_text() == '{"settings": 1}'
    assert "diary" in (tmp_path / "words.journal.jsonl").read_text()


def test_a_shipped_set_serves_as_heldout_prompts_and_a_file_gets_lines_of_progress(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--heldout", "demo", "--n-heldout", "2", "--no-control", "--n-prompts", "3")
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["gain"]["heldout"]["n"] == 2
    assert "loading the backbone" in done.stderr and "of at most" in done.stderr
    page = out.with_suffix(".html").read_text()
    assert 'name="viewport"' in page and page.count('<table class="stack">') >= 2, "rows become blocks on a phone"


def test_a_budget_too_small_for_any_candidate_says_what_would_be_needed(folder, clip_folder, tmp_path):
    out = tmp_path / "c.json"
    done = invoke(folder, clip_folder, out, "--no-control", "--budget-nfe", "12")
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["verdict"] == "not searched"
    for text in (done.output, out.with_suffix(".html").read_text()):
        assert "12 NFE ended the search before any candidate" in text and "takes at most" in text
    done = invoke(folder, clip_folder, tmp_path / "d.json", "--no-control", "--budget-nfe", "3")
    assert "a budget of 3 NFE does not pay for the stock scheduler on 4 prompts (8 NFE)" in str(done.exception)


def test_heldout_prompts_of_their_own_leave_the_whole_file_for_the_search(folder, tmp_path):
    (tmp_path / "other.txt").write_text("one\ntwo\nthree\n")
    request = CalibrationRequest(
        "x", "w4a4", folder / "prompts.yaml", tmp_path / "c.json", heldout=tmp_path / "other.txt"
    )
    prompts, heldout = split_prompts(request)
    assert len(prompts) == 8 and [p.prompt for p in heldout] == ["one", "two", "three"]


def test_a_dtype_precision_is_calibrated_without_a_control(folder, clip_folder, tmp_path):
    done = run_calibration(
        CalibrationRequest(
            str(folder / "random-flux"),
            "fp32",
            folder / "prompts.yaml",
            tmp_path / "c.json",
            CalibrationSettings(strategy="grid", size=2, family="linear-to-one"),
            weights={"clipscore": str(clip_folder), "clip-iqa": str(clip_folder)},
            device="cpu",
            judge="none",
        )
    )
    assert done.result.qsched.control is None and done.record["gain"]["full_precision_control"] is None
