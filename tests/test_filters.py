"""The Gaussian blur against hand values, and how its lengths scale."""

import pytest
import torch

from diffshortcut.pictures.filters import gaussian_blur, scaled_kernel


@pytest.mark.parametrize(
    ("kernel", "resolution", "expected"),
    [(5, 512, 5), (7, 512, 7), (7, 256, 3), (5, 128, 3), (7, 128, 3), (7, 1024, 13), (3, 64, 3)],
)
def test_kernels_are_odd_and_scale_with_the_resolution(
    kernel: int, resolution: int, expected: int
) -> None:
    assert scaled_kernel(kernel, resolution) == expected


def test_a_point_becomes_the_printed_kernel() -> None:
    x = torch.zeros(1, 1, 512, 512)
    x[0, 0, 100, 200] = 1
    taps = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / 1.1) ** 2)
    taps = taps / taps.sum()
    y = gaussian_blur(x, kernel=5, sigma=1.1)
    torch.testing.assert_close(y[0, 0, 98:103, 198:203], taps[:, None] * taps)
    assert (y > 0).sum() == 25


def test_sigma_keeps_its_ratio_to_the_smallest_kernel() -> None:
    x = torch.zeros(1, 1, 128, 128)
    x[0, 0, 64, 64] = 1
    side = gaussian_blur(x, kernel=5, sigma=1.1)[0, 0, 64, 63:66]
    ratio = torch.exp(torch.tensor(-0.5 / (1.1 * 3 / 5) ** 2))
    torch.testing.assert_close(side[0] / side[1], ratio)


def test_at_128_pixels_a_larger_kernel_blurs_less() -> None:
    """All are 3 wide there, with the ratio of sigma to the kernel that was asked for."""
    x = torch.zeros(1, 1, 128, 128)
    x[0, 0, 64, 64] = 1
    peaks = [float(gaussian_blur(x, kernel=k, sigma=1.1).max()) for k in (3, 5, 7)]
    assert peaks == pytest.approx([0.185, 0.374, 0.682], abs=1e-3)


def test_each_image_has_its_own_sigma() -> None:
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 1.0, 2.0])
    together = gaussian_blur(x, kernel=7, sigma=sigma)
    for i in range(3):
        alone = gaussian_blur(x[i : i + 1], kernel=7, sigma=float(sigma[i]))
        torch.testing.assert_close(together[i : i + 1], alone)
    torch.testing.assert_close(together[0], x[0])
    torch.testing.assert_close(together.flatten(1).mean(1), x.flatten(1).mean(1), atol=0.01, rtol=0)


def test_flat_images_stay_flat_up_to_the_border() -> None:
    x = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(gaussian_blur(x, kernel=7, sigma=2.0), x)
