"""bitstream: what is read of packets themselves, against encoders that were told what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from tests.clips import make_clip
from vidssl.video.bitstream import count_pictures, is_random_access, is_single_picture, may_have_fields, picture_sizes

PROGRESSIVE: dict[str, dict[str, Any]] = {
    "baseline": {"options": {"profile": "baseline"}},
    "main": {"options": {"profile": "main"}},
    "high": {"options": {"profile": "high"}},
    "high10": {"form": "yuv420p10le"},
    "high444": {"form": "yuv444p"},
    "odd size": {"size": (46, 62)},
    "many references": {"options": {"x264-params": "ref=9:bframes=5"}},
    "no frame order": {"options": {"x264-params": "bframes=0"}},
}


def packets(path: Path) -> tuple[list[Packet[Any]], bytes | None]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [packet for packet in container.demux(stream) if packet.size], stream.codec_context.extradata


@pytest.mark.parametrize("ending", ["mp4", "ts"])
@pytest.mark.parametrize("name", PROGRESSIVE)
def test_progressive_h264_has_no_fields(name: str, ending: str, tmp_path: Path) -> None:
    found, extradata = packets(make_clip(tmp_path / f"a.{ending}", frames=5, **PROGRESSIVE[name]))
    assert not may_have_fields(found[0], extradata)


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_interlaced_h264_may_have_fields(ending: str, tmp_path: Path) -> None:
    found, extradata = packets(make_clip(tmp_path / f"a.{ending}", frames=5, options={"x264-params": "interlaced=1"}))
    assert may_have_fields(found[0], extradata)
    assert may_have_fields(found[0], None) == (ending == "ts")  # MP4 has the parameters in its record alone


def test_parameters_that_are_not_read_to_the_end_promise_nothing(tmp_path: Path) -> None:
    """Scaling matrices stand before what is looked for."""
    found, extradata = packets(make_clip(tmp_path / "a.mp4", frames=5, options={"x264-params": "cqm=jvt"}))
    assert extradata is not None
    sps = extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")]
    written = b"\0\0\1" + sps
    assert not may_have_fields(found[0], written)  # x264 writes its matrices into the picture parameters
    bits = "".join(f"{byte:08b}" for byte in sps[1:])
    # High profile: id, chroma format, two depths, bypass, then the flag of matrices.
    at = 24 + bits[24:].index("1") + 1 + len("010") + 1 + 1 + 1
    flagged = bits[:at] + "1" + bits[at + 1 :]
    assert bits[at] == "0"
    assert may_have_fields(found[0], b"\0\0\1" + sps[:1] + int(flagged, 2).to_bytes(len(sps) - 1, "big"))


@pytest.mark.parametrize("kept", [1, 3, 6, 7, 9, 12])
def test_parameters_that_are_cut_off_promise_nothing(kept: int, tmp_path: Path) -> None:
    found, extradata = packets(make_clip(tmp_path / "a.mp4", frames=5))
    assert extradata is not None
    assert may_have_fields(found[0], extradata[:kept])
    is_random_access("h264", found[0], extradata[:kept])


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_where_decoding_begins_anew(ending: str, tmp_path: Path) -> None:
    open_gop = {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2:open-gop=1"}
    found, extradata = packets(make_clip(tmp_path / f"a.{ending}", frames=30, options=open_gop))
    assert [is_random_access("h264", packet, extradata) for packet in found] == [True] + [False] * 29
    found, extradata = packets(
        make_clip(tmp_path / f"b.{ending}", frames=30, gop=10, options={"x264-params": "scenecut=0"})
    )
    assert [at for at, packet in enumerate(found) if is_random_access("h264", packet, extradata)] == [0, 10, 20]
    options = {"x265-params": "log-level=none:keyint=10:min-keyint=10:scenecut=0:open-gop=1:pools=none:frame-threads=1"}
    found, extradata = packets(make_clip(tmp_path / f"c.{ending}", "libx265", frames=30, options=options))
    anew = [at for at, packet in enumerate(found) if is_random_access("hevc", packet, extradata)]
    assert len(anew) == 3
    assert anew[0] == 0


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"x264-params": "slices=3:bframes=2"}),
        ("a.ts", "libx264", {"x264-params": "slices=3:bframes=2"}),
        ("a.mkv", "libx265", {"x265-params": "log-level=none:slices=2:pools=none:frame-threads=1"}),
        ("a.ts", "libx265", {"x265-params": "log-level=none:pools=none:frame-threads=1"}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_every_packet_begins_one_picture(name: str, codec: str, options: dict[str, Any], tmp_path: Path) -> None:
    found, extradata = packets(make_clip(tmp_path / name, codec, frames=20, size=(128, 160), options=options))
    kind = {"libx264": "h264", "libx265": "hevc"}.get(codec, codec)
    assert [count_pictures(kind, packet, extradata) for packet in found] == [1] * 20
    assert count_pictures(kind, Packet(bytes(found[3]) + bytes(found[4])), extradata) == 2
    assert count_pictures(kind, Packet(b"\0\0\0\2"), extradata) == 0


def test_a_lost_first_slice_begins_no_picture(tmp_path: Path) -> None:
    found, extradata = packets(make_clip(tmp_path / "a.mp4", frames=9, options={"x264-params": "slices=3"}))
    data = bytes(found[4])
    first = 4 + int.from_bytes(data[:4], "big")
    assert count_pictures("h264", found[4], extradata) == 1
    assert count_pictures("h264", Packet(data[first:]), extradata) == 0


def test_hidden_pictures_of_vp9(tmp_path: Path) -> None:
    """libvpx as PyAV brings it hides none, so they are put together by hand: two pictures and the index behind them
    (Annex B).
    """
    found, _ = packets(
        make_clip(tmp_path / "a.webm", "libvpx-vp9", frames=40, options={"cpu-used": "8", "deadline": "realtime"})
    )
    assert all(is_single_picture(packet) for packet in found)
    first, second = bytes(found[1]), bytes(found[2])
    for pictures in ([first], [first, second]):
        marker = bytes([0b11001000 | len(pictures) - 1])  # sizes of two bytes
        sizes = b"".join(len(picture).to_bytes(2, "little") for picture in pictures)
        packet = Packet(b"".join(pictures) + marker + sizes + marker)
        assert is_single_picture(packet) == (len(pictures) == 1)
    # frame_marker 10, profile 0, show_existing_frame 1; profile 3 has a reserved bit before it.
    assert not is_single_picture(Packet(bytes([0b10001000])))
    assert is_single_picture(Packet(bytes([0b10000000])))
    assert not is_single_picture(Packet(bytes([0b10110100])))
    assert is_single_picture(Packet(bytes([0b10110010])))


@pytest.mark.parametrize("size", [(48, 64), (30, 142), (720, 1280)])
@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libvpx", {}),
        ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("libvpx-vp9", {"deadline": "realtime"}),
        ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("libvpx-vp9", {"error-resilient": "default"}),
    ],
)
def test_vpx_packets_name_their_size(
    codec: str, options: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    frames = 12 if size[0] > 500 else 40
    found, _ = packets(
        make_clip(tmp_path / "a.webm", codec, frames=frames, gop=20, size=size, options={"cpu-used": "8", **options})
    )
    name = {"libvpx": "vp8", "libvpx-vp9": "vp9"}[codec]
    named = [picture_sizes(name, packet) for packet in found]
    assert named[0] == {size}
    assert all(named[at] == {size} for at, packet in enumerate(found) if packet.is_keyframe)
    assert all(one <= {size} for one in named)


@pytest.mark.parametrize("form", ["yuv444p", "yuv422p", "yuv440p"])
def test_vp9_of_other_profiles_names_its_size(form: str, tmp_path: Path) -> None:
    found, _ = packets(
        make_clip(tmp_path / "a.webm", "libvpx-vp9", frames=3, form=form, options={"deadline": "realtime"})
    )
    assert picture_sizes("vp9", found[0]) == {(48, 64)}


@pytest.mark.parametrize(
    ("codec", "damaged", "reason"),
    [
        ("vp8", b"\x10\0\0\x9d\x01\x2b@\0\x30\0", "start code"),
        ("vp8", b"\x10\0\0\x9d", "start code"),
        ("vp9", b"\x42\x49\x83\x42\0", "marker"),
        ("vp9", b"\x82\x49\x83\x43" + bytes(8), "sync code"),
        ("vp9", b"\x82\x49\x83\x42\0", "end too early"),
    ],
)
def test_a_damaged_vpx_header_is_said(codec: str, damaged: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        picture_sizes(codec, Packet(damaged))
