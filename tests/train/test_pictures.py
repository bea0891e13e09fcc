"""Pictures show what they say: the frames as the encoder saw them, and the counts."""

import numpy as np
import torch

from vidssl.pretext import METHODS
from vidssl.kernels.plan import Augment
from vidssl.train.pictures import as_seen, confusion, tuples


def test_mean_and_standard_deviation_are_undone() -> None:
    augment = Augment(mean=(0.5, 0.25, 0.125), std=(0.25, 0.5, 1 / 255))
    shown = torch.randint(0, 256, (2, 3, 3, 4, 5, 6), dtype=torch.uint8)
    mean, std = (torch.tensor(value).view(3, 1, 1, 1) for value in (augment.mean, augment.std))
    assert torch.equal(as_seen((shown / 255 - mean) / std, augment), shown)


def test_frames_stand_in_the_order_of_the_slots() -> None:
    clips = torch.zeros(2, 3, 3, 8, 20, 30, dtype=torch.uint8)
    for slot in range(3):
        for time in range(8):
            clips[:, slot, 0, time] = 80 * slot + 8 * time + 20
    picture = tuples(clips, ["012", "021"], ["012", "201"], ["a.mp4", "b.mp4"])
    row = picture[12 + 22 + 40]  # through the middle of the frames of the first tuple
    seen = [int(value) for value, changed in zip(row[1:, 0], np.diff(row[:, 0].astype(int)) != 0, strict=True) if changed and value != 255]
    assert seen == [80 * slot + 8 * time + 20 for slot in range(3) for time in (0, 2, 5, 7)]
    green, red = np.array([26, 127, 55]), np.array([179, 38, 30])
    assert (np.abs(picture.astype(int) - green).sum(2) == 0).any()  # the first is right
    assert (np.abs(picture.astype(int) - red).sum(2) == 0).any()  # the second is not


def test_one_frame_a_slot() -> None:
    assert tuples(torch.zeros(1, 4, 3, 1, 80, 80, dtype=torch.uint8), ["a"], ["b"], ["x"]).shape[2] == 3


def test_confusion_is_darker_where_more_is() -> None:
    picture = confusion(torch.tensor([[9, 1], [0, 0]]), ["in order", "shuffled"])
    corner = [[picture[64 + 54 * row + 4, 90 + 54 * column + 4].sum() for column in range(2)] for row in range(2)]
    assert corner[0][0] < corner[0][1] < corner[1][0] == corner[1][1] == 3 * 255


def test_every_class_has_a_name() -> None:
    for method in METHODS.values():
        pretext = method()
        assert len(set(pretext.class_names)) == pretext.plan.classes
    names = METHODS["vcop"]().class_names
    assert names[:4] == ["012", "021", "102", "120"]
