"""Features of whole videos: which frames stand for them, and what is made of those."""

import numpy as np
import pytest
import torch

from vidssl.evaluate.features import Clips, extract
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.models import r3d_tiny
from vidssl.types import VidsslError
from vidssl.video.decode import decode

AUGMENT = Augment(resize=(24, 32), crop=(16, 16), flip=1.0, brightness=0.5)  # of which evaluation shows the crop alone


def test_clips_reach_from_the_first_frame_to_the_last() -> None:
    numbers = Clips(count=10, length=16, augment=AUGMENT).numbers(100)
    assert numbers.shape == (10, 16)
    assert (numbers[0, 0], numbers[-1, -1]) == (0, 99)
    # as published, for even lengths
    np.testing.assert_array_equal(numbers[:, 0], np.linspace(8, 92, 10).astype(int) - 8)
    assert (Clips(count=3, length=16, augment=AUGMENT).numbers(16)[:, 0] == 0).all()
    assert Clips(count=2, length=4, stride=3, augment=AUGMENT).numbers(10).tolist() == [[0, 3, 6, 9]] * 2


def test_clips_are_the_frames_they_say(index: VideoIndex) -> None:
    clips = Clips(count=3, length=8, augment=AUGMENT)
    row = int(index.usable(30)[0])
    shown = clips.read(index.video(row))
    spec = PlanSpec(arrangements=np.arange(8)[None, None], labels=np.zeros(1), bases=1, length=8, augment=AUGMENT)
    for clip, numbers in zip(shown, clips.numbers(36), strict=True):  # one at a time, decoded by itself
        frames = decode(index.video(row), numbers)
        one = plan(spec, frames=8, size=frames.size, seed=0, epoch=0, sample=0, train=False)
        assert torch.equal(clip, torch.from_numpy(assemble(frames, one, size=(16, 16)))[0])


def test_a_feature_is_the_mean_over_clips(index: VideoIndex) -> None:
    encoder, clips = r3d_tiny().eval(), Clips(count=3, length=8, augment=AUGMENT)
    (found,) = extract([encoder], index, clips, workers=2, progress=False)
    assert found.feature.shape == (10, 64)
    assert found.label == [path[0] for path in index.table["path"].to_pylist()]
    with torch.no_grad():
        wanted = torch.stack([encoder(clip[None])[0] for clip in clips.read(index.video(int(found.row[4])))]).mean(0)
    torch.testing.assert_close(found.feature[4], wanted)


def test_no_video_long_enough_is_named(index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="has the 37 frames of a clip"):
        extract([r3d_tiny()], index, Clips(length=37, augment=AUGMENT), progress=False)
