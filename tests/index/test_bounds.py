"""What a file says of itself is not believed: loops over its structure end, and memory is taken only for what can be
there.
"""

from __future__ import annotations

import resource
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from tests.fuzz.tars import header, padded
from tests.index.test_sources import SPEC
from vidssl import Loader, VideoIndex
from vidssl.index.row import FRAMES, make_video
from vidssl.index.scan import scan
from vidssl.index.sources import find_videos
from vidssl.index.tars import SIDECAR_BYTES
from vidssl.video.packets import PIXELS, DecodeError

FTYP = struct.pack(">I4s8s", 16, b"ftyp", b"isom\0\0\0\0")


@pytest.fixture(autouse=True)
def bounded() -> Any:
    """A fraction of what the files here ask for: a test that takes it fails, instead of filling the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("length", [0, 1, 8, 15])
def test_a_box_that_is_shorter_than_its_head_ends_the_search(length: int, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(FTYP + struct.pack(">I4sQ", 1, b"mdat", length) + bytes(100))
    began = time.process_time()
    assert "moov box) is missing" in scan(tmp_path / "a.mp4")["status"]
    assert time.process_time() - began < 5


@pytest.mark.parametrize("kind", [b"stsz", b"trun"])
def test_a_table_of_more_frames_than_bytes_is_refused(kind: bytes, tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe"} if kind == b"trun" else None
    path = make_clip(tmp_path / "plain.mp4", frames=10) if options is None else fragmented(tmp_path / "plain.mp4")
    assert scan(path)["status"] == "ok"
    data = bytearray(path.read_bytes())
    at = data.index(kind) + 8 + 4 * (kind == b"stsz")
    data[at : at + 4] = (50_000_000).to_bytes(4, "big")
    path.write_bytes(data)
    began = time.process_time()
    assert scan(path)["status"].startswith("damaged: its table of contents claims 50000000 frames, but it has only")
    assert time.process_time() - began < 1


def fragmented(path: Path) -> Path:
    import av

    plain = make_clip(path.with_name("whole.mp4"), frames=10)
    with (
        av.open(str(plain)) as source,
        av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    plain.unlink()
    return path


def test_a_picture_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W9000 H9000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(1000))
    assert scan(path)["status"] == f"its pictures are 9000x9000; the limit is {PIXELS} pixels; scale the video down"


def test_a_picture_that_only_its_own_bytes_say_is_large_is_refused(tmp_path: Path) -> None:
    data = bytearray(make_clip(tmp_path / "a.mov", "png", frames=2, form="rgb24").read_bytes())
    at = data.index(b"IHDR")
    struct.pack_into(">II", data, at + 4, 16000, 16000)
    struct.pack_into(">I", data, at + 17, zlib.crc32(bytes(data[at : at + 17])))
    (tmp_path / "a.mov").write_bytes(data)
    began = time.process_time()
    assert "no frame decodes" in scan(tmp_path / "a.mov")["status"]
    assert time.process_time() - began < 1  # FFmpeg takes five seconds and 800 MB for it


@pytest.mark.parametrize("name", ["s.cls", "s.json", "pax"])
def test_a_shard_asks_for_no_memory(name: str, tmp_path: Path) -> None:
    """A file of 20 kB on disk that says it holds 40 GB of a label, or of a header."""
    video = make_clip(tmp_path / "a.mp4", frames=10).read_bytes()
    (tmp_path / "a.mp4").unlink()
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(header(b"walk/s.mp4", len(video)) + padded(video))
        file.write(header(name.encode(), 40 * 2**30, b"x" if name == "pax" else b"0"))
        file.truncate(file.tell() + 40 * 2**30 + 1024)
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.column("label").to_pylist()[-1] == "walk"
    assert len(index.usable()) == 1
    assert [path for path, _ in index.skipped()] == (["a.tar"] if name == "pax" else [])


def test_a_sidecar_that_is_too_long_is_said(tmp_path: Path) -> None:
    label = b'{"label": "run"}'
    for name, data in (("a.tar", label), ("b.tar", label + b" " * SIDECAR_BYTES), ("c.tar", b"[" * 200_000)):
        tar = header(b"s.mp4", 4) + padded(b"some") + header(b"s.json", len(data)) + padded(data) + bytes(1024)
        (tmp_path / name).write_bytes(tar)
    found = find_videos(tmp_path)
    assert [one.label for one in found.videos] == ["run", None, None]
    assert f"1 ignored (a label of more than {SIDECAR_BYTES} bytes): b.tar/s.json" in found.notes
    assert "1 ignored (not JSON): c.tar/s.json" in found.notes


def test_members_that_cannot_be_where_they_say_are_named(tmp_path: Path) -> None:
    honest = header(b"a.mp4", 4) + padded(b"some")
    lies = {
        "long": header(b"b.mp4", 2**40),
        "longest": header(b"b.mp4", 2**70),
        "sparse": header(b"b.mp4", 4, b"S") + padded(b"some"),
    }
    for name, lie in lies.items():
        (tmp_path / f"{name}.tar").write_bytes(honest + lie + bytes(1024))
    (tmp_path / "back.tar").write_bytes(honest + header(b"b.mp4", -1024) + bytes(1024))
    status = dict(VideoIndex.build(tmp_path, progress=False).skipped())
    assert status["long.tar/b.mp4"] == f"its tar has 2560 bytes, but the header places it at 1536..{1536 + 2**40}"
    assert "the header places it at 1536.." in status["longest.tar/b.mp4"]
    assert "a sparse member of a tar" in status["sparse.tar/b.mp4"]
    assert "cannot be read to its end" in status["back.tar"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": 2**31 - 1}, "2147483647 frames in"),
        ({"frames": 2**31 - 1, "bytes": 2**40}, "2147483647 frames in"),
        ({"width": 65535, "height": 65535, "coded_width": 65535, "coded_height": 65535}, "pictures of 65535x65535"),
        ({"width": 66}, "pictures of 66x48, stored as 64x48"),
        ({"packet": np.array([0, 2**31 - 1], np.int32)}, "packets 0..2147483647"),
        ({"packet": np.array([-5], np.int32)}, "packets -5..-5"),
    ],
)
def test_a_row_that_no_file_gives_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=30)
    row = {**VideoIndex.build(tmp_path, progress=False).table.to_pylist()[0], "packet": np.arange(30)}
    make_video(tmp_path / "a.mp4", row)
    with pytest.raises(DecodeError, match=said):
        make_video(tmp_path / "a.mp4", row | change)


def test_a_loader_goes_on_without_such_a_row(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / name, frames=30)
    index = VideoIndex.build(tmp_path, progress=False)
    at = index.table.schema.get_field_index("frames")
    table = index.table.set_column(at, "frames", np.array([[2**31 - 1, 30]], np.int32))
    assert FRAMES < 2**31 - 1
    began = time.monotonic()
    with Loader(VideoIndex(table, tmp_path), SPEC, batch_size=2, device="cpu", max_corrupt=1) as loader:
        assert set(next(iter(loader)).video.tolist()) == {1}
    assert time.monotonic() - began < 20
