"""PSNR, SSIM, LPIPS and the Fréchet distance against values made elsewhere or worked by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from qsched.errors import InputError, MissingExtraError
from qsched.scoring import ScoringError, frechet_distance, load_reference_metric, load_scorer
from qsched.scoring.frechet import (
    ClipFeatures,
    FeatureStatistics,
    measure_statistics,
    read_statistics,
    reference_statistics,
    write_statistics,
)
from tests.scoring.pictures import picture


def shifted(image: Image.Image, by: int) -> Image.Image:
    return Image.fromarray((np.asarray(image).astype(int) + by).clip(0, 255).astype("uint8"))


def test_psnr_of_a_shift_of_51_levels_is_the_hand_worked_value():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    # error = (51/255)^2 = 0.04 -> 10 log10(1 / 0.04) = 13.979400...
    psnr = load_reference_metric("psnr")
    assert psnr.score_against([shifted(grey, 51)], [grey]) == [pytest.approx(-10 * math.log10(0.04))]
    assert load_reference_metric("psnr").score_against([grey], [grey]) == [100.0]


def test_ssim_matches_the_golden_value_of_scikit_image():
    # skimage 0.26.0: structural_similarity(a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5,
    # use_sample_covariance=False, data_range=255) on picture(1, (40, 32)) and picture(2, (40, 32)).
    score = load_reference_metric("ssim").score_against([picture(1, (40, 32))], [picture(2, (40, 32))])
    assert score == [pytest.approx(SKIMAGE_SSIM, abs=1e-6)]
    assert load_reference_metric("ssim").score_against([picture(1)], [picture(1)]) == [pytest.approx(1.0)]


SKIMAGE_SSIM = 0.5231824964682746


def test_a_twin_of_another_size_is_an_error_that_names_the_image():
    with pytest.raises(ScoringError, match="image p1: it is"):
        load_reference_metric("psnr").score_against([picture(1, (20, 20))], [picture(1, (24, 20))], names=["p1"])


def test_lpips_loads_an_alexnet_from_disk_and_is_zero_for_twins(tmp_path):
    from torchvision.models import alexnet

    torch.manual_seed(0)
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    metric = load_reference_metric("lpips", weights=str(tmp_path / "alexnet.pth"))
    same, other = metric.score_against([picture(1, (64, 64))] * 2, [picture(1, (64, 64)), picture(5, (64, 64))])
    assert same == 0.0 and other > 0.0 and not metric.info.higher_is_better
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not torchvision's AlexNet"):
        load_reference_metric("lpips", weights=str(tmp_path / "other.pth"))


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
    write_statistics(tmp_path / "stored.npz", statistics)
    stored = reference_statistics(tmp_path / "stored.npz", extractor)
    assert frechet_distance(stored, reference_statistics(tmp_path / "set", extractor)) == pytest.approx(0.0, abs=1e-7)
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.eye(2))
    with pytest.raises(InputError, match="do not belong together"):
        read_statistics(tmp_path / "bad.npz", features="f")
    with pytest.raises(InputError, match="no covariance"):
        measure_statistics(files[:1], extractor)


def test_pyiqa_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'qsched\[pyiqa\]'"):
        load_scorer("pyiqa:niqe")


def test_pyiqa_scores_by_name_where_it_is_installed():
    pytest.importorskip("pyiqa")
    # `entropy` needs no download; the value of a two-level picture is 1 bit.
    two = Image.fromarray(np.repeat(np.repeat(np.array([[0, 255]], "uint8"), 16, 0), 8, 1)).convert("RGB")
    scorer = load_scorer("pyiqa:entropy", batch_size=2)
    assert scorer.score([two, two, two], ["", "", ""]) == pytest.approx([1.0] * 3, abs=1e-3)
    with pytest.raises(InputError, match="no metric 'nique'"):
        load_scorer("pyiqa:nique")
    with pytest.raises(InputError, match="needs a reference"):
        load_scorer("pyiqa:ssim")
