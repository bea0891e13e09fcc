"""Hostile shards end as rows with a reason: no process dies, none hangs, and no exception is bare.

More of them: python -m tests.fuzz.harness tests.fuzz.test_tars:shard 0 2000
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.clips import make_clip
from tests.fuzz.harness import empty, faults
from tests.fuzz.tars import hostile
from vidssl import VideoIndex, VidsslError
from vidssl.video.decode import decode


def survive(root: Path) -> int:
    """Indexes a folder and decodes some frames of what is usable. Returns how many videos are."""
    index = VideoIndex.build(root, workers=1, progress=False)
    for row in index.usable().tolist():
        video = index.video(row)
        last = video.frames - 1
        for numbers in ({0}, {last}, {0, last // 2, last}):
            decode(video, np.array(sorted(numbers)))
    return len(index.usable())


def shard(folder: Path) -> Callable[[int], str]:
    video = make_clip(folder / "whole.mp4", frames=8).read_bytes()
    root = folder / "input"

    def run(seed: int) -> str:
        empty(root)
        (root / "a.tar").write_bytes(hostile(video, seed))
        try:
            survive(root)
        except VidsslError as error:  # a tar without a member is none
            return "" if "no video in it" in str(error) or "is listed twice" in str(error) else str(error)
        return ""

    return run


def test_hostile_shards_are_survived(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_tars:shard", range(250), tmp_path) == []


def test_the_damage_leaves_something_to_decode(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "whole.mp4", frames=8).read_bytes()
    (tmp_path / "shards").mkdir()
    for seed in range(40):
        (tmp_path / "shards" / f"{seed}.tar").write_bytes(hostile(video, seed))
    assert survive(tmp_path / "shards") > 10
