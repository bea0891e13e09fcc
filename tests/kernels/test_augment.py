"""Levelled luma: what is moved, by how much, and what stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vidssl.kernels.augment import LUMA, Augment
from vidssl.types import VidsslError

SCALED: dict[str, Any] = {"mean": (0.1, 0.2, 0.3), "std": (0.2, 0.3, 0.4)}


def clips(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[B = 2, K = 2, 3, T = 4, H = 6, W = 5], each frame of another brightness."""
    torch.manual_seed(0)
    return (torch.rand(2, 2, 3, 4, 6, 5) * torch.rand(2, 2, 1, 4, 1, 1)).to(dtype)


def luma(augment: Augment, shown: torch.Tensor) -> torch.Tensor:
    """Mean luma of each frame [..., T], in 0..1 of the picture."""
    pictures = augment.denormalize(shown.double())
    return torch.einsum("...ctyx,c->...t", pictures, torch.tensor(LUMA, dtype=torch.float64)) / 30


def test_nothing_is_moved_by_default() -> None:
    shown = clips()
    assert Augment().level(shown) is shown


def test_each_frame_has_the_same_luma() -> None:
    augment = Augment(level_luma="frame", **SCALED)
    found = luma(augment, augment.level(clips()))
    torch.testing.assert_close(found, torch.full_like(found, 0.5), atol=1e-6, rtol=0)


def test_each_clip_has_the_same_luma_and_its_frames_differ_as_before() -> None:
    augment, shown = Augment(level_luma="clip", **SCALED), clips()
    before, after = luma(augment, shown), luma(augment, augment.level(shown))
    torch.testing.assert_close(after.mean(-1), torch.full((2, 2), 0.5, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(after.diff(dim=-1), before.diff(dim=-1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_colours_and_differences_within_a_frame_stay(scope: str) -> None:
    """All pixels and channels of a frame move by the same amount."""
    augment = Augment(level_luma=scope, **SCALED)  # type: ignore[arg-type]
    shown = clips()
    moved = augment.denormalize(augment.level(shown)) - augment.denormalize(shown)
    torch.testing.assert_close(moved, moved[..., :1, :, :1, :1].expand_as(moved), atol=1e-6, rtol=0)


def test_a_fade_between_clips_or_within_them_is_gone() -> None:
    picture = torch.rand(3, 1, 6, 5)
    fade = torch.linspace(0, 0.4, 8).view(2, 1, 4, 1, 1)  # [K = 2, 1, T, 1, 1]
    faded = picture + fade
    framewise = Augment(level_luma="frame").level(faded)
    torch.testing.assert_close(framewise, framewise[:1, :, :1].expand_as(framewise))
    clipwise = Augment(level_luma="clip").level(faded)
    torch.testing.assert_close(clipwise[0], clipwise[1])
    assert float((clipwise[0, :, -1] - clipwise[0, :, 0]).min()) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert Augment(level_luma="frame").level(clips(dtype)).dtype == dtype


def test_a_wrong_word_is_named() -> None:
    with pytest.raises(VidsslError, match=r"level_luma='tuple': take clip, frame or None"):
        Augment(level_luma="tuple")  # type: ignore[arg-type]
