"""A file whose bytes changed after it was indexed, but neither its size nor its time, never gives other frames: what
reads a changed packet says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.clips import make_clip
from tests.fuzz.containers import seeds
from vidssl.index.table import VideoIndex
from vidssl.prepare.encode import Encoding, encode
from vidssl.video.decode import Video, check_frame, decode
from vidssl.video.packets import Checksums, DecodeError, PacketReader, packet_checksum
from vidssl.video.segment import SegmentError, cut_segment

AGAIN = "has other bytes than when it was indexed; index it again"
Window = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    """A clip of each container."""
    folder = tmp_path_factory.mktemp("changed")
    seeds(folder)
    return VideoIndex.build(folder, progress=False)


def overwrite(video: Video, data: bytes) -> None:
    """Change a file's bytes, and neither its size nor its time."""
    video.path.write_bytes(data)
    os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns))


def windows(video: Video) -> list[Window]:
    """From each seek point to the end, and one with gaps."""
    return [np.arange(first, video.frames) for first in video.points.frame.tolist()] + [np.array([1, 3, 8])]


@pytest.mark.parametrize("read", ["decode", "cut"])
def test_no_changed_byte_gives_other_frames(index: VideoIndex, read: str) -> None:
    def frames(video: Video, numbers: Window) -> bytes | None:
        """The frames, decoded from the file or from a segment; None if that is refused."""
        try:
            if read == "decode":
                return decode(video, numbers).data.tobytes()
            segment = cut_segment(video, numbers)
        except (DecodeError, SegmentError):
            return None
        path = video.path.with_name("segment.bin")
        path.write_bytes(segment.data.tobytes())
        with av.open(str(path)) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        path.unlink()
        return np.stack(shown)[segment.position].tobytes()

    noticed = 0
    rng = np.random.default_rng(1)
    for row in index.usable().tolist():
        video = index.video(row)
        whole = video.path.read_bytes()
        right = [frames(video, numbers) for numbers in windows(video)]
        for at in rng.integers(len(whole) // 8, len(whole), 12).tolist():
            overwrite(video, whole[:at] + bytes([whole[at] ^ 0x24]) + whole[at + 1 :])
            for numbers, wanted in zip(windows(video), right, strict=True):
                found = frames(video, numbers)
                noticed += found is None
                assert found in (wanted, None), f"{video.path.name}, byte {at}, frames {numbers}"
        overwrite(video, whole)
    assert noticed > 100


def halfway(video: Video) -> tuple[bytes, int]:
    """A file's bytes, and the place of a byte in the middle of the packet of frame 6."""
    with PacketReader(video.path) as reader:
        packet = next(packet for number, packet in reader.packets() if number == video.packet[6])
        assert packet.pos is not None
        return video.path.read_bytes(), packet.pos + packet.size // 2


def test_every_reader_names_a_changed_packet(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mkv", "mpeg4", frames=14, gop=5)
    index = VideoIndex.build(tmp_path, progress=False)
    video, row = index.video(0), index.table.to_pylist()[0]
    whole, at = halfway(video)
    overwrite(video, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    readers: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(video, np.array([7])),
        "cut": lambda: cut_segment(video, np.array([7])),
        "prepare": lambda: encode(video, row, tmp_path / "new.mp4", Encoding(short_side=16)),
    }
    for read in readers.values():
        with pytest.raises(DecodeError, match=rf"a\.mkv: packet {video.packet[6]} {AGAIN}"):
            read()
    assert len(decode(video, np.arange(4)).data) == 4  # the changed packet is not read for these


def test_changed_headers_are_named(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", "libx264", frames=6)
    video = VideoIndex.build(tmp_path, progress=False).video(0)
    whole = video.path.read_bytes()
    at = whole.index(b"avcC") + 4 + 6 + 2 + 3  # the level, in the sequence parameters
    overwrite(video, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DecodeError, match=r"a\.mp4: its headers have other bytes than when it was indexed; index it"):
        decode(video, np.array([2]))


def test_packets_that_were_not_indexed_are_not_read(tmp_path: Path) -> None:
    """What stands after the first damage, or was added since, is not proven."""
    make_clip(tmp_path / "a.avi", "mjpeg", form="yuvj420p", frames=6)
    video = VideoIndex.build(tmp_path, progress=False).video(0)
    known = video.checksums
    assert known is not None
    with PacketReader(video.path, container=video.container) as reader:
        assert [packet_checksum(packet) for _, packet in reader.packets()] == known.packet.tolist()
    fewer = Checksums(header=known.header, packet=known.packet[:4])
    with PacketReader(video.path, container=video.container, checksums=fewer) as reader:
        assert [number for number, _ in reader.packets()] == [0, 1, 2, 3]


def test_what_the_decoder_reports_is_an_error() -> None:
    """It is for every decoder: the frames that are stored are checked, as those that are scanned."""

    class Frame:
        is_corrupt = True

    class Clip:
        path = Path("a.mp4")

    with pytest.raises(DecodeError, match=r"a\.mp4: the decoder reports that a frame is damaged; index the file again"):
        check_frame(Clip(), Frame())  # type: ignore[arg-type]
