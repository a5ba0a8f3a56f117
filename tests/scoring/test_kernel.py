"""KID and CMMD: sums written out, unbiased at any number of pictures, and what cannot be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from typer.testing import CliRunner

from qsched.cli.main import app
from qsched.errors import InputError
from qsched.scoring.kernel import cmmd_kernel, kernel_distance, kid_kernel, reference_pictures
from tests.conftest import write_image_set


def slow(x, y, k):
    """The estimator as it is written, sum by sum."""
    a = [k(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j]
    b = [k(p, q) for i, p in enumerate(y) for j, q in enumerate(y) if i != j]
    c = [k(p, q) for p in x for q in y]
    return sum(a) / len(a) + sum(b) / len(b) - 2 * sum(c) / len(c)


def test_both_are_their_formulas():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(1, 1, size=(7, 3))
    assert kernel_distance(x, y, kid_kernel) == pytest.approx(slow(x, y, lambda p, q: (float(p @ q) / 3 + 1) ** 3))
    gauss = slow(x, y, lambda p, q: 1000 * math.exp(-float(((p - q) ** 2).sum()) / 200))
    assert kernel_distance(x, y, cmmd_kernel) == pytest.approx(gauss)


@pytest.mark.parametrize("kernel", [kid_kernel, cmmd_kernel])
def test_few_pictures_are_no_further_apart_than_many(kernel):
    rng = np.random.default_rng(1)

    def mean(n: int) -> tuple[float, float]:
        found = [kernel_distance(rng.normal(size=(n, 6)), rng.normal(0.5, 1, size=(n, 6)), kernel) for _ in range(400)]
        return float(np.mean(found)), float(np.std(found)) / 20

    (few, few_se), (many, many_se) = mean(8), mean(60)
    assert abs(few - many) < 4 * math.hypot(few_se, many_se)
    same = [kernel_distance(rng.normal(size=(8, 6)), rng.normal(size=(8, 6)), kernel) for _ in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20 and min(same) < 0, "no distance is 0 on average, and may be below"


def test_what_cannot_be_measured_is_refused(tmp_path):
    with pytest.raises(InputError, match="needs two at the very least"):
        kernel_distance(np.zeros((1, 2)), np.zeros((3, 2)), kid_kernel)
    with pytest.raises(InputError, match="of 2 and of 3 dimensions"):
        kernel_distance(np.zeros((2, 2)), np.zeros((3, 3)), kid_kernel)
    with pytest.raises(InputError, match="needs the pictures themselves"):
        reference_pictures(tmp_path / "stats.npz")


def test_cmmd_of_an_image_set_at_the_command_line(tmp_path):
    folder = write_image_set(tmp_path / "set", arms=("a", "b"), size=16)
    words = [
        "score",
        str(folder),
        "--metrics",
        "psnr",
        "--weights",
        "clipscore=tiny-clip",
        "--out",
        str(tmp_path / "o"),
    ]
    done = CliRunner().invoke(app, [*words, "--cmmd", "baseline"])
    assert done.exit_code == 0, done.output
    assert "CMMD to baseline" in done.output and "covariance" not in done.output
    both = CliRunner().invoke(app, [*words, "--cmmd", "baseline", "--kid", "baseline"])
    assert "--kid and --cmmd are two distances" in str(both.exception)
