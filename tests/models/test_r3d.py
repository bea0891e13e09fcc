"""R3D against the numbers of the published encoder."""

import pytest
import torch

from vidssl.models import ENCODERS, R3D, r3d, r3d_tiny


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_parameters_and_last_map_are_the_published_ones() -> None:
    encoder = r3d().eval()
    assert sum(p.numel() for p in encoder.parameters()) == 14_361_792
    assert not [name for name, p in encoder.named_parameters() if name.endswith("bias") and p.dim() > 1]
    with torch.no_grad():
        last = encoder.forward_map(torch.zeros(1, 3, 16, 112, 112))
    assert last.shape == (1, 512, 2, 7, 7)
    assert encoder.features == 512


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_keeps_what_it_declares(name: str) -> None:
    encoder = ENCODERS[name]().eval()
    with torch.no_grad():
        out = encoder(torch.rand(2, 3, *encoder.minimum))
    assert out.shape == (2, encoder.features)
    assert all(least <= best for least, best in zip(encoder.minimum, encoder.made_for, strict=True))


def test_features_are_the_mean_of_the_last_map() -> None:
    encoder = r3d_tiny().eval()
    clips = torch.rand(2, 3, 8, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clips), encoder.forward_map(clips).flatten(2).mean(2))


def test_order_of_frames_matters() -> None:
    encoder = r3d_tiny().eval()
    clips = torch.rand(1, 3, 8, 56, 56)
    with torch.no_grad():
        assert not torch.allclose(encoder(clips), encoder(clips.flip(2)), atol=1e-4)


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 8, 8, 8, 0)])
def test_wrong_widths_are_named(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"widths=.*five positive"):
        R3D(widths)
