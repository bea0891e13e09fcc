"""Any module as an encoder: what it takes and returns is found by a forward pass, and is checked."""

import pytest
import torch
from torch import nn

from vidssl.encoders import Adapted, color_notes
from vidssl.types import VidsslError

SHAPE = (3, 4, 8, 8)
FRAME = (3, 1, 8, 8)


class Apply(nn.Module):
    """Applies a function of a tensor; its weight gives it a type and a device."""

    def __init__(self, function, **attributes) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.function(clips * self.weight)
        return found


def test_features_are_a_map_of_one_place() -> None:
    module = nn.Sequential(nn.Conv3d(3, 5, 2), nn.BatchNorm3d(5), nn.AdaptiveAvgPool3d(1), nn.Flatten()).train()
    module[1].eval()  # a part that its owner has frozen
    state, random = {name: one.clone() for name, one in module.state_dict().items()}, torch.random.get_rng_state()
    encoder = Adapted(module, SHAPE, name="mine")
    assert (encoder.features, encoder.takes_frames, encoder.made_for) == (5, False, (4, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(one, state[name]) for name, one in module.state_dict().items())
    assert [part.training for part in module] == [True, False, True, True]
    clips = torch.randn(2, *SHAPE)
    assert encoder.forward_map(clips).shape == (2, 5, 1, 1, 1)
    assert torch.equal(encoder(clips), module.eval()(clips)) or encoder.training


def test_a_map_stays_and_its_mean_is_the_feature() -> None:
    module = nn.Conv3d(3, 6, 3)
    encoder, clips = Adapted(module, SHAPE, name="mine"), torch.randn(2, *SHAPE)
    assert torch.equal(encoder.forward_map(clips), module(clips))
    assert torch.allclose(encoder(clips), module(clips).mean((2, 3, 4)))


def test_encoders_of_frames() -> None:
    module = nn.Conv2d(3, 6, 3)
    encoder, clips = Adapted(module, FRAME, name="mine"), torch.randn(2, *FRAME)
    assert encoder.takes_frames
    assert encoder.maximum == (1, None, None)
    assert torch.equal(encoder.forward_map(clips), module(clips[:, :, 0])[:, :, None])
    with pytest.raises(ValueError, match="takes single frames"):
        encoder(torch.randn(2, *SHAPE))
    flat = Adapted(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten()), FRAME, name="mine")
    assert flat.features == 6 * 36
    volume = Adapted(nn.Conv3d(3, 6, (1, 3, 3)), FRAME, name="mine")  # takes clips of one frame
    assert not volume.takes_frames


def test_tokens_lie_at_their_places() -> None:
    def tokens(clips: torch.Tensor) -> torch.Tensor:  # one of each 2 x 4 x 4 pixels, behind a class token
        pooled = nn.functional.avg_pool3d(clips, (2, 4, 4)).flatten(2).transpose(1, 2)
        return torch.cat([pooled.new_full((len(pooled), 1, 3), 1e6), pooled], dim=1)

    encoder, clips = Adapted(Apply(tokens, grid=(2, 2, 2)), SHAPE, name="mine"), torch.randn(3, *SHAPE)
    assert torch.allclose(encoder.forward_map(clips), nn.functional.avg_pool3d(clips, (2, 4, 4)))
    assert torch.allclose(encoder(clips), clips.mean((2, 3, 4)), atol=1e-6)


@pytest.mark.parametrize(
    ("module", "shape", "problem"),
    [
        (nn.Conv2d(3, 6, 3), SHAPE, r"it takes frames \[N, 3, 8, 8\], and the task shows it clips \[N, 3, 4, 8, 8\]"),
        (nn.Conv3d(3, 6, (5, 3, 3)), SHAPE, r"for clips \[2, 3, 4, 8, 8\] of the task: RuntimeError"),
        (nn.Conv3d(3, 6, (2, 3, 3)), FRAME, r"for clips \[2, 3, 1, 8, 8\] .*; for frames \[2, 3, 8, 8\]: RuntimeError"),
        (Apply(lambda clips: clips.flatten(2).transpose(1, 2)), SHAPE, r"it returns \[2, 256, 3\].*grid = \(t, h, w\)"),
        (Apply(lambda clips: clips.flatten(2).transpose(1, 2), grid=(9, 9, 9)), SHAPE, r"its grid is \(9, 9, 9\)"),
        (Apply(lambda clips: clips.mean()), SHAPE, r"it returns \[\]"),
        (Apply(lambda clips: clips[:1].flatten(1)), SHAPE, "for two clips"),
        (Apply(lambda clips: (clips,)), SHAPE, "it returns a tuple"),
        (Apply(lambda clips: clips.mean((2, 3, 4)), features=7), SHAPE, "features says 7, and it returns 3"),
    ],
)
def test_what_does_not_fit(module: nn.Module, shape: tuple[int, int, int, int], problem: str) -> None:
    with pytest.raises(VidsslError, match=r"^encoder='mine': ") as raised:
        Adapted(module, shape, name="mine")
    assert raised.match(problem)


def test_notes_on_colours() -> None:
    encoder = Adapted(nn.Conv3d(3, 6, 3), SHAPE, name="mine")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert color_notes(encoder, mean, std) == []  # it says none
    encoder.mean, encoder.std = mean, std
    assert color_notes(encoder, mean, std) == []
    (note,) = color_notes(encoder, (0.0, 0.0, 0.0), std)
    assert "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 takes theirs" in note
