"""Where the picture's size changes in mid-stream, the longest part is used, and each of its frames is exact."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clips import make_clip, same, split, subsets, truth
from vidssl.index.table import VideoIndex
from vidssl.video.decode import decode
from vidssl.video.segment import SegmentError, cut_segment

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"


def joined(folder: Path, name: str, codec: str, *parts: tuple[int, tuple[int, int]], **options: Any) -> Path:
    """Elementary streams of (frames, size), one after the other."""
    clips = [
        make_clip(folder / f"part{at}.{name.split('.')[1]}", codec, frames=frames, size=size, **options)
        for at, (frames, size) in enumerate(parts)
    ]
    data = b"".join(clip.read_bytes() for clip in clips)
    for clip in clips:
        clip.unlink()
    (folder / name).write_bytes(data)
    return folder / name


def check(path: Path, start: int, frames: int) -> dict[str, Any]:
    """The row; its frames are those of the sequential decode from `start` on, also after seeks and in segments."""
    index = VideoIndex.build(path.parent, progress=False)
    row: dict[str, Any] = index.table.to_pylist()[0]
    assert (row["status"], row["frames"], row["start"], row["end"]) == ("ok", frames, start, start + frames)
    video, expected = index.video(0), truth(path)[start:]
    for numbers in subsets(frames, 1, 6):
        got = decode(video, numbers)
        assert all(same(split(data, got.size), expected[at]) for data, at in zip(got.data, numbers, strict=True))
        try:
            piece = cut_segment(video, numbers)
        except SegmentError:
            continue  # such windows are decoded from the file
        (path.parent / "piece").write_bytes(piece.data.tobytes())
        planes = truth(path.parent / "piece")
        assert len(planes) == piece.frames
        assert all(same(planes[at], expected[number]) for at, number in zip(piece.position, numbers, strict=True))
    assert len(index.motion(0)) == frames - 1
    return row


@pytest.mark.parametrize(("name", "codec"), [("a.m2v", "mpeg2video"), ("a.ts", "libx264"), ("a.ts", "libx265")])
def test_a_longer_second_part_is_used(name: str, codec: str, tmp_path: Path) -> None:
    path = joined(tmp_path, name, codec, (9, (48, 64)), (40, (80, 96)), gop=10)
    start = [planes[0].shape for planes in truth(path)].index((80, 96))
    row = check(path, start, len(truth(path)) - start)
    assert (row["width"], row["height"]) == (96, 80)
    assert f"only frames {start} to {row['end'] - 1} are used, the longest part of one size, 96x80" in row["note"]


def test_the_middle_of_three_parts_is_used(tmp_path: Path) -> None:
    path = joined(tmp_path, "a.m2v", "mpeg2video", (6, (48, 64)), (30, (80, 96)), (8, (48, 64)), gop=5, bframes=2)
    shapes = [planes[0].shape for planes in truth(path)]
    row = check(path, shapes.index((80, 96)), shapes.count((80, 96)))
    assert row["note"].endswith(f": frame {row['end']} is 64x48 yuv420p")


def test_a_longer_first_part_stays(tmp_path: Path) -> None:
    path = joined(tmp_path, "a.m2v", "mpeg2video", (20, (48, 64)), (9, (80, 96)), gop=5)
    count = [planes[0].shape for planes in truth(path)].index((80, 96))
    assert check(path, 0, count)["note"] == f"only the first {count} frames are used: frame {count} is 96x80 yuv420p"


def test_one_size_has_no_start_and_end(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=5)
    row = VideoIndex.build(tmp_path, progress=False).table.to_pylist()[0]
    assert (row["start"], row["end"]) == (None, None)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the files are not there: {CASES}")
def test_an_early_change(tmp_path: Path) -> None:
    row = check(Path(shutil.copy(CASES / "h264_change_early.ts", tmp_path)), 2, 50)
    assert (row["width"], row["height"]) == (128, 96)
