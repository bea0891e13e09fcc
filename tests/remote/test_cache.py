"""The cache gives what was put, stays below its limit in several processes, and is never an error."""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from tests.remote.servers import Web
from vidssl.index.table import VideoIndex
from vidssl.remote.cache import FOLDER, LIMIT, Cache, cache
from vidssl.types import VidsslError
from vidssl.video.decode import decode


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if not path.name.startswith("."))


def test_what_was_put_is_there(tmp_path: Path) -> None:
    kept = Cache(tmp_path / "c", 10_000)
    assert kept.get("a", 3) is None
    kept.put("a", b"abc")
    assert kept.get("a", 3) == b"abc"
    assert kept.get("a", 4) is None  # of another length
    assert Cache(tmp_path / "c", 10_000).get("a", 3) == b"abc"


def test_a_limit_of_nothing_keeps_and_gives_nothing(tmp_path: Path) -> None:
    Cache(tmp_path, 10_000).put("a", b"abc")
    none = Cache(tmp_path, 0)
    none.put("b", b"abc")
    assert none.get("a", 3) is None
    assert Cache(tmp_path, 10_000).get("b", 3) is None


@pytest.mark.parametrize("damage", [b"", b"abX" + bytes(4), b"abc"])
def test_a_damaged_piece_is_read_again(damage: bytes, tmp_path: Path) -> None:
    kept = Cache(tmp_path, 10_000)
    kept.put("a", b"abc")
    (piece,) = (path for path in tmp_path.iterdir() if not path.name.startswith("."))
    piece.write_bytes(damage)
    assert kept.get("a", 3) is None


def test_the_pieces_used_last_stay(tmp_path: Path) -> None:
    kept = Cache(tmp_path, 8 * 1004)
    for number in range(8):
        kept.put(str(number), bytes(1000))
        os.utime(kept._path(str(number)), (number, number))
    assert kept.get("0", 1000) is not None
    kept.put("8", bytes(1000))
    assert sizes(tmp_path) <= kept.limit
    assert [number for number in range(9) if kept.get(str(number), 1000)] == [0, 3, 4, 5, 6, 7, 8]


def put_many(folder: Path, limit: int, name: int) -> None:
    kept = Cache(folder, limit)
    for number in range(40):
        data = number.to_bytes(2, "big") * 500
        kept.put(f"{name} {number}", data)
        assert kept.get(f"{name} {number}", 1000) in (None, data)
        with kept._counted() as count:
            assert sizes(folder) <= count[0] <= limit


def test_processes_stay_below_the_limit_together(tmp_path: Path) -> None:
    limit = 30_000
    jobs = [get_context("fork").Process(target=put_many, args=(tmp_path, limit, number)) for number in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert limit / 2 < sizes(tmp_path) <= limit
    assert not list(tmp_path.glob("*.partial"))


def read_all(remote: Path, local: Path) -> None:
    """Compares frames of all videos with those of the same files on a disk, twice."""
    there, here = VideoIndex.load(remote), VideoIndex.load(local)
    for row in [*range(len(there)), *range(len(there))]:
        numbers = np.array([0, 9, 15])
        assert np.array_equal(decode(there.video(row), numbers).data, decode(here.video(row), numbers).data)


@pytest.mark.parametrize("room", [0.5, 20])
def test_two_processes_read_the_same_videos_at_once(
    room: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ranks of torchrun do. `room`: of the cache, in bytes of all videos."""
    (tmp_path / "videos").mkdir()
    for number in range(24):
        make_clip(tmp_path / f"videos/{number}.mp4", frames=16)
    web, total = Web(tmp_path / "videos"), sum(path.stat().st_size for path in (tmp_path / "videos").iterdir())
    local, remote, folder = tmp_path / "local.arrow", tmp_path / "remote.arrow", tmp_path / "shared"
    VideoIndex.build(tmp_path / "videos", progress=False).save(local)
    limit = int(room * total)
    with web.serving() as url:
        VideoIndex.build(url, progress=False).save(remote)
        monkeypatch.setenv(FOLDER, str(folder))
        monkeypatch.setenv(LIMIT, str(limit))
        web.sent.clear()
        ranks = [get_context("spawn").Process(target=read_all, args=(remote, local)) for _ in range(2)]
        for rank in ranks:
            rank.start()
        while any(rank.is_alive() for rank in ranks):
            if folder.is_dir():
                with Cache(folder, limit)._counted() as count:
                    assert sizes(folder) <= count[0] <= limit
            time.sleep(0.01)
        assert [rank.exitcode for rank in ranks] == [0, 0]
    kept = sizes(folder)
    if room > 1:
        assert total <= web.sent.total() <= 2 * total  # each video once, or by both at the same moment
        assert kept > total
    else:
        assert web.sent.total() > 2 * total  # in the second round, much had made room for others
        assert limit / 2 < kept <= limit


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = Cache(tmp_path / "file", 10_000)
    kept.put("a", b"abc")
    kept.put("b", b"abc")
    assert kept.get("a", 3) is None
    assert len(caplog.records) == 1
    assert "VIDSSL_REMOTE_CACHE" in caplog.text


def test_the_limit_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "many")
    with pytest.raises(VidsslError, match="VIDSSL_REMOTE_CACHE_LIMIT='many': take a number of bytes"):
        cache()
