"""Any module as an encoder: what it takes and returns is found by a forward pass, and is checked."""

import pytest
import torch
from torch import nn

from vidssl.encoders import Adapted, notes
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
    assert encoder.maximum == (None, None, None)
    assert torch.equal(encoder.forward_map(clips), module(clips[:, :, 0])[:, :, None])
    flat = Adapted(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten()), FRAME, name="mine")
    assert flat.features == 6 * 36
    volume = Adapted(nn.Conv3d(3, 6, (1, 3, 3)), FRAME, name="mine")  # takes clips of one frame
    assert not volume.takes_frames


def squares(frames: torch.Tensor) -> torch.Tensor:
    """Tokens [N, 4, C] of frames [N, C, 8, 8], behind a class token."""
    pooled = nn.functional.avg_pool2d(frames, 4).flatten(2).transpose(1, 2)
    return torch.cat([pooled.new_full((len(pooled), 1, 3), 1e6), pooled], dim=1)


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (nn.Conv2d(3, 6, 3), (6, 4, 6, 6)),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (6, 4, 1, 1)),
        (Apply(squares, grid=(1, 2, 2)), (3, 4, 2, 2)),
    ],
)
def test_a_module_of_frames_sees_each_frame_of_a_clip(module: nn.Module, size: tuple[int, int, int, int]) -> None:
    """The map keeps time, and the feature is the mean of the features of the frames, in any order of them."""
    encoder, clips = Adapted(module, SHAPE, name="mine").eval(), torch.randn(2, *SHAPE)
    assert (encoder.takes_frames, encoder.made_for, encoder.features) == (True, (4, 8, 8), size[0])
    alone = Adapted(module, FRAME, name="mine").eval()
    with torch.no_grad():
        found = encoder.forward_map(clips)
        assert found.shape == (2, *size)
        each = [alone.forward_map(clips[:, :, at : at + 1]) for at in range(4)]
        assert torch.allclose(found, torch.cat(each, dim=2), atol=1e-5)
        assert torch.allclose(encoder(clips), torch.stack([one.mean((2, 3, 4)) for one in each]).mean(0), atol=1e-5)
        assert torch.allclose(encoder(clips.flip(2)), encoder(clips), atol=1e-5)


def test_a_module_that_is_said_to_take_frames_is_not_tried_with_clips() -> None:
    shown: list[int] = []

    def look(pictures: torch.Tensor) -> torch.Tensor:  # takes anything
        shown.append(pictures.dim())
        return pictures.flatten(2).mean(2)

    assert Adapted(Apply(look), SHAPE, name="mine", frames=True).takes_frames
    assert shown == [4]
    with pytest.raises(VidsslError, match=r"^encoder='mine': for frames \[2, 3, 8, 8\] of the task: RuntimeError"):
        Adapted(nn.Conv2d(3, 6, 9), SHAPE, name="mine", frames=True)


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
        (
            nn.Conv2d(3, 6, 9),
            SHAPE,
            r"for clips \[2, 3, 4, 8, 8\] .*; for frames \[2, 3, 8, 8\] of the task: RuntimeError",
        ),
        (nn.Conv3d(3, 6, (5, 3, 3)), SHAPE, r"for clips \[2, 3, 4, 8, 8\] of the task: RuntimeError"),
        (
            nn.Conv3d(3, 6, (2, 3, 3)),
            FRAME,
            r"for clips \[2, 3, 1, 8, 8\] .*; for frames \[2, 3, 8, 8\] of the task: Runtime",
        ),
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


def test_a_wrong_output_is_named_alone() -> None:
    """It takes clips; that it does not take frames helps nobody. So it is with an encoder of frames."""
    clips = nn.Sequential(nn.Conv3d(3, 4, 1), Apply(lambda clips: (clips,)))
    frames = nn.Sequential(nn.Conv2d(3, 4, (1, 1)), Apply(lambda frames: frames.mean((2, 3))[0]))
    for module, of in ((clips, r"clips \[2, 3, 4, 8, 8\]"), (frames, r"frames \[2, 3, 8, 8\]")):
        with pytest.raises(VidsslError, match=rf"^encoder='mine': for {of} of the task, it returns .*; ret") as raised:
            Adapted(module, SHAPE, name="mine")
        assert "Error" not in str(raised.value)


def test_notes_on_colours() -> None:
    encoder = Adapted(nn.Conv3d(3, 6, 3), SHAPE, name="mine")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert notes(encoder, mean, std) == []  # it says none
    encoder.mean, encoder.std = mean, std
    assert notes(encoder, mean, std) == []
    (note,) = notes(encoder, (0.0, 0.0, 0.0), std)
    assert "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 takes its own" in note


def test_a_note_on_clips_that_are_seen_frame_by_frame() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    (note,) = notes(Adapted(nn.Conv2d(3, 6, 3), SHAPE, name="mine"), mean, std)
    assert "it sees the 4 frames of a clip one by one" in note
    assert notes(Adapted(nn.Conv2d(3, 6, 3), FRAME, name="mine"), mean, std) == []
