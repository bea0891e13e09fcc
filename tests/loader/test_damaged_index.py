"""A loader whose index has damaged rows shows others in their place, and counts them."""

from __future__ import annotations

import json
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.train.config import Recipe
from vidssl.types import VidsslError
from vidssl.video.packets import PacketReader


def damaged(index: VideoIndex, rows: list[int], path: Path) -> VideoIndex:
    """Another time of change in the files of `rows`, by one bit each."""
    index.save(path)
    data = bytearray(path.read_bytes())
    for row in rows:
        data[data.index(struct.pack("<q", index.column("mtime_ns")[row].as_py()))] ^= 1
    path.write_bytes(data)
    return VideoIndex.load(path)


def test_a_damaged_row_is_replaced_and_counted(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    row = int(index.usable(30)[2])
    broken = damaged(index, [row], tmp_path / "index.arrow")
    with Loader(
        broken,
        recipe.pretext,
        batch_size=3,
        device="cpu",
        workers=1,
        max_corrupt=0.5,
        quarantine=tmp_path / "corrupt.jsonl",
    ) as loader:
        shown = {int(video) for batch in loader for video in batch.video}
        assert loader.stats["corrupt_videos"] == 1
        assert loader.stats["replaced"] >= 1
    assert row not in shown
    assert len(shown) >= 7
    line = json.loads((tmp_path / "corrupt.jsonl").read_text().splitlines()[0])
    assert line["path"] == f"row {row} of the index"
    assert f"index.arrow': its row {row} is damaged; delete it and build it again with `vidssl index" in line["reason"]


def test_a_damaged_row_is_replaced_where_windows_are_drawn_by_motion(
    index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    row = int(index.usable(30)[2])
    broken = damaged(index, [row], tmp_path / "index.arrow")
    spec = replace(recipe.pretext.plan, windows="motion")
    with Loader(broken, spec, batch_size=3, device="cpu", workers=1, max_corrupt=0.5) as loader:
        shown = {int(video) for batch in loader for video in batch.video}
        assert loader.stats["corrupt_videos"] == 1
    assert row not in shown
    assert len(shown) >= 7


def test_too_many_damaged_rows_are_the_end(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    broken = damaged(index, index.usable(30)[:4].tolist(), tmp_path / "index.arrow")
    with (
        Loader(broken, recipe.pretext, batch_size=3, device="cpu", workers=1, max_corrupt=0.25) as loader,
        pytest.raises(VidsslError, match=r"3 of 9 videos cannot be read.*its row \d is damaged"),
    ):
        _ = [*loader, *loader]


@pytest.mark.parametrize("engine", ["inline", "eager"])
def test_a_file_with_changed_bytes_is_replaced_and_counted(
    index: VideoIndex, recipe: Recipe, engine: Literal["inline", "eager"], tmp_path: Path
) -> None:
    """Its size and time are as they were; its frames would be others, and nothing would say so."""
    shutil.copytree(index.root, tmp_path / "videos")
    moved = VideoIndex.build(tmp_path / "videos", progress=False)
    row = int(moved.usable(30)[2])
    video = moved.video(row)
    data = bytearray(video.path.read_bytes())
    with PacketReader(video.path) as reader:
        for _, packet in reader.packets():
            assert packet.pos is not None
            data[packet.pos + packet.size // 2] ^= 0x10
    video.path.write_bytes(data)
    os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns))
    with Loader(
        moved,
        recipe.pretext,
        batch_size=3,
        device="cpu",
        workers=1,
        max_corrupt=0.5,
        quarantine=tmp_path / "corrupt.jsonl",
        engine=engine,
    ) as loader:
        shown = {int(video) for batch in loader for video in batch.video}
        assert loader.stats["corrupt_videos"] == 1
    assert row not in shown
    reason = json.loads((tmp_path / "corrupt.jsonl").read_text().splitlines()[0])["reason"]
    assert f"{video.path}: packet " in reason
    assert reason.endswith("has other bytes than when it was indexed; index it again")
