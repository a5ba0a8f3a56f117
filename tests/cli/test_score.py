"""`qsched score` at the command line: what is refused, in words, and what the terminal shows."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError, QschedError


def run(*words: object):
    """The command's result; an error of ours is raised as it is."""
    done = CliRunner().invoke(app, ["score", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_k_is_asked_before_the_work_and_nothing_is_written(small_image_set, tmp_path):
    for k in ("nan", "-5", "inf"):
        with pytest.raises(InputError, match="it must be a number from 0"):
            run(small_image_set, "--metrics", "psnr", "--k", k, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_for_results_below_a_file_is_refused(small_image_set, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"the results cannot go to .*give --out a folder"):
            run(small_image_set, "--metrics", "psnr", "--out", out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must not be there")
def test_a_gpu_that_is_not_there_is_said_in_words(small_image_set, tmp_path):
    with pytest.raises(QschedError, match="no CUDA GPU on this machine; use --device cpu"):
        run(small_image_set, "--metrics", "psnr", "--device", "cuda", "--out", tmp_path)


def test_weights_of_a_scorer_that_is_not_in_use_are_refused(small_image_set, tmp_path):
    for item, rule in (("clipscor=tiny-clip", "takes no weights"), ("pickscore=/x", "not among the metrics psnr")):
        with pytest.raises(InputError, match=rule):
            run(small_image_set, "--metrics", "psnr", "--weights", item, "--out", tmp_path)


def test_the_distance_takes_the_weights_of_clipscore_without_scoring_it(small_image_set, tmp_path):
    words = ["--metrics", "psnr", "--frechet-clip", "baseline", "--weights", "clipscore=tiny-clip"]
    assert "fewer than the 128 features" in run(small_image_set, *words, "--out", tmp_path).output


@pytest.mark.parametrize("width", [80, 100])
def test_no_interval_is_cut_at_the_width_of_a_terminal(small_image_set, tmp_path, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    weights = ["--weights", "clipscore=tiny-clip", "--weights", "clip-iqa=tiny-clip"]
    shown = run(small_image_set, *weights, "--out", tmp_path).output
    table = shown[: shown.index("cost")]
    assert "…" not in table and table.count("[") == table.count("]") == 2 * 5, "two arms, five metrics"
    assert all(len(line) <= width for line in table.splitlines())
