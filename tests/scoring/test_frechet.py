"""The Fréchet distance: its value, its files, and files that are not statistics."""

from __future__ import annotations

import numpy as np
import pytest

from qsched.errors import InputError
from qsched.scoring import frechet_distance
from qsched.scoring.frechet import (
    ClipFeatures,
    FeatureStatistics,
    measure_statistics,
    read_statistics,
    reference_statistics,
)
from tests.scoring.pictures import picture


def test_frechet_distance_of_gaussians_is_the_closed_form():
    # Diagonal covariances: |mu|^2 + sum (sqrt(a) - sqrt(b))^2 = 9 + (1-2)^2 + (3-1)^2 = 14.
    one = FeatureStatistics("f", 10, np.zeros(2), np.diag([1.0, 9.0]))
    two = FeatureStatistics("f", 10, np.array([3.0, 0.0]), np.diag([4.0, 1.0]))
    assert frechet_distance(one, two) == pytest.approx(14.0)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InputError, match="different features"):
        frechet_distance(one, FeatureStatistics("g", 10, np.zeros(2), np.eye(2)))


def test_frechet_distance_agrees_with_the_matrix_square_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) for _ in range(2))
    stats = [FeatureStatistics("f", 40, x.mean(0), np.cov(x, rowvar=False)) for x in (a, b)]
    slow = ((stats[0].mu - stats[1].mu) ** 2).sum() + np.trace(
        stats[0].sigma + stats[1].sigma - 2 * sqrtm(stats[0].sigma @ stats[1].sigma).real
    )
    assert frechet_distance(*stats) == pytest.approx(slow, rel=1e-6)


def test_stored_statistics_round_trip_and_a_folder_gives_the_same(clip_folder, tmp_path):
    files = []
    for seed in range(6):
        files.append(tmp_path / "set" / f"{seed}.png")
        files[-1].parent.mkdir(exist_ok=True)
        picture(seed).save(files[-1])
    extractor = ClipFeatures(clip_folder, batch_size=4)
    statistics = measure_statistics(files, extractor)
    assert statistics.count == 6 and statistics.mu.shape == (24,)
    np.savez(
        tmp_path / "stored.npz",
        mu=statistics.mu,
        sigma=statistics.sigma,
        features=statistics.features,
        count=statistics.count,
    )
    stored = reference_statistics(tmp_path / "stored.npz", extractor)
    assert frechet_distance(stored, reference_statistics(tmp_path / "set", extractor)) == pytest.approx(0.0, abs=1e-7)
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.eye(2))
    with pytest.raises(InputError, match="do not belong together"):
        read_statistics(tmp_path / "bad.npz", features="f")
    with pytest.raises(InputError, match="no covariance"):
        measure_statistics(files[:1], extractor)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["mu", "sigma"])
def test_stored_statistics_that_are_not_finite_are_refused(tmp_path, value, place):
    arrays = {"mu": np.zeros(3), "sigma": np.eye(3)}
    arrays[place] = arrays[place] * 1.0
    arrays[place].flat[0] = value
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(InputError, match=rf"s\.npz: {place} holds something that is not a finite number"):
        read_statistics(tmp_path / "s.npz", features="f")


def test_a_distance_that_is_no_number_is_an_error_and_not_the_perfect_score():
    good = FeatureStatistics("f", 9, np.zeros(2), np.eye(2))
    for mu, sigma in (([np.nan, 0.0], np.eye(2)), ([1e200, 0.0], np.eye(2)), ([0.0, 0.0], np.full((2, 2), np.nan))):
        bad = FeatureStatistics("f", 9, np.array(mu), sigma)
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(InputError, match="cannot be computed"):
                frechet_distance(*pair)


def test_features_that_are_not_finite_name_the_picture(tmp_path):
    class Broken:
        name = "broken"

        def extract(self, files):
            return np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0]])

    with pytest.raises(InputError, match=r"b\.png: its features \(broken\) are not finite"):
        measure_statistics([tmp_path / name for name in ("a.png", "b.png", "c.png")], Broken())


def test_a_file_that_is_no_npz_is_refused_with_its_path(tmp_path):
    np.save(tmp_path / "array.npy", np.eye(3))
    contents = {
        "renamed": (tmp_path / "array.npy").read_bytes(),
        "empty": b"",
        "text": b"not statistics",
        "cut": b"PK\x03\x04" + bytes(40),
    }
    np.savez_compressed(tmp_path / "whole.npz", mu=np.zeros(64), sigma=np.random.default_rng(0).normal(size=(64, 64)))
    whole = (tmp_path / "whole.npz").read_bytes()
    contents["truncated"] = whole[: len(whole) // 2]
    contents["flipped"] = whole[:3000] + bytes(64) + whole[3064:]
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.npz holds no feature statistics"):
            read_statistics(tmp_path / f"{name}.npz", features="f")


@pytest.mark.parametrize("sigma", [[[1.0, 0.5], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]])
def test_a_sigma_that_is_no_covariance_is_refused(tmp_path, sigma):
    np.savez(tmp_path / "s.npz", mu=np.zeros(2), sigma=np.array(sigma))
    with pytest.raises(InputError, match="sigma is not a covariance"):
        read_statistics(tmp_path / "s.npz", features="f")


def test_statistics_of_another_width_say_both_widths():
    with pytest.raises(InputError, match="statistics of 2 and of 3 features"):
        frechet_distance(
            FeatureStatistics("f", 9, np.zeros(2), np.eye(2)), FeatureStatistics("f", 9, np.zeros(3), np.eye(3))
        )
