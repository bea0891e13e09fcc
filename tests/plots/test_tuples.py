"""Strips show the frames that the encoder saw, in the order of the slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vidssl.kernels.augment import Augment
from vidssl.plots.tuples import CELL, Ordered, draw_orders, tuple_strips


def test_mean_and_standard_deviation_are_undone() -> None:
    augment = Augment(mean=(0.5, 0.25, 0.125), std=(0.25, 0.5, 1 / 255))
    shown = torch.randint(0, 256, (2, 3, 3, 4, 5, 6), dtype=torch.uint8)
    mean, std = (torch.tensor(value).view(3, 1, 1, 1) for value in (augment.mean, augment.std))
    assert torch.equal(augment.as_shown((shown / 255 - mean) / std), shown)


def test_frames_stand_in_the_order_of_the_slots() -> None:
    clips = np.zeros((2, 3, 3, 8, 20, 30), np.uint8)
    for slot in range(3):
        for time in range(8):
            clips[:, slot, 0, time] = 80 * slot + 8 * time + 20
    picture = tuple_strips(clips, ["012", "021"], ["012", "201"], ["a.mp4", "b.mp4"])
    row = picture[12 + 22 + 40].astype(int)  # through the middle of the frames of the first tuple
    changed = np.diff(row[:, 0]) != 0
    seen = [int(value) for value, new in zip(row[1:, 0], changed, strict=True) if new and value != 255]
    assert seen == [80 * slot + 8 * time + 20 for slot in range(3) for time in (0, 2, 5, 7)]
    green, red = np.array([26, 127, 55]), np.array([179, 38, 30])
    assert (np.abs(picture.astype(int) - green).sum(2) == 0).any()  # the first is right
    assert (np.abs(picture.astype(int) - red).sum(2) == 0).any()  # the second is not


def test_one_frame_a_slot() -> None:
    assert tuple_strips(np.zeros((1, 4, 3, 1, 80, 80), np.uint8), ["a"], ["b"], ["x"]).shape[2] == 3


def test_long_class_names_do_not_overlap() -> None:
    name = "BasketballDunk and some more words"
    picture = tuple_strips(np.zeros((1, 1, 3, 1, 20, 30), np.uint8), [name], [name], [name])
    texts = picture[12:34].astype(int)
    ink = np.flatnonzero((texts.max(2) < 60).any(0))  # the true class
    green = np.flatnonzero((texts[..., 1] - texts[..., 0] > 60).any(0))  # the predicted class
    assert ink.max() < green.min()
    assert (texts[:, -12:] == 255).all()


def test_the_verdict_of_an_order_fits_in_the_picture(tmp_path: Path) -> None:
    clips, frame = np.zeros((2, 3, 4, *CELL), np.uint8), np.arange(8).reshape(2, 4)
    wrong = Ordered(name="a", clips=clips, frame=frame, true=(0, 1), predicted=(1, 0), probability=1.0)
    draw_orders([wrong], tmp_path / "order.png")
    picture = np.asarray(Image.open(tmp_path / "order.png"))
    assert (picture[:, -20:] == 255).all()
