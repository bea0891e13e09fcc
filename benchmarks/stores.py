"""What the benchmarks of the store share: many videos from one clip, a filled store, one core, and the page cache."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.bench_loader import WARMUP, Windows
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.store.frames import Size
from vidssl.types import Frames, VidsslError
from vidssl.video.decode import decode

SMALL = (128, 171)
_FAST = 12  # a loader that decodes nothing takes so many times the batches of one that does


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the pieces share.

    Attributes:
        folder: For links and stores; each piece empties it.
        out, repeats, batches, batch_size, device, resume: As of `bench_store.main`.
        mebibytes: Of a filled store, at least: more than the processor's caches hold.
    """

    folder: Path
    out: Path | None
    repeats: int
    batches: int
    batch_size: int
    mebibytes: int
    device: Literal["cpu", "cuda"]
    resume: bool

    def windows(self, loader: Loader, *, fast: bool) -> Windows:
        batches = self.batches * (_FAST if fast else 1)
        return Windows(loader.index, loader.sampler, self.batch_size, batches, 1)

    def long(self, index: VideoIndex, frames: int) -> VideoIndex:
        """The rows that have so many frames, repeated until an epoch has all batches of a round."""
        rows = index.usable(frames)
        tuples = (WARMUP + _FAST * self.batches) * self.batch_size
        return index.select(np.tile(rows, -(-tuples // len(rows))))

    def filled(self, paths: Sequence[Path], size: Size, name: str, least: int = 2) -> tuple[FrameStore, VideoIndex]:
        """A full store of the files, at least `least` times each, and the index of what it holds."""
        index = linked(paths, 1, self.folder / f"{name}-one")
        copies = max(least, -(-self.mebibytes * 2**20 // FrameStore(None, size).bytes_of(index)))
        files, index = len(index), linked(paths, copies, self.folder / f"{name}-videos")
        store = FrameStore(self.folder / f"{name}-store", size, backend="file")
        fill_linked(store, index, files)
        return store, index

    def clean(self) -> None:
        """Deletes what a piece wrote."""
        for path in self.folder.iterdir():
            shutil.rmtree(path)


def about(store: FrameStore, index: VideoIndex) -> dict[str, Any]:
    """What is kept, and what that costs; means over the videos of `linked`."""
    usable = index.usable()
    frames, file = (np.asarray(index.column(name).to_numpy())[usable] for name in ("frames", "bytes"))
    rows = index.table.select(["codec", "width", "height"]).to_pylist()
    return {
        "clips": ", ".join(dict.fromkeys(f"{row['codec']} {row['width']}x{row['height']}" for row in rows)),
        "frames a video": round(float(frames.mean()), 1),
        "bytes a frame": round(store.bytes_of(index) / int(frames.sum())),
        "MB a video": round(store.bytes_of(index) / len(usable) / 1e6, 2),
        "MB a video as a file": round(float(file.mean()) / 1e6, 2),
        "store, MB": round(store.bytes_of(index) / 1e6),
    }


def linked(paths: Sequence[Path], copies: int, folder: Path) -> VideoIndex:
    """An index of `copies` links to each file, in the new `folder`: so many videos, of which only one each is decoded.

    Rows: all files, then all files again, and so on. Files that cannot be used are left out, and named.
    """
    folder.mkdir(parents=True)
    for path in paths:
        (folder / f"0000_{path.name}").symlink_to(path.resolve())
    one = VideoIndex.build(folder, progress=False)
    for name, reason in one.skipped():
        print(f"left out: {name}: {reason}")
    table = one.table.take(pa.array(one.usable()))
    if not len(table):
        raise VidsslError(f"--data {' '.join(map(str, paths))}: none of them can be used")
    first = table["path"].to_pylist()
    at = table.schema.get_field_index("path")
    parts = [table]
    for copy in range(1, copies):
        names = [f"{copy:04d}{name[4:]}" for name in first]
        for name, target in zip(names, first, strict=True):
            (folder / name).symlink_to((folder / target).resolve())
        parts.append(table.set_column(at, table.schema.field(at), pa.array(names, pa.string())))
    return VideoIndex(pa.concat_tables(parts).combine_chunks(), one.root)


def fill_linked(store: FrameStore, index: VideoIndex, files: int) -> None:
    """Fills a store with the videos of `linked`: those of the first link are decoded, the others are copies of them."""
    failed = store.fill(index.select(np.arange(files)), progress=False)
    if failed:
        raise VidsslError(f"{failed[0][0]}: {failed[0][1]}")
    for file in range(files):
        first = index.video(file)
        kept = store.read(first, 0, first.frames)
        assert kept is not None
        for row in range(file + files, len(index), files):
            store.add(store.key(index.video(row)), 0, kept.data)
    store.flush()


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Holds this thread, and threads and processes that it starts, on the first `cores` of its processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def floats(frames: Frames) -> npt.NDArray[np.float32]:
    """RGB float32 [F, 128, 171, 3] in 0..255: the whole picture, resized and not rounded, as the loader resizes it."""
    whole = Augment(resize=SMALL, crop=SMALL, std=(1 / 255, 1 / 255, 1 / 255))
    count = len(frames.data)
    spec = PlanSpec(arrangements=np.arange(count)[None, None], labels=np.zeros(1), bases=1, length=count, augment=whole)
    drawn = plan(spec, frames=count, size=frames.size, seed=0, epoch=0, sample=0, train=False)
    shown: npt.NDArray[np.float32] = np.asarray(assemble(frames, drawn, size=SMALL, layout="kthwc"))[0]
    return shown


def truth(index: VideoIndex, count: int) -> npt.NDArray[np.float32]:
    """`floats` of the first frames of the first video, as decoded: what every store is compared with."""
    return floats(decode(index.video(0), np.arange(count)))


def evict(paths: list[Path]) -> None:
    """Asks the kernel to forget files in the page cache. Pages that a process has mapped stay: close it first."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(paths: list[Path]) -> float:
    """Fraction of the files' pages that lie in the page cache. Source: mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    pages = present = 0
    for path in paths:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as area,
        ):
            address = ctypes.addressof(held := ctypes.c_char.from_buffer(area))
            seen = ctypes.create_string_buffer(-(-len(area) // mmap.PAGESIZE))
            if libc.mincore(address, len(area), seen):
                raise OSError(ctypes.get_errno(), "mincore", str(path))
            del held  # so that the mapping can be closed
            pages, present = pages + len(seen) - 1, present + sum(byte & 1 for byte in seen.raw[:-1])
    return present / max(1, pages)
