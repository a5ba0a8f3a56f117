"""MS-SSIM and IW-SSIM against code of their own, written from the papers with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d, zoom
from scipy.signal import convolve2d

from qsched.scoring import ScoringError
from qsched.scoring.registry import load_reference_metric
from tests.scoring.pictures import picture
from tests.scoring.test_visible_difference import noisy, smooth

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
GAUSS = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
WINDOW = np.outer(GAUSS, GAUSS) / GAUSS.sum() ** 2
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16 * np.sqrt(2)


def similarity(x: np.ndarray, y: np.ndarray, levels: float) -> tuple[np.ndarray, np.ndarray]:
    """(luminance, contrast and structure) of SSIM at every place where the window fits."""

    def mean(z):
        return convolve2d(z, WINDOW, mode="valid")

    c1, c2 = (0.01 * levels) ** 2, (0.03 * levels) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * vxy + c2) / (vx + vy + c2)


def ms_ssim(a, b) -> float:
    found = []
    for channel in range(3):
        x, y = (np.asarray(image, float)[..., channel] / 255 for image in (a, b))
        value = 1.0
        for scale, weight in enumerate(WEIGHTS):
            light, rest = similarity(x, y, 1.0)
            value *= ((light * rest).mean() if scale == 4 else rest.mean()) ** weight
            x, y = (z[: len(z) // 2 * 2, : z.shape[1] // 2 * 2] for z in (x, y))
            x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
        found.append(value)
    return float(np.mean(found))


def pyramid(x: np.ndarray) -> list[np.ndarray]:
    """Four Laplacian bands and the rest, by a binomial filter with mirrored edges."""
    bands = []
    for _ in range(4):
        low = correlate1d(correlate1d(x, BINOMIAL, axis=1, mode="mirror")[:, ::2], BINOMIAL, axis=0, mode="mirror")[::2]
        wide = np.zeros((len(low), x.shape[1]))
        wide[:, ::2] = low
        wide = correlate1d(wide, BINOMIAL, axis=1, mode="mirror")
        tall = np.zeros(x.shape)
        tall[::2] = wide
        bands.append(x - correlate1d(tall, BINOMIAL, axis=0, mode="mirror"))
        x = low
    return [*bands, x]


def information(x: np.ndarray, y: np.ndarray, parent: np.ndarray | None) -> np.ndarray:
    """Bits that both pictures tell about the place, by a Gaussian scale mixture of 3x3 neighbours and the parent."""
    noise = 0.4
    box = np.ones((3, 3)) / 9

    def mean(z):
        return convolve2d(z, box, mode="valid")

    mx, my = mean(x), mean(y)
    vx, vy = np.maximum(mean(x * x) - mx**2, 0), np.maximum(mean(y * y) - my**2, 0)
    vxy = mean(x * y) - mx * my
    gain = vxy / (vy + np.finfo(float).eps)
    rest = vx - gain * vxy
    height, width = y.shape
    columns = [y[i : height - 2 + i, j : width - 2 + j].ravel() for i in range(3) for j in range(3)]
    if parent is not None:
        columns.append(enlarged(parent)[:height, :width][1:-1, 1:-1].ravel())
    neighbours = np.stack(columns, axis=1)
    covariance = neighbours.T @ neighbours / len(neighbours)
    sizes, _ = np.linalg.eigh(covariance)
    spread = (neighbours @ np.linalg.inv(covariance) * neighbours).sum(1).reshape(gain.shape) / len(columns)
    bits = np.zeros(gain.shape)
    for size in sizes:
        bits += np.log2(1 + ((rest + (1 + gain**2) * noise) * spread * size + noise * rest) / noise**2)
    return np.maximum(bits, 0)


def enlarged(x: np.ndarray) -> np.ndarray:
    """Twice the size by linear interpolation between the samples, the edges carried on (as in the authors' code)."""
    once = zoom(x, [(2 * n - 1) / n for n in x.shape], order=1, grid_mode=False)
    padded = np.pad(once, 1)
    padded[0], padded[-1] = 2 * padded[1] - padded[2], 2 * padded[-2] - padded[-3]
    padded[:, 0], padded[:, -1] = 2 * padded[:, 1] - padded[:, 2], 2 * padded[:, -2] - padded[:, -3]
    return padded[1:, 1:]


def iw_ssim(a, b) -> float:
    x, y = (np.asarray(image, float) @ np.array([0.299, 0.587, 0.114]) for image in (a, b))
    first, second = pyramid(x), pyramid(y)
    value = 1.0
    for scale, weight in enumerate(WEIGHTS / WEIGHTS.sum()):
        light, rest = similarity(first[scale], second[scale], 255.0)
        if scale == 4:
            value *= abs((light * rest).mean()) ** weight
            continue
        parent = second[scale + 1] if scale < 3 else None
        bits = information(first[scale], second[scale], parent)[4:-4, 4:-4]
        value *= abs((rest * bits).sum() / bits.sum()) ** weight
    return float(value)


@pytest.mark.parametrize("size", [(176, 176), (192, 224)])
def test_ms_ssim_is_what_the_formula_gives(size):
    twin = smooth(3, max(size)).crop((0, 0, *size))
    metric = load_reference_metric("ms-ssim")
    for sd in (4, 20):
        assert metric.score_against([noisy(twin, sd)], [twin])[0] == pytest.approx(
            ms_ssim(noisy(twin, sd), twin), abs=1e-6
        )
    assert metric.score_against([twin], [twin]) == [pytest.approx(1)]


def test_iw_ssim_is_what_the_formula_gives():
    twin = smooth(4, 192)
    metric = load_reference_metric("iw-ssim")
    found = metric.score_against([noisy(twin, sd) for sd in (4, 20)], [twin, twin])
    for sd, value in zip((4, 20), found, strict=True):
        assert value == pytest.approx(iw_ssim(noisy(twin, sd), twin), abs=1e-4)
    assert found[0] > found[1] and metric.score_against([twin], [twin]) == [pytest.approx(1)]


def test_a_picture_too_small_for_five_scales_is_an_error_that_says_so():
    with pytest.raises(ScoringError, match=r"image p1: .*five scales need 161x161 pixels"):
        load_reference_metric("iw-ssim").score_against([picture(1)], [picture(2)], names=["p1"])
