"""What is known of a source after some of its videos were read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.forecast.look import look, one_of_each_file, within, work_of


def test_an_index_is_whole(index: VideoIndex) -> None:
    """The sums are those of all rows; only usable videos are read, those that are long enough first."""
    seen = look(index, 30, 0.0)
    assert (seen.whole, seen.videos, seen.scale, seen.looked) == (True, 10, 1.0, 2)
    assert seen.work == sum(36 * (48 + 4 * number) * 64 for number in range(9)) + 9 * 48 * 64
    assert all(index.frames(row) == 36 for row in seen.rows)
    row, one = seen.rows[0], seen.spent[0]
    assert one.work == work_of(index, np.array([row]))[0]
    assert one.seconds > 0


def test_a_folder_is_drawn_from(index: VideoIndex) -> None:
    """Without an index, what was read stands for the other files, in proportion to their bytes."""
    seen = look(index.root, 30, 0.0, seed=1)
    assert (seen.whole, seen.videos, seen.looked, len(seen.index)) == (False, 10, 2, 2)
    total = sum(path.stat().st_size for path in index.root.rglob("*.avi"))
    mine = sum(seen.index.column("bytes").to_pylist())
    assert seen.scale == pytest.approx(total / mine)
    assert seen.work == pytest.approx(seen.scale * sum(one.work for one in seen.spent))


def test_a_folder_that_is_read_whole_is_known(index: VideoIndex) -> None:
    seen = look(index.root, 30, 60.0)
    assert (seen.whole, seen.scale, seen.looked) == (True, 1.0, 10)
    assert seen.work == look(index, 30, 0.0).work


def test_the_seed_decides_what_is_read(index: VideoIndex) -> None:
    read = [look(index.root, 9, 0.0, seed=seed).index.column("path").to_pylist() for seed in (0, 0, 1, 2, 3)]
    assert read[0] == read[1]
    assert len({tuple(one) for one in read}) > 1


def test_segments_of_a_file_are_one_work(tmp_path: Path) -> None:
    """Their work is the bytes of the file, which is read once for all of them."""
    make_clip(tmp_path / "long.mp4", frames=60)
    (tmp_path / "parts.csv").write_text("path,start_frame,end_frame\nlong.mp4,0,30\nlong.mp4,20,50\n")
    index = VideoIndex.build(tmp_path / "parts.csv", progress=False)
    assert len(one_of_each_file(index)) == 1
    for data in (index, tmp_path / "parts.csv"):
        seen = look(data, 30, 0.0)
        assert (seen.videos, seen.looked, seen.work) == (2, 1, (tmp_path / "long.mp4").stat().st_size)


def test_some_files_cannot_be_used(index: VideoIndex, tmp_path: Path) -> None:
    shutil.copytree(index.root, tmp_path / "v")
    (tmp_path / "v" / "a" / "broken.avi").write_bytes(b"x" * 5000)
    seen = look(tmp_path / "v", 30, 60.0)
    assert [one.split(":")[0] for one in seen.failed] == ["a/broken.avi"]
    assert seen.looked == 11
    mine = VideoIndex.build(tmp_path / "v", progress=False)
    for path in sorted((tmp_path / "v").rglob("*_g0.avi")):
        path.unlink()
    again = look(mine, 30, 60.0)
    assert len(again.failed) == 3
    assert len(again.rows) == 7


def test_what_cannot_be_estimated_is_refused(index: VideoIndex, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"none of its 10 videos has the 99 frames .* for instance a/0_g0\.avi"):
        look(index, 99, 0.0)
    with pytest.raises(VidsslError, match=r"none of the 2 files that were looked at can be used with 99 frames"):
        look(index.root, 99, 0.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidsslError, match="no video in it"):
        look(tmp_path / "empty", 9, 0.0)
    with pytest.raises(VidsslError, match="no such folder or list"):
        look(tmp_path / "nothing", 9, 0.0)
    (tmp_path / "v.mp4").write_bytes(b"x")
    with pytest.raises(VidsslError, match=r"v\.mp4'.*name a folder of videos, a list"):
        look(tmp_path / "v.mp4", 9, 0.0)
    index.save(tmp_path / "i.arrow")
    moved = VideoIndex.load(tmp_path / "i.arrow", root=tmp_path / "empty")
    with pytest.raises(VidsslError, match=r"none of the 10 videos that were tried can be read, such as .*No such file"):
        look(moved, 9, 60.0)


def test_within_takes_the_fewest_in_any_case() -> None:
    assert list(within(0.0, range(9))) == [0, 1]
    assert list(within(0.0, range(9), fewest=5)) == [0, 1, 2, 3, 4]
    assert list(within(60.0, range(9))) == list(range(9))
