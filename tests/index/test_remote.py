"""Videos behind a URL give the rows and frames of the same files on a disk."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from tests.index.test_tars import shard
from tests.remote.conftest import _of_its_own as _of_its_own
from tests.remote.conftest import same
from tests.remote.servers import Web
from vidssl.index.sources import find_videos
from vidssl.index.table import VideoIndex
from vidssl.remote import RemotePath, as_path, fetch
from vidssl.types import VidsslError
from vidssl.video.decode import decode
from vidssl.video.packets import DecodeError


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of several containers, with what is ignored in it, and a shard."""
    root = tmp_path_factory.mktemp("served")
    for name in ("a b/1.mp4", "a b/2.avi", "c/3.mkv", "c/4.mpg"):
        (root / name).parent.mkdir(exist_ok=True)
        make_clip(root / name, "mpeg2video" if name.endswith("mpg") else "mpeg4", frames=24)
    (root / "c/text.pdf").write_text("no video")
    (root / ".hidden").mkdir()
    (root / ".hidden/5.mp4").write_bytes((root / "c/3.mkv").read_bytes())
    (root / "c/broken.mp4").write_bytes((root / "a b/1.mp4").read_bytes()[:900])
    shard(root / "s.tar", ("one.mp4", (root / "a b/1.mp4").read_bytes()), ("one.cls", b"seven"))
    with tarfile.open(root / "s.tar", "a") as tar:
        tar.add(root / "c/3.mkv", "k/two.mkv")
    return root


def unquoted(index: VideoIndex) -> VideoIndex:
    """The index with names as on a disk: in a URL, a blank is %20."""
    table = index.table
    for name in ("path", "archive"):
        plain = [text and text.replace("%20", " ") for text in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), [plain])
    return VideoIndex(table, index.root)


@pytest.mark.parametrize("parts", [True, False])
def test_a_folder_gives_the_rows_and_frames_of_a_disk(parts: bool, videos: Path) -> None:
    local = VideoIndex.build(videos, progress=False)
    with Web(videos, parts=parts).serving() as url:
        found = VideoIndex.build(url, progress=False)
        assert same(local, unquoted(found))
        assert len(found.usable()) == 6
        for row in found.usable().tolist():
            numbers = np.array([3, 4, 17])
            ours, theirs = decode(found.video(row), numbers), decode(local.video(row), numbers)
            assert np.array_equal(ours.data, theirs.data)
    assert found.notes == ["1 ignored (hidden folder): .hidden", "1 ignored (.pdf): c/text.pdf"]


def test_a_window_of_a_long_video_reads_little_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.remote.path.PIECE", 2**12)
    make_clip(tmp_path / "long.mkv", "ffv1", frames=120)
    size = (tmp_path / "long.mkv").stat().st_size
    assert size > 2**18
    local = VideoIndex.build(tmp_path, progress=False)
    local.save(tmp_path / "i.arrow")
    web = Web(tmp_path)
    with web.serving() as url:
        version = RemotePath(f"{url}/long.mkv").stat().st_mtime_ns
        table = local.table.set_column(local.table.schema.get_field_index("mtime_ns"), "mtime_ns", [[version]])
        video = VideoIndex(table, as_path(url)).video(0)
        frames = decode(video, np.array([100, 101]))
    assert np.array_equal(frames.data, decode(local.video(0), np.array([100, 101])).data)
    assert 0 < web.sent["long.mkv"] < size / 2


def test_only_changed_files_are_read_again(videos: Path, tmp_path: Path) -> None:
    for name in ("x.mp4", "y.mp4"):
        (tmp_path / name).write_bytes((videos / "a b/1.mp4").read_bytes())
    web = Web(tmp_path)
    with web.serving() as url:
        first = VideoIndex.build(url, progress=False)
        first.save(tmp_path / "i.arrow")
        loaded = VideoIndex.load(tmp_path / "i.arrow")
        assert loaded.is_current()
        assert VideoIndex.build(url, known=loaded, progress=False).read == 0
        about = (tmp_path / "y.mp4").stat()
        data = bytearray((tmp_path / "y.mp4").read_bytes())
        data[-20] ^= 1
        (tmp_path / "y.mp4").write_bytes(bytes(data))  # the same size and time, other bytes
        os.utime(tmp_path / "y.mp4", ns=(about.st_atime_ns, about.st_mtime_ns))
        fetch.forget()
        with pytest.raises(DecodeError, match=r"y\.mp4: changed since it was indexed; index the folder again"):
            decode(loaded.video(1), np.array([3]))
        assert not loaded.is_current()
        assert VideoIndex.build(url, known=loaded, progress=False).read == 1


def test_lists_name_urls_or_files_beside_them(videos: Path, tmp_path: Path) -> None:
    with Web(videos).serving() as url:
        (tmp_path / "l.txt").write_text(f"{url}/c/3.mkv x\n{url}/c/4.mpg y\n")
        (videos / "l.csv").write_text("path,label\nc/3.mkv,x\nc/../c/4.mpg,y\n")
        try:
            for source in (str(tmp_path / "l.txt"), f"{url}/l.csv"):
                found = VideoIndex.build(source, progress=False)
                assert found.column("label").to_pylist() == ["x", "y"]
                assert [str(found.root / path) for path in found.column("path").to_pylist()] == [
                    f"{url}/c/3.mkv",
                    f"{url}/c/4.mpg",
                ]
                assert len(found.usable()) == 2
        finally:
            (videos / "l.csv").unlink()
        (tmp_path / "l.txt").write_text(f"{url}/c/3.mkv\ns3://bucket/a.mp4\n")
        with pytest.raises(VidsslError, match=r"list='.*l.txt': .* are in different places"):
            find_videos(tmp_path / "l.txt")


def test_a_shard_is_read_by_parts(videos: Path, tmp_path: Path) -> None:
    shard(
        tmp_path / "s.tar",
        ("big.bin", bytes(3_000_000)),
        ("one.mp4", (videos / "a b/1.mp4").read_bytes()),
        ("more.bin", bytes(3_000_000)),
    )
    local, web = VideoIndex.build(tmp_path / "s.tar", progress=False), Web(tmp_path)
    with web.serving() as url:
        assert same(local, VideoIndex.build(f"{url}/s.tar", progress=False))
    assert web.sent["s.tar"] < 500_000


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("", {"listing": False}, r"root='http.*': its server gives no listing of this folder .*; name a list instead"),
        ("none", {}, r"root='http.*/none': its server gives no listing of this folder \(.*not found"),
        ("none.txt", {}, r"list='http.*/none\.txt'.*not found \(404\); check the URL"),
        ("none.tar", {}, r"root='http.*/none\.tar': not found \(404\); check the URL"),
        ("a b/1.mp4", {}, r"root='http.*1\.mp4': a video; name the folder that it is in, or a list"),
    ],
)
def test_what_is_not_there_is_an_error_of_the_argument(
    name: str, setting: dict[str, bool], said: str, videos: Path
) -> None:
    with Web(videos, **setting).serving() as url, pytest.raises(VidsslError, match=said):
        find_videos(as_path(f"{url}/{name}"))


def test_a_refused_video_is_a_row_that_is_read_again_later(videos: Path) -> None:
    web = Web(videos)
    web.refuse = {"c/3.mkv": 403, "c/4.mpg": 404}
    with web.serving() as url:
        first = VideoIndex.build(url, progress=False)
        status = dict(zip(first.column("path").to_pylist(), first.column("status").to_pylist(), strict=True))
        assert status["c/3.mkv"] == "not read: permission denied"
        assert status["c/4.mpg"] == "cannot be read: not found (404); check the URL"
        web.refuse = {}
        again = VideoIndex.build(url, known=first, progress=False)
        assert len(again.usable()) == 6


def test_a_playlist_makes_no_requests_to_elsewhere(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    other = Web(videos)
    with other.serving() as elsewhere, Web(tmp_path / "web").serving() as url:
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{elsewhere}/c/3.mkv\n#EXT-X-ENDLIST\n"
        (tmp_path / "web/x.mp4").write_text(text)
        (tmp_path / "web/y.mp4").write_text(text.replace(f"{elsewhere}/c/3.mkv", str(videos / "c/3.mkv")))
        assert len(VideoIndex.build(url, progress=False).usable()) == 0
    assert other.asked.total() == 0
