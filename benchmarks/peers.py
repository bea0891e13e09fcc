"""What others offer for the same job, each as its documentation advises: 48 frames of a window, resized to 128 x 171,
from a new decoder.

A peer is a function (path, numbers) -> uint8 [F, 128, 171, 3] RGB. It may use the window's place in time as its users
would; whether the frames are the right ones is counted (`bench_peers.wrong`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from vidssl.video.packets import open_container

Pictures = npt.NDArray[np.uint8]
Peer = Callable[[str, Sequence[int]], Pictures]
HEIGHT, WIDTH = 128, 171


@lru_cache(maxsize=64)
def timing(path: str) -> tuple[float, float]:
    """(frames a second, seconds before the first) that the container claims: what a data set's listing would hold."""
    with open_container(path) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or 1)
        return float(stream.average_rate or 25), (stream.start_time or 0) * base


def pyav(path: str, numbers: Sequence[int]) -> Pictures:
    """Seek to the window, decode it, know frames by their time (the nearest, where none has just that), swscale to
    small RGB.
    """
    rate, start = timing(path)
    wanted, convert, found = set(numbers), VideoReformatter(), {}
    with open_container(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count, stream.codec_context.thread_type = 1, "NONE"
        base = float(stream.time_base or 1)
        if numbers[0] > 0:
            container.seek(int((start + numbers[0] / rate) / base), stream=stream)
        for frame in container.decode(stream):
            number = round(((frame.pts or 0) * base - start) * rate)
            if number in wanted:
                small = convert.reformat(frame, WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
                found[number] = small.to_ndarray()
            if number >= numbers[-1]:
                break
    return np.stack(
        [found[number] if number in found else found[min(found, key=lambda n: abs(n - number))] for number in numbers]
    )


def opencv(path: str, numbers: Sequence[int]) -> Pictures:
    """Set the frame number, grab every frame, retrieve and resize those that are wanted."""
    import cv2

    options = [cv2.CAP_PROP_N_THREADS, 1]
    cv2.setNumThreads(1)
    reader = cv2.VideoCapture(path, cv2.CAP_FFMPEG, options)
    wanted, out = set(numbers), []
    if numbers[0] > 0:
        reader.set(cv2.CAP_PROP_POS_FRAMES, numbers[0])
    for number in range(numbers[0], numbers[-1] + 1):
        if not reader.grab():
            break
        if number in wanted:
            _, picture = reader.retrieve()
            out.append(cv2.cvtColor(cv2.resize(picture, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB))
    reader.release()
    return np.stack(out)


def torchcodec(path: str, numbers: Sequence[int]) -> Pictures:
    """The approximate seek mode (no scan of the file), FFmpeg resizing on the way."""
    decoders: Any = import_module("torchcodec.decoders")
    transforms: Any = import_module("torchcodec.transforms")
    decoder = decoders.VideoDecoder(
        path,
        seek_mode="approximate",
        num_ffmpeg_threads=1,
        dimension_order="NHWC",
        transforms=[transforms.Resize((HEIGHT, WIDTH))],
    )
    frames: Pictures = decoder.get_frames_at(indices=list(numbers)).data.numpy()
    return frames


def decord(path: str, numbers: Sequence[int]) -> Pictures:
    """Its reader resizes while it decodes."""
    library: Any = import_module("decord")
    frames: Pictures = (
        library.VideoReader(path, width=WIDTH, height=HEIGHT, num_threads=1).get_batch(list(numbers)).asnumpy()
    )
    return frames


def spdl(path: str, numbers: Sequence[int]) -> Pictures:
    """Demux the window by time, decode it with a filter that scales; the window's frames follow each other."""
    io: Any = import_module("spdl.io")
    rate, start = timing(path)
    half = 0.5 / rate
    span = (max(0.0, start + numbers[0] / rate - half), start + numbers[-1] / rate + half)
    packets = io.demux_video(path, timestamp=span)
    chain = io.get_video_filter_desc(
        timestamp=span, scale_width=WIDTH, scale_height=HEIGHT, scale_algo="bilinear", scale_mode=None
    )
    frames: Pictures = io.to_numpy(io.convert_frames(io.decode_packets(packets, filter_desc=chain)))
    shown: Pictures = frames[np.asarray(numbers) - numbers[0]]
    return shown


PEERS: dict[str, tuple[Peer, str]] = {  # name: (function, package)
    "PyAV + torch": (pyav, "av"),
    "OpenCV": (opencv, "opencv-python-headless"),
    "torchcodec": (torchcodec, "torchcodec"),
    "decord": (decord, "decord"),
    "SPDL": (spdl, "spdl-io"),
}


def installed() -> dict[str, str]:
    """Name to version of the peers that are here."""
    found = {}
    for name, (_, package) in PEERS.items():
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def every(path: Path) -> Pictures:
    """All frames of a sequential decode, resized: what a peer's frames are compared with."""
    convert, out = VideoReformatter(), []
    with open_container(str(path)) as container:
        for frame in container.decode(video=0):
            small = convert.reformat(frame, WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
            out.append(small.to_ndarray())
    return np.stack(out)
