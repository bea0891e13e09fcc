"""What every encoder declares, kept by every encoder."""

import pytest
import torch

from vidssl.models import ENCODERS, Encoder, FrameEncoder

FRAMES = ("caffenet", "caffenet_opn", "caffenet_opn_full", "alexnet_o3n", "resnet18", "resnet50", "resnet_tiny")
CLIPS = ("c3d", "r3d", "r2plus1d", "r3d_18", "r2plus1d_18", "r3d_tiny", "r3d_tiny_difference")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_every_encoder_has_its_name() -> None:
    assert set(ENCODERS) == {*FRAMES, *CLIPS}


@pytest.mark.parametrize("channels", [3, 15])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_keeps_what_it_declares(name: str, channels: int) -> None:
    encoder = ENCODERS[name](channels=channels).eval()
    assert isinstance(encoder, Encoder)
    clips = torch.rand(2, channels, *encoder.minimum)
    with torch.no_grad():
        out, last = encoder(clips), encoder.forward_map(clips)
    assert encoder.channels == channels
    assert out.shape == (2, encoder.features)
    assert last.dim() == 5
    assert min(last.shape) >= 1
    assert not torch.allclose(out[0], out[1])
    for least, meant, most in zip(encoder.minimum, encoder.made_for, encoder.maximum, strict=True):
        assert least <= meant <= (most or meant)
        assert isinstance(encoder, FrameEncoder) or most is None


@pytest.mark.parametrize("name", ENCODERS)
def test_three_channels_unless_told(name: str) -> None:
    with torch.device("meta"):
        encoder = ENCODERS[name]()
    first = next(part for part in encoder.modules() if isinstance(part, (torch.nn.Conv2d, torch.nn.Conv3d)))
    assert encoder.channels == first.in_channels == 3


@pytest.mark.parametrize("name", CLIPS)
def test_order_of_frames_matters_to_those_that_see_clips(name: str) -> None:
    """A clip run backwards has other features: as far away as a good part of what lies between two clips."""
    encoder = ENCODERS[name]().eval()
    clips = torch.rand(2, 3, *encoder.minimum)
    with torch.no_grad():
        forwards, backwards = encoder(clips), encoder(clips.flip(2))
    assert (forwards - backwards).abs().mean() > 0.1 * (forwards[0] - forwards[1]).abs().mean()


@pytest.mark.parametrize("name", FRAMES)
def test_those_that_see_frames_refuse_clips(name: str) -> None:
    with torch.device("meta"):
        encoder = ENCODERS[name]()
    assert isinstance(encoder, FrameEncoder)
    assert (encoder.minimum[0], encoder.maximum[0]) == (1, 1)
    clips = torch.rand(1, 3, 2, *encoder.minimum[1:], device="meta")
    with pytest.raises(ValueError, match=r"clips: shape \(1, 3, 2, .*this encoder"):
        encoder(clips)
    with pytest.raises(ValueError, match=r"clips: shape \(1, 3, 2, .*single frames; give \[N, C, 1, H, W\]"):
        encoder.forward_map(clips)
