"""Frame stores that people could have today: frames of 128 x 171, kept once, read and made into VCOP tuples by torch.

Each holds the same pictures, RGB as good as 8 bits allow. `Read` takes the number of a video and the first frames of
three clips, and returns uint8 [16, 128, 171, 3] of each; views where a format can. What a tuple costs after that is the
same for all: crop, permute, convert and normalise in torch (`finish`, of five forms the fastest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from benchmarks import workloads

Pictures = npt.NDArray[np.uint8]
Read = Callable[[int, Sequence[int]], Sequence[Pictures]]
LENGTH, CROP = 16, 112  # frames of a clip, and side of its crop
_MEAN, _STD = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (workloads.MEAN, workloads.STD))


class FrameFormat(NamedTuple):
    """write takes a folder, the frames of a video and the number of videos; open the folder and frames a video."""

    write: Callable[[Path, Pictures, int], None]
    open: Callable[[Path, int], Read]
    packages: tuple[str, ...] = ()


class Cut(NamedTuple):
    """One tuple: a video, where its three clips begin, in the order in which they are shown, and a corner of each."""

    video: int
    starts: tuple[int, ...]
    corners: tuple[tuple[int, int], ...]  # (y, x)


def cut(video: int, sample: int, first: int) -> Cut:
    """What a user's own code would draw: an order of three clips, and a random crop for each."""
    random = np.random.default_rng([sample, first])
    starts = tuple(int(first + start) for start in random.permutation([0, 24, 48]))
    corners = tuple((int(random.integers(128 - CROP + 1)), int(random.integers(171 - CROP + 1))) for _ in starts)
    return Cut(video, starts, corners)


def finish(clips: Sequence[Pictures], corners: Sequence[tuple[int, int]], out: torch.Tensor) -> torch.Tensor:
    """Crops, permutes and normalises three clips into `out`, float32 [3, 3, 16, 112, 112]."""
    for slot, (pictures, (y, x)) in enumerate(zip(clips, corners, strict=True)):
        shown = torch.from_numpy(pictures[:, y : y + CROP, x : x + CROP])
        out[slot].copy_(shown.permute(3, 0, 1, 2).contiguous())
    return out.mul_(1 / (255 * _STD)).sub_(_MEAN / _STD)


def _lance(encode: Callable[[Pictures], bytes], folder: Path, pictures: Pictures, videos: int) -> None:
    """A row a frame, as stable-pretraining's `build_lance_video_dataset` writes them.

    Decoders ignore the number at the end of a picture; without it Lance would keep equal pictures once.
    """
    import lance

    schema = pa.schema([("video_id", pa.int32()), ("frame_idx", pa.int32()), ("bytes", pa.binary())])
    encoded = [encode(np.ascontiguousarray(picture)) for picture in pictures]
    number = pa.array(np.arange(len(encoded), dtype=np.int32))

    def batches() -> Iterator[pa.RecordBatch]:
        for video in range(videos):
            rows = pa.array([one + video.to_bytes(4, "little") for one in encoded], pa.binary())
            yield pa.record_batch([pa.array([video] * len(encoded), pa.int32()), number, rows], schema=schema)

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches()), str(folder / "frames.lance"))


def _open_lance(decode: Callable[[Any], Pictures], folder: Path, frames: int) -> Read:
    import lance

    data = lance.dataset(str(folder / "frames.lance"))

    def read(video: int, starts: Sequence[int]) -> Sequence[Pictures]:
        rows = [video * frames + start + at for start in starts for at in range(LENGTH)]
        found = data.take(rows, columns=["bytes"])["bytes"].combine_chunks()
        shown = [decode(found[at].as_buffer()) for at in range(len(rows))]
        return [np.stack(shown[at : at + LENGTH]) for at in range(0, len(rows), LENGTH)]

    return read


def _webp(quality: int, picture: Pictures) -> bytes:
    import cv2

    _, found = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    return found.tobytes()


def _from_webp(data: Any) -> Pictures:
    import cv2

    cv2.setNumThreads(1)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def _jpeg(picture: Pictures) -> bytes:
    import simplejpeg

    return bytes(simplejpeg.encode_jpeg(picture, 95, "RGB", "420"))


def _from_jpeg(data: Any) -> Pictures:
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(memoryview(data).cast("B"), fastdct=True, fastupsample=True), np.uint8)


def _hdf5(folder: Path, pictures: Pictures, videos: int) -> None:
    import h5py

    with h5py.File(folder / "frames.h5", "w") as file:
        data = file.create_dataset("frames", (videos, *pictures.shape), "u1")
        for video in range(videos):
            data[video] = pictures


def _open_hdf5(folder: Path, frames: int) -> Read:
    import h5py

    data = h5py.File(folder / "frames.h5", "r")["frames"]
    return lambda video, starts: [data[video, start : start + LENGTH] for start in starts]


def _lmdb(folder: Path, pictures: Pictures, videos: int) -> None:
    import lmdb

    with lmdb.open(str(folder / "frames.lmdb"), map_size=2**40) as data:
        for video in range(videos):
            with data.begin(write=True) as writer:
                for number, picture in enumerate(pictures):
                    writer.put(b"%d/%d" % (video, number), picture.tobytes())


def _open_lmdb(folder: Path, frames: int) -> Read:
    import lmdb

    data = lmdb.open(str(folder / "frames.lmdb"), readonly=True, lock=False)

    def read(video: int, starts: Sequence[int]) -> Sequence[Pictures]:
        with data.begin(buffers=True) as reader:  # what it returns does not outlive it, so it is copied once
            keys = [[b"%d/%d" % (video, start + at) for at in range(LENGTH)] for start in starts]
            return [
                np.stack([np.frombuffer(reader.get(key), np.uint8) for key in clip]).reshape(LENGTH, 128, 171, 3)
                for clip in keys
            ]

    return read


def _memory_map(folder: Path, pictures: Pictures, videos: int) -> None:
    with (folder / "frames.bin").open("wb") as file:
        for _ in range(videos):
            pictures.tofile(file)


def _open_memory_map(folder: Path, frames: int) -> Read:
    data = np.memmap(folder / "frames.bin", np.uint8, "c").reshape(-1, frames, 128, 171, 3)
    return lambda video, starts: [data[video, start : start + LENGTH] for start in starts]


FORMATS: dict[str, FrameFormat] = {
    "WebP (65) rows in Lance": FrameFormat(
        partial(_lance, partial(_webp, 65)), partial(_open_lance, _from_webp), ("pylance", "opencv-python-headless")
    ),
    "JPEG (95) rows in Lance": FrameFormat(
        partial(_lance, _jpeg), partial(_open_lance, _from_jpeg), ("pylance", "simplejpeg")
    ),
    "RGB in HDF5": FrameFormat(_hdf5, _open_hdf5, ("h5py",)),
    "RGB in LMDB": FrameFormat(_lmdb, _open_lmdb, ("lmdb",)),
    "RGB in a memory map": FrameFormat(_memory_map, _open_memory_map),
}


def missing(name: str) -> list[str]:
    """The packages of a format that are not installed."""
    found = []
    for package in FORMATS[name].packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            found.append(package)
    return found


@lru_cache(maxsize=16)  # opened once in each process
def opened(name: str, folder: Path, frames: int) -> Read:
    return FORMATS[name].open(folder, frames)
