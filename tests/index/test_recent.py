"""Videos of an index are read once, and kept in bounded memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl.index import table
from vidssl.index.recent import RecentVideos
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import Video

COUNT = 5


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    """Five videos of which no two have the same number of frames; two rows are in each record batch of the file."""
    root = tmp_path_factory.mktemp("videos")
    for at in range(COUNT):
        make_clip(root / f"{at}.mp4", frames=10 + at, gop=4)
    (root / "x.mp4").write_text("this is not a video")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_BATCH", 2)
        VideoIndex.build(root, workers=1, progress=False).save(root / "index.arrow")
    return VideoIndex.load(root / "index.arrow")


def about(video: Video) -> tuple[str, int, list[int], list[int]]:
    assert video.checksums is not None
    return video.path.name, video.frames, video.points.frame.tolist(), video.checksums.packet.tolist()


def test_a_row_is_read_once(index: VideoIndex) -> None:
    assert index.video(3) is index.video(3)
    assert [index.video(row).frames for row in range(COUNT)] == [10, 11, 12, 13, 14]
    assert [index.video(row).path.name for row in range(COUNT)] == [f"{row}.mp4" for row in range(COUNT)]


def test_a_row_that_cannot_be_used_is_refused_each_time(index: VideoIndex) -> None:
    for _ in range(2):
        with pytest.raises(VidsslError, match=r"row=5: x\.mp4 cannot be used"):
            index.video(COUNT)


def test_a_selection_has_its_own_rows(index: VideoIndex) -> None:
    index.video(0)
    some = index.select([4, 2])
    for _ in range(2):
        assert [some.video(row).frames for row in range(2)] == [14, 12]


def test_memory_is_bounded(index: VideoIndex) -> None:
    videos = [index.video(row) for row in range(COUNT)]
    recent = RecentVideos(most=3 * 3000)  # each takes 2048 bytes, and 200 for each of its three or four points
    for row, video in enumerate(videos):
        recent.add(row, video)
        recent.add(row, video)  # as if two threads had read it
        assert recent.get(row) is video
        assert len(recent) == min(row + 1, 3)
    assert [recent.get(row) is None for row in range(COUNT)] == [True, True, False, False, False]


def test_a_video_that_is_too_large_is_not_kept(index: VideoIndex) -> None:
    recent = RecentVideos(most=100)
    recent.add(0, index.video(0))
    recent.add(1, index.video(1))
    assert len(recent) == 0


def test_threads_get_the_right_rows_while_others_are_dropped(index: VideoIndex) -> None:
    loaded = VideoIndex.load(Path(index.root) / "index.arrow")
    loaded._recent = RecentVideos(most=2 * 3000)
    rows = np.random.default_rng(0).integers(0, COUNT, 2000).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(loaded.video, rows))
    wanted = [about(index.video(row)) for row in range(COUNT)]
    assert [about(video) for video in found] == [wanted[row] for row in rows]
    assert len(loaded._recent) == 2
