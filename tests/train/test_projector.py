"""The projector gets a point for each slot of each held-out clip, with what the clip is, and not too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.train import projector
from vidssl.train.projector import Points
from vidssl.types import Batch


class Spy:
    """Takes what a log would write."""

    def embedding(
        self,
        features: torch.Tensor,
        about: Sequence[tuple[str, ...]],
        head: Sequence[str],
        thumbs: torch.Tensor,
        step: int,
    ) -> None:
        self.features, self.about, self.head, self.thumbs, self.step = features, about, head, thumbs, step


def batch(rows: list[int]) -> Batch:
    count = len(rows)
    frame = torch.arange(8).expand(count, 3, 8) + 10 * torch.arange(3)[:, None]
    clips = torch.full((count, 3, 3, 8, 16, 16), 0.5)
    none = torch.zeros(count, dtype=torch.int64)
    return Batch(clips, none, torch.tensor(rows), frame, none.int(), none)


def test_a_point_is_a_slot(index: VideoIndex) -> None:
    points, log = Points(index, Augment(mean=(0, 0, 0), std=(1, 1, 1))), Spy()
    features = torch.randn(2, 3, 5)
    points.add(batch([4, 1]), features)
    log_: Any = log
    points.show(log_, 7)
    assert torch.equal(log.features, features.flatten(0, 1))
    labels, paths = (index.column(name).to_pylist() for name in ("label", "path"))
    assert log.head == ("class", "video", "frames")
    assert log.about == [(labels[row], paths[row], f"{at}..{at + 7}") for row in (4, 1) for at in (0, 10, 20)]
    assert log.thumbs.shape == (6, 3, 32, 32)
    assert log.thumbs.unique().tolist() == pytest.approx([128 / 255])
    assert log.step == 7


def test_there_are_not_too_many(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "MOST_CLIPS", 7)
    points = Points(index, Augment())
    for _ in range(5):
        points.add(batch([0]), torch.zeros(1, 3, 2))
    assert len(points.features) == 9  # whole batches
