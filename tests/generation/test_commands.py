"""`qsched generate-pairs` and `qsched verify` as a user meets them, in the process of the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qsched.cli import main as cli
from qsched.generation import verify_set


@pytest.fixture
def qsched(monkeypatch, capfd):
    """Run the command line; (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qsched", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
            sys.exit(0)
        code = end.value.code
        out, err = capfd.readouterr()
        return int(code or 0), out, err

    return run


def test_a_set_is_made_checked_damaged_and_found_out(qsched, random_pipelines, tmp_path: Path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red ring\na blue dot\n")
    out = tmp_path / "set"
    options = ["--arms", "fp32,w3a8", "--device", "cpu", "--steps", "1", "--width", "32", "--seed", "7"]
    files = ["--backbone", str(random_pipelines["sdxl"]), "--prompts", str(prompts), "--out", str(out)]
    command = ["generate-pairs", *options, *files]
    code, shown, progress = qsched(*command)
    assert code == 0 and "complete: 4 images" in shown and "contact_sheet.html" in shown
    assert "w3a8" in shown and "simulated" in shown and "85 layers converted" in progress
    code, shown, _ = qsched("verify", str(out))
    assert code == 0 and "ok: 4 of 4 images" in shown
    next((out / "images").iterdir()).unlink()
    code, shown, _ = qsched("verify", str(out))
    assert code == 2 and "NOT OK" in shown and "No such file" in shown
    code, shown, _ = qsched(*command)
    assert code == 0 and "1 made, 3 there already" in shown and verify_set(out).ok


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "w5"], "precision 'w5' is unknown"),
        (["--arms", "fp32,w4a4+qsched"], "run `qsched calibrate"),
        (["--prompts", "absent.yaml"], "absent.yaml does not exist"),
        (["--backbone", "flux"], "neither a known name"),
        (["--device", "tpu"], "choose auto, cpu or cuda"),
        (["--dtype", "int8"], "choose fp32, bf16, fp16"),
        (["--width", "31"], "multiples of"),
    ],
)
def test_a_wrong_option_is_one_message_and_exit_code_2(qsched, random_pipelines, tmp_path, arguments, message) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red ring\n")
    options = {
        "--backbone": str(random_pipelines["sdxl"]),
        "--arms": "fp32",
        "--prompts": str(prompts),
        "--out": str(tmp_path / "set"),
        "--device": "cpu",
    }
    options.update(zip(arguments[::2], arguments[1::2], strict=True))
    code, _, err = qsched("generate-pairs", *[word for option in options.items() for word in option])
    assert code == 2 and message in err and "Traceback" not in err
    assert not list((tmp_path / "set" / "images").glob("*")) if (tmp_path / "set").exists() else True


def test_ctrl_c_says_how_to_go_on_and_leaves_a_set_that_resumes(
    qsched, random_pipelines, tmp_path, monkeypatch
) -> None:
    from qsched.generation.worker import Worker

    prompts = tmp_path / "p.txt"
    prompts.write_text("a red ring\na blue dot\na green ring\n")
    out = tmp_path / "set"
    command = [
        "generate-pairs",
        "--backbone",
        str(random_pipelines["sd15"]),
        "--arms",
        "fp32",
        "--device",
        "cpu",
        "--prompts",
        str(prompts),
        "--out",
        str(out),
        "--batch-size",
        "1",
    ]
    real, calls = Worker.render, []

    def stopped(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    monkeypatch.setattr(Worker, "render", stopped)
    code, _, err = qsched(*command)
    assert code == 130 and "Run the same command again" in err and "Traceback" not in err
    monkeypatch.setattr(Worker, "render", real)
    code, shown, _ = qsched(*command)
    assert code == 0 and "2 made, 1 there already" in shown and verify_set(out).ok


def test_verify_of_a_folder_that_is_no_set_says_so(qsched, tmp_path) -> None:
    code, _, err = qsched("verify", str(tmp_path))
    assert code == 2 and "is not an image set" in err
