"""What a file can make a library raise is the file's reason; errors of a program stay what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import make_clip
from vidssl.index.scan import scan
from vidssl.index.table import VideoIndex
from vidssl.prepare.encode import Encoding, encode
from vidssl.video.decode import decode
from vidssl.video.packets import PacketReader, open_container
from vidssl.video.segment import cut_segment

ROOT = Path(__file__).parents[2]
LATIN_1 = b"caf\xe9 \xff Y"


@pytest.fixture(params=["a.avi", "b.mp4", "c.mkv", "d.mov"])
def titled(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A clip whose title is Latin-1."""
    plain = make_clip(tmp_path / f"plain{Path(request.param).suffix}", "mpeg4", frames=14, gop=5)
    path = tmp_path / request.param
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        target.metadata["title"] = "T" * len(LATIN_1)
        stream.metadata["title"] = stream.metadata["handler_name"] = "T" * len(LATIN_1)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    plain.unlink()
    whole = path.read_bytes()
    assert b"T" * len(LATIN_1) in whole
    path.write_bytes(whole.replace(b"T" * len(LATIN_1), LATIN_1))
    return path


def test_a_title_that_is_not_utf_8_is_an_ordinary_video(titled: Path, tmp_path: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        av.open(str(titled))
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.table["status"].to_pylist() == ["ok"]
    video = index.video(0)
    assert len(decode(video, np.arange(14)).data) == 14
    assert cut_segment(video, np.arange(6, 9)).frames >= 3
    encode(video, index.table.to_pylist()[0], tmp_path / "new.mp4", Encoding(short_side=16))
    assert scan(tmp_path / "new.mp4")["frames"] == 14


def test_one_place_opens_containers() -> None:
    """Another would forget the title: see open_container."""
    opened = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("vidssl", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\bav\.open\(", line) and '"w"' not in line
    ]
    assert opened == [
        'vidssl/video/packets.py: opened: InputContainer = av.open(url, metadata_errors="replace", **options)'
    ]


@pytest.mark.parametrize("error", [ValueError("no such value"), OverflowError("too large"), IndexError("no such item")])
@pytest.mark.parametrize("call", ["open", "demux", "decode"])
def test_what_a_file_makes_pyav_raise_is_its_reason(
    call: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mkv", "mpeg4", frames=6)

    class Raises:
        """Stands for what PyAV gave; its method `call` raises."""

        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def __getattr__(self, name: str) -> Any:
            if name == call:
                raise error
            return getattr(self.whole, name)

    def opened(url: str, **options: Any) -> Any:
        if call == "open":
            raise error
        return Raises(open_container(url, **options))

    monkeypatch.setattr("vidssl.video.packets.open_container", opened)
    if call == "decode":
        plain = PacketReader._take

        def open_and_wrap(self: PacketReader, *where: Any) -> None:
            plain(self, *where)
            self.codec = Raises(self.codec)  # type: ignore[assignment]

        monkeypatch.setattr(PacketReader, "_take", open_and_wrap)
    assert scan(path)["status"] == f"PyAV cannot read it: {type(error).__name__}: {error}"


@pytest.mark.parametrize("error", [TypeError, AttributeError, NameError, AssertionError])
def test_errors_of_a_program_are_not_a_file_s_reason(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "a.mkv", "mpeg4", frames=6)

    def wrong(*_: Any) -> None:
        raise error("ours")

    monkeypatch.setattr("vidssl.index.verify.Watch.see", wrong)
    with pytest.raises(error, match="ours"):
        scan(path)


def test_a_closed_reader_does_not_read_on(tmp_path: Path) -> None:
    """PyAV before 18.1.1 would read freed memory."""
    path = make_clip(tmp_path / "a.mkv", "mpeg4", frames=6)
    with PacketReader(path) as reader:
        packets = reader.packets()
        next(packets)
    with pytest.raises(AttributeError, match="stream"):
        next(packets)
    with pytest.raises(AttributeError, match="stream"):
        _ = reader.stream
