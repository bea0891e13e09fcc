"""Reads from packets the few facts that their container does not give.

Sources: ITU-T H.264, 7.3 and Annex B; H.265, 7.3.1.2; RFC 6386 (VP8), 9.1 and 19.1; the VP9 bitstream specification,
6.1, 6.2, 7.2 and Annex B; ISO 14496-15, 5.3.3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av.packet import Packet

_SPS, _IDR, _IRAP = 7, 5, range(16, 22)
_SLICES = frozenset({1, 2, 5})
_HEADER = 32  # first bytes of a VP9 frame, which include its size if it has one
# Profiles whose sequence parameters include a chroma format (H.264, 7.3.2.1.1).
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


def is_random_access(codec: str, packet: Packet[Any], extradata: bytes | None) -> bool:
    """Return True if a decoder that begins at `packet` needs nothing before it.

    In H.264 this is an IDR picture, in HEVC an IRAP picture. An H.264 recovery point does not count, because decoders
    differ in whether they begin there.
    """
    if codec == "h264":
        return any(unit[0] & 31 == _IDR for unit in _units(bytes(packet), extradata))
    if codec == "hevc":
        return any(unit[0] >> 1 & 63 in _IRAP for unit in _units(bytes(packet), extradata, hevc=True))
    return bool(packet.is_keyframe)


def count_pictures(codec: str, packet: Packet[Any], extradata: bytes | None) -> int:
    """Count the pictures that begin in a packet of H.264, HEVC or MPEG-4: by first slices, or by picture start codes.

    The parser of a hardware decoder counts in the same way, and skips data that belongs to no picture.
    """
    data = bytes(packet)
    if codec == "h264":  # first_mb_in_slice is 0 if its first bit is 1
        return sum(unit[0] & 31 in _SLICES and unit[1:2] >= b"\x80" for unit in _units(data, extradata))
    if codec == "hevc":  # first_slice_segment_in_pic_flag
        return sum(unit[0] >> 1 & 63 < 32 and unit[2:3] >= b"\x80" for unit in _units(data, extradata, hevc=True))
    return data.count(b"\0\0\1\xb6")


def is_single_picture(packet: Packet[Any]) -> bool:
    """VP9: return True if a packet with a frame holds exactly that picture.

    A packet may also hold hidden pictures, or only name an earlier picture to show again.
    """
    data = bytes(packet)
    several = data[-1] & 0xE0 == 0xC0 and data[-1] & 7 > 0  # the superframe's marker
    profile = data[0] >> 5 & 1 | data[0] >> 3 & 2
    return not several and not data[0] >> (2 if profile == 3 else 3) & 1  # show_existing_frame


def picture_sizes(codec: str, packet: Packet[Any]) -> set[tuple[int, int]]:
    """The (height, width) in pixels that the pictures of a VP8 or VP9 packet give, including hidden ones.

    Most pictures give no size. The result is empty for other codecs.

    Raises:
        ValueError: A header is damaged.
    """
    data = memoryview(packet)
    if codec == "vp8":
        return _vp8_size(bytes(data[:10]))
    if codec == "vp9":
        return {size for part in _vp9_parts(data) for size in _vp9_size(bytes(part[:_HEADER]))}
    return set()


def _vp8_size(head: bytes) -> set[tuple[int, int]]:
    if not head or head[0] & 1:  # an interframe
        return set()
    if len(head) < 10 or head[3:6] != b"\x9d\x01\x2a":
        raise ValueError("its key frame has no start code")
    width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return {(height, width)}


def _vp9_parts(data: memoryview) -> Iterator[memoryview]:
    """The frames of a superframe (Annex B), or the one frame."""
    mark = data[-1]
    count, bytes_ = (mark & 7) + 1, (mark >> 3 & 3) + 1
    index = data[-(2 + count * bytes_) :]
    if mark & 0xE0 != 0xC0 or index[0] != mark:
        yield data
        return
    at = 0
    for place in range(1, 1 + count * bytes_, bytes_):
        length = int.from_bytes(index[place : place + bytes_], "little")
        if length:
            yield data[at : at + length]
        at += length


def _vp9_size(head: bytes) -> set[tuple[int, int]]:
    """The size in a frame's uncompressed header, if it has one."""
    bits = _Bits(head)
    if bits.read(2) != 2:
        raise ValueError("a frame has no marker")
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    if bits.read(1):  # show_existing_frame
        return set()
    inter, shown, resilient = bits.read(1), bits.read(1), bits.read(1)
    alone = inter and not shown and bits.read(1)  # intra_only
    if inter and not resilient:
        bits.read(2)
    if not inter or alone:
        if bits.read(24) != 0x498342:
            raise ValueError("a frame has no sync code")
        if not inter or profile:
            _skip_vp9_colors(bits, profile)
        if inter:
            bits.read(8)
    else:
        bits.read(20)  # the frames that it refreshes, and those that it refers to
        if any(bits.read(1) for _ in range(3)):  # the size is that of a reference frame
            return set()
    width, height = bits.read(16) + 1, bits.read(16) + 1
    return {(height, width)}


def _skip_vp9_colors(bits: _Bits, profile: int) -> None:
    if profile >= 2:
        bits.read(1)
    rgb = bits.read(3) == 7
    if not rgb:
        bits.read(1)
    if profile in (1, 3):
        bits.read(1 if rgb else 3)


def may_have_fields(packet: Packet[Any], extradata: bytes | None) -> bool:
    """H.264: return True if pictures may be coded as two fields, according to the available sequence parameters.

    Also True if the parameters are truncated.
    """
    try:
        units = [*_parameters(extradata), *_units(bytes(packet), extradata)]
        return any(not _frames_only(unit) for unit in units if unit[0] & 31 == _SPS)
    except (ValueError, IndexError):
        return True


def _units(data: bytes, extradata: bytes | None, hevc: bool = False) -> Iterator[bytes]:
    """NAL units, each after its length (MP4, Matroska: extradata is a configuration record) or after a start code."""
    place = 21 if hevc else 4
    if extradata and extradata[0] == 1 and len(extradata) > place:
        at, length = 0, (extradata[place] & 3) + 1
        while at + length < len(data):
            size = int.from_bytes(data[at : at + length], "big")
            if size:
                yield data[at + length : at + length + size]
            at += length + size
    else:
        yield from (unit for unit in data.split(b"\0\0\1")[1:] if unit)


def _parameters(extradata: bytes | None) -> Iterator[bytes]:
    """H.264: the sequence parameter sets of a configuration record, or of start codes."""
    if not extradata or extradata[0] != 1:
        yield from _units(extradata or b"", None)
        return
    at = 6
    for _ in range(extradata[5] & 31):
        size = int.from_bytes(extradata[at : at + 2], "big")
        yield extradata[at + 2 : at + 2 + size]
        at += 2 + size


def _frames_only(unit: bytes) -> bool:
    """frame_mbs_only_flag of sequence parameters (H.264, 7.3.2.1.1)."""
    bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.read(8)
    bits.read(16)
    bits.golomb()  # seq_parameter_set_id
    if profile in _HIGH:
        if bits.golomb() == 3:
            bits.read(1)
        bits.golomb(), bits.golomb(), bits.read(1)  # bit depths, transform bypass
        if bits.read(1):
            return False  # scaling matrices are not parsed, so assume fields
    bits.golomb()  # log2_max_frame_num
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1), bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb(), bits.read(1), bits.golomb(), bits.golomb()  # reference frames, gaps, size
    return bits.read(1) == 1


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the parameters end too early")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb code. A signed code has the same length, so this also skips one."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
