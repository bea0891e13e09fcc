"""Compares what vidssl gives of a file with a plain sequential decode of the same bytes: every frame must be equal, or
reported.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.video.frame import VideoFrame

from vidssl import VideoIndex, VidsslError
from vidssl.video.decode import Planes, Video, decode
from vidssl.video.packets import DecodeError

SCAN_S = 10  # the time that one file may take to be indexed

Sums = list[int]


def _decoded(container: Any, stream: Any) -> Iterator[VideoFrame]:
    """All frames of all packets. An empty packet in the middle is not the end, as a decoder would take it.

    AVI may hold two frames of MPEG-4 in one packet; they are unpacked, as each has its own number.
    """
    codec = stream.codec_context
    unpack = BitStreamFilterContext("mpeg4_unpack_bframes", stream) if codec.name == "mpeg4" else None
    for packet in container.demux(stream):
        if packet.size:
            for part in [packet] if unpack is None else unpack.filter(packet):
                yield from codec.decode(part)
    yield from codec.decode(None)


def sequence(video: Video, path: Path, start: int = 0) -> Sums:
    """A checksum of each frame of a plain decode from the first packet to the last, in the layout of vidssl's frames.

    It ends at the first error, damaged frame, or frame of another size. start: the video begins with this frame.
    """
    sums: Sums = []
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream: Any = container.streams[video.stream]
            stream.thread_type = "NONE"
            for number, frame in enumerate(_decoded(container, stream)):
                if frame.is_corrupt:
                    break
                if number < start:
                    continue
                planes = Planes(video, 1)
                planes.store(0, frame)
                sums.append(zlib.crc32(planes.data.data))
    except (av.FFmpegError, DecodeError):
        pass
    return sums


def windows(frames: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Frame numbers as training asks for them: single frames, all frames, windows with and without gaps."""
    rng = np.random.default_rng(seed)
    out = [np.array([frames - 1]), np.arange(frames)]
    for stride in (1, int(rng.integers(2, 5))):
        first = int(rng.integers(frames))
        out.append(np.arange(first, min(frames, first + 8 * stride), stride))
    out.append(np.sort(rng.choice(frames, min(frames, 4), replace=False)))
    return [numbers.astype(np.int64) for numbers in out]


def differences(video: Video, right: Sums, seed: int) -> str:
    """What is wrong with the frames that `decode` gives, compared with the checksums of the right ones."""
    for numbers in windows(video.frames, seed):
        try:
            frames = decode(video, numbers)
        except VidsslError:
            continue  # reported
        for number, data in zip(numbers.tolist(), frames.data, strict=True):
            if number >= len(right):
                return f"frame {number} is given, but a sequential decode ends before it (after {len(right)} frames)"
            if zlib.crc32(data.data) != right[number]:
                return f"frame {number} of {numbers.tolist()} is not that of a sequential decode"
    return ""


def indexed(root: Path, seed: int) -> str:
    """Indexes the one file of a folder. Says which frames are given wrong, or are missing without a note."""
    index = VideoIndex.build(root, workers=1, progress=False, file_timeout=SCAN_S)
    [path] = root.iterdir()
    for row in index.usable().tolist():
        video = index.video(row)
        right = sequence(video, path, index.column("start")[row].as_py() or 0)
        if video.frames < len(right) and not index.column("note")[row].as_py():
            return f"{video.frames} frames and no note, but a sequential decode gives {len(right)}"
        if wrong := differences(video, right, seed):
            return wrong
    return ""
