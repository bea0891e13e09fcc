"""again: a long file is opened once for all its seek points, and only where that gives what opening it anew gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet

from tests.clips import make_clip
from vidssl.index.again import Again
from vidssl.index.scan import scan
from vidssl.video import packets
from vidssl.video.packets import PacketReader


def fragmented(path: Path, flags: str) -> Path:
    """An MP4 file of fragments, one for each key frame."""
    plain = make_clip(path.with_name("plain.mp4"), frames=80, gop=13)
    options = {"movflags": f"frag_keyframe+empty_moov{flags}"}
    with av.open(str(plain)) as source, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return path


# name: how to make the file; True if its headers are read once for all seek points
KINDS: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "h264": (lambda folder: make_clip(folder / "a.mp4", frames=80, gop=13, bframes=2), True),
    "hevc": (
        lambda folder: make_clip(folder / "a.mp4", "libx265", frames=80, options={"x265-params": "keyint=13"}),
        True,
    ),
    "mpeg4": (lambda folder: make_clip(folder / "a.mov", "mpeg4", frames=80, gop=13, bframes=2), True),
    "fragments": (lambda folder: fragmented(folder / "a.mp4", "+default_base_moof"), True),
    "fragments that are sought": (lambda folder: fragmented(folder / "a.mp4", "+dash"), False),
    "palette": (lambda folder: make_clip(folder / "a.mov", "qtrle", frames=80, gop=13, form="gray"), False),
    "avi": (lambda folder: make_clip(folder / "a.avi", "mpeg4", frames=80, gop=13), False),
}


def listed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_opened_once_where_that_changes_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, once = KINDS[kind]
    path, opened, real = make(tmp_path), list[str](), packets.open_container

    def counted(url: str, **options: Any) -> Any:
        opened.append(url)
        return real(url, **options)

    monkeypatch.setattr(packets, "open_container", counted)
    row = scan(path)
    assert row["status"] == "ok"
    # The sequential pass, the headers as decoding reads them, the first point, and one time for all other points.
    assert (len(opened) == 4) is once
    monkeypatch.setattr(Again, "__init__", anew)
    assert listed(scan(path)) == listed(row)


def anew(again: Again, video: Any, *, steered: bool) -> None:
    again._video, again._whole, again._source = video, False, None


def test_a_renewed_reader_has_a_decoder_as_an_opened_one(tmp_path: Path) -> None:
    path, other = (make_clip(tmp_path / f"{side}.ts", frames=10, size=(side, 64)) for side in (48, 96))
    with PacketReader(other) as source:
        (_, key), *_ = source.packets()
        parts = [b"\0\0\0\1" + part for part in re.split(rb"\x00\x00\x00?\x01", bytes(key)) if part]
    whole, bare = (Packet(b"".join(part for part in parts if part[4] & 31 not in left)) for left in ((), (7, 8)))
    with PacketReader(path) as source:

        def about() -> list[Any]:
            codec = source.codec
            return [source.header(), codec.extradata, codec.copy_opaque, codec.thread_count, codec.thread_type]

        before = about()
        assert heights(source, whole) == {96}
        source.codec.flush_buffers()
        assert heights(source, bare) == {96}  # a flushed decoder knows the parameter sets of earlier packets
        source.renew()
        assert about() == before
        assert 96 not in heights(source, bare)


def heights(source: PacketReader, packet: Packet[Any]) -> set[int]:
    """Heights of the pictures that a packet and the end of the file give."""
    try:
        return {frame.height for frame in (*source.frames(packet), *source.frames(None))}
    except av.FFmpegError:
        return set()
