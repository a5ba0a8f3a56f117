"""PSNR, SSIM, LPIPS and pyiqa against values made elsewhere or worked by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from qsched.errors import InputError, MissingExtraError
from qsched.scoring import ScoringError, load_reference_metric, load_scorer
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


@pytest.mark.slow
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


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut short", b"\x80\x02}q\x00."])
def test_lpips_weights_that_are_no_alexnet_are_refused_with_their_path(tmp_path, content):
    (tmp_path / "alexnet.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"alexnet\.pth"):
        load_reference_metric("lpips", weights=str(tmp_path / "alexnet.pth"))


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


def test_a_pyiqa_twin_of_another_size_is_an_error_that_names_the_image():
    pytest.importorskip("pyiqa")
    metric = load_reference_metric("pyiqa:ssim")
    with pytest.raises(ScoringError, match=r"pyiqa:ssim cannot score image p1: it is \(20, 20\)"):
        metric.score_against([picture(1, (20, 20))], [picture(1, (24, 20))], names=["p1"])
