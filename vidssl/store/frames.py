"""FrameStore: the frames of videos, decoded once and kept at one size.

With a store of size S, everything after decoding sees a video of size S: the frames of the file, reduced to S. Whether
a frame was kept or has just been decoded makes no difference to its bits. (long because it is the one class of a store
that users hold; what it does is in the other files of this folder)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from threading import Lock
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidssl.checks import is_real
from vidssl.index.row import FRAMES
from vidssl.index.table import VideoIndex
from vidssl.kernels.motion import Motion
from vidssl.kernels.reduce import reduce
from vidssl.pools.base import Engine
from vidssl.store.arguments import (
    check_added,
    check_frames,
    check_index,
    check_key,
    check_pixels,
    check_stopped,
    check_store,
    check_video,
    check_whole,
    folder_of,
)
from vidssl.store.backend import Backend
from vidssl.store.choose import Name
from vidssl.store.file import FileBackend
from vidssl.store.fill import Keeper
from vidssl.store.fill_index import fill
from vidssl.store.memory import MemoryBackend
from vidssl.store.scores import Scores
from vidssl.store.shard import BLOCK, ENDING, SCORES, VERSION, Shard, shard_paths
from vidssl.store.writer import Claim, StoreWriter
from vidssl.types import ColorSpace, Frames, VidsslError, planar_shape
from vidssl.video.decode import Video, decode
from vidssl.video.pictures import IMAGE2

Size = tuple[int, int] | Literal["native"]
_SIZE = re.compile("([1-9][0-9]{0,7})x([1-9][0-9]{0,7})")  # without leading zeros: a size has one text
_ROWS = 2**14  # rows of an index whose keys are made at once


def _name(file: Path, container: str) -> str:
    """The name that identifies a video. The first pictures of many folders have one name: theirs has the folder's."""
    return f"{file.parent.name}/{file.name}" if container == IMAGE2 else file.name


def _items(lists: pa.ChunkedArray, places: npt.NDArray[np.int64]) -> list[int]:
    """The item at a place in each list of numbers; 0 where a list has none."""
    found, row = list[int](), 0
    for chunk in lists.chunks:
        begins, ends = chunk.offsets.to_numpy()[:-1], chunk.offsets.to_numpy()[1:]
        at = places[row : row + len(chunk)]
        known = (at >= 0) & (begins + at < ends)
        items = np.zeros(len(chunk), np.int64)
        items[known] = chunk.values.to_numpy()[(begins + at)[known]]
        found += items.tolist()
        row += len(chunk)
    return found


def parse_size(text: str) -> Size:
    """Returns the size that a text states: "native", or HEIGHTxWIDTH such as 128x171.

    Raises:
        VidsslError: The text states no size.
    """
    if text == "native":
        return "native"
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise VidsslError(
            f"store_size={text!r}: take native, or HEIGHTxWIDTH in pixels, without leading zeros, such as 128x171"
        )
    return int(found[1]), int(found[2])


class FrameStore:
    """Frames of videos at one size, in a folder.

    Any number of processes may use one folder at a time. Each writes its own shards, which are never changed.

    Args:
        folder: Folder of the store. None keeps nothing; the bits of all frames are the same.
        size: (height, width) of the kept frames in pixels; the aspect ratio of a video is not kept. "native" keeps
            frames as they were decoded.
        limit: Most bytes that the folder may hold. What does not fit is decoded each time; 0 only reads what is kept,
            in a folder that exists. None: no limit.
        backend: Where kept frames lie while they are used. "file": in the folder, mapped into memory. "memory": in the
            folder too, but all are read at once, and locked in memory; the processes of a machine share one copy.
            "device": in the memory of a loader's device, as far as they fit into half of what is available there.
            "auto": a loader takes the last of these that holds all frames of its videos ("device" only on a GPU), and
            logs the reason. The bits are the same.

    Attributes:
        stats: Counts since the start. hits, misses: windows that were read or decoded, also those that a loader fetched
            and did not show. shown: windows that were shown. stored: those of them that were read. kept: frames that
            were written. damaged: blocks that were dropped because their bytes changed.

    Raises:
        VidsslError: An argument is out of range or of another type, or the folder cannot be used. All methods raise it
            for arguments of another type.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        size: Size = "native",
        limit: int | None = None,
        backend: Name = "auto",
    ) -> None:
        self.folder = None if folder is None else folder_of(folder)
        check_store(size, limit, backend, keeps=folder is not None)
        limit = None if limit is None else int(limit)
        self.backend: Name = backend
        self.size: Size = size if size == "native" else (int(size[0]), int(size[1]))
        self.limit, self.stats = limit, Counter[str]()
        self._counting = Lock()
        self._file = FileBackend(self.folder, self.stats)
        self._held: MemoryBackend | None = None
        self._writer: StoreWriter | None = None
        self._scores: Scores | None = None
        self._keys: WeakKeyDictionary[Video, bytes] = WeakKeyDictionary()
        self._spaces: WeakKeyDictionary[Video, ColorSpace] = WeakKeyDictionary()
        if self.folder is not None:
            self._scores = Scores(self.folder, self.size_text, limit, used=self._used, stats=self.stats)
            try:
                if self.keeps:
                    self.folder.mkdir(parents=True, exist_ok=True)
                self._open_new()
            except OSError as error:
                fix = "name a folder" if self.keeps else "it is only read (limit 0), so name the folder of a store"
                raise VidsslError(
                    f"FrameStore: folder={str(self.folder)!r}: {error.strerror or error}; {fix}"
                ) from error
            self._writer = StoreWriter(
                self.folder,
                self.size_text,
                limit,
                shard_bytes=self._used,
                completed=self.refresh,
                stats=self.stats,
            )
        if backend == "memory" and (refusal := self.hold_in_memory()):
            raise VidsslError(
                f'FrameStore: backend="memory": {refusal}; take backend="file", which reads what is needed from the '
                "same shards, or make more memory available"
            )

    @property
    def _backend(self) -> Backend:
        return self._held or self._file

    def hold_in_memory(self, need: int | None = None, part: float = 1.0) -> str:
        """Locks what is kept, now and later, in memory.

        Args:
            need: Bytes of all frames that may be kept. None: those that are kept now.
            part: Fraction of the available memory that they may take.

        Returns:
            Why this is not possible; "" if it was done.
        """
        if need is not None:
            check_whole("FrameStore.hold_in_memory", "need", need, "take a number of bytes, or None")
        if not is_real(part, 0, 1):
            raise VidsslError(f"FrameStore.hold_in_memory: part={part!r}: take a fraction in 0..1")
        if self._held is None:
            held = MemoryBackend(self._file, self.size_text)
            if refusal := held.refusal(need, part):
                return refusal
            self._held = held
            self.refresh()
        return ""

    def __repr__(self) -> str:
        where = "nothing is kept" if self.folder is None else repr(str(self.folder))
        return f"FrameStore({where}, size={self.size_text})"

    @property
    def size_text(self) -> str:
        """The size as a recipe and the command line state it: "native" or "HxW"."""
        return self.size if self.size == "native" else f"{self.size[0]}x{self.size[1]}"

    @property
    def keeps(self) -> bool:
        """Whether frames that it lacks may be added to it."""
        return self.folder is not None and self.limit != 0

    def size_of(self, video: Video) -> tuple[int, int]:
        """(height, width) in pixels of the frames of a video, as the store shows them."""
        check_video("size_of", video)
        return video.size if self.size == "native" else self.size

    def sizes_of(self, index: VideoIndex) -> dict[tuple[int, int], int]:
        """Number of usable frames of an index at each size, (height, width) in pixels, that this store gives them."""
        check_index("sizes_of", index)
        rows = index.usable()
        frames = np.asarray(index.column("frames").to_numpy())[rows]
        if self.size != "native":
            return {self.size: int(frames.sum())}
        sides = np.stack([np.asarray(index.column(name).to_numpy())[rows] for name in ("height", "width")], axis=1)
        sizes, place = np.unique(sides, axis=0, return_inverse=True)
        counts = np.bincount(place.ravel(), weights=frames, minlength=len(sizes))
        return {(int(h), int(w)): int(count) for (h, w), count in zip(sizes, counts, strict=True)}

    def bytes_of(self, index: VideoIndex) -> int:
        """Bytes of all usable frames of an index at the size of this store."""
        check_index("bytes_of", index)
        return sum(prod(planar_shape(frames, size)) for size, frames in self.sizes_of(index).items())

    def frame_bytes(self, index: VideoIndex) -> npt.NDArray[np.int64]:
        """int64 [N]: bytes of a frame of each usable row of an index."""
        check_index("frame_bytes", index)
        rows = index.usable()
        if self.size != "native":
            _, lines, cols = planar_shape(1, self.size)
            return np.full(len(rows), lines * cols, np.int64)
        height, width = (
            np.asarray(index.column(name).to_numpy())[rows].astype(np.int64) for name in ("height", "width")
        )
        return (height + height % 2) * (width + width % 2) * 3 // 2

    def missing_of(self, index: VideoIndex) -> npt.NDArray[np.int64]:
        """int64 [N]: number of frames of each usable row of an index that are not kept. No file is opened."""
        check_index("missing_of", index)
        rows = index.usable()
        missing = np.zeros(len(rows), np.int64)
        for begin in range(0, len(rows), _ROWS):
            some = index.select(rows[begin : begin + _ROWS])
            for at, (key, frames) in enumerate(zip(self.keys(some), some.column("frames").to_pylist(), strict=True)):
                missing[begin + at] = sum(map(len, self._backend.missing(key, frames)))
        return missing

    def refresh(self) -> None:
        """Opens the shards that other processes completed since the last call.

        If the folder is gone, a warning says so once, and nothing more is kept.
        """
        try:
            self._open_new()
        except OSError as error:
            self.stop_keeping(error)

    def _open_new(self) -> None:
        self._backend.refresh()
        if self._scores is not None:
            self._scores.refresh()

    def _used(self) -> int:
        """Bytes of all shards."""
        return self._backend.shard_bytes + (0 if self._scores is None else self._scores.shard_bytes)

    def key(self, video: Video) -> bytes:
        """16 bytes that identify a video and the size of its frames; they change when its file changes.

        Files of one name in two folders may have the same size and time, so the bytes of the first packet count too.
        """
        check_video("key", video)
        key = self._keys.get(video)
        if key is None:
            packets = video.packet if video.around is None else video.around.packet
            first, known = int(packets[0]), video.checksums
            at = first - known.first if known is not None else -1
            checksum = int(known.packet[at]) if known is not None and 0 <= at < len(known.packet) else 0
            key = self._keys[video] = self._key_of(video, first, checksum)
        return key

    def _key_of(self, video: Video, first_packet: int, checksum: int) -> bytes:
        offset = video.member.offset if video.member is not None else 0
        name, about = _name(video.path, video.container), (video.stored_size, video.pixel_format)
        part = () if video.around is None else (video.around.lead, video.frames)
        return self._key(name, offset, video.bytes, video.mtime_ns, video.stream, first_packet, checksum, *about, *part)

    def keys(self, index: VideoIndex) -> Iterator[bytes]:
        """Yields what `key` returns for each row of an index, all of which are usable. Much faster than one by one."""
        check_index("keys", index)
        return self._keys_of(index)

    def _keys_of(self, index: VideoIndex) -> Iterator[bytes]:
        names = ("archive", "path", "offset", "bytes", "mtime_ns", "stream", "coded_height", "coded_width")
        columns = [
            index.column(name).to_pylist() for name in (*names, "pixel_format", "container", "excerpt", "frames")
        ]
        packets = pc.list_slice(index.column("packet"), 0, 1).to_pylist()  # null: frame 0 is in packet 0
        firsts = [packet[0] if packet else 0 for packet in packets]
        *_, excerpts, _ = columns
        before = [0 if excerpt is None else excerpt["checked"] for excerpt in excerpts]
        checksums = _items(index.column("checksums"), np.subtract(firsts, before, dtype=np.int64))
        for *row, first, checksum in zip(*columns, firsts, checksums, strict=True):
            archive, path, offset, count, mtime, stream, height, width, pixels, container, excerpt, frames = row
            folder, _, name = (archive or path).rpartition("/")  # paths of pathlib take a third of the time of all this
            name = f"{folder.rpartition('/')[2]}/{name}" if container == IMAGE2 else name
            part = () if excerpt is None else (excerpt["lead"], frames)
            yield self._key(name, offset or 0, count, mtime, stream, first, checksum, (height, width), pixels, *part)

    def _key(self, *about: object) -> bytes:
        return hashlib.blake2b(repr((VERSION, self.size_text, *about)).encode(), digest_size=16).digest()

    def keeper(self, video: Video, first_packet: int, checksum: int) -> Keeper | None:
        """Returns what keeps the frames of a video while it is indexed, and handed over one by one.

        Args:
            video: The video, which does not have its packets yet.
            first_packet: Number of the packet of frame 0.
            checksum: CRC-32 of this packet, as in `Checksums`.

        Returns:
            None if its frames are kept already, or by another process now, or if nothing more is kept.
        """
        check_video("keeper", video)
        check_whole("FrameStore.keeper", "first_packet", first_packet, "take the number of a packet")
        check_whole("FrameStore.keeper", "checksum", checksum, "take the CRC-32 of a packet")
        key = self._key_of(video, first_packet, checksum)
        claim = self.claim(key)
        if claim is None:
            return None
        self.refresh()
        first = self._backend.missing(key, FRAMES)[0].start  # how many there are is known only at the end
        if first % BLOCK:  # only the last block of a video is shorter
            return None
        return Keeper(self, video, key, first, skip=first, claim=claim)

    def space_of(self, video: Video) -> ColorSpace:
        """Colour space of the frames of a video, as the store shows them."""
        check_video("space_of", video)
        if self.size == "native":
            return video.space
        space = self._spaces.get(video)
        if space is None:
            space = self._spaces[video] = replace(video.space, chroma=(0.5, 0.5))
        return space

    def missing(self, video: Video) -> list[range]:
        """The ranges of frames of a video that are not kept."""
        check_video("missing", video)
        return self._backend.missing(self.key(video), video.frames)

    def read(self, video: Video, first: int, count: int) -> Frames | None:
        """Returns frames first, first + 1, ... of a video without decoding them.

        Args:
            video: The video.
            first: Number of the first frame.
            count: Number of frames.

        Returns:
            Frames, read-only and without a copy if they lie behind each other. None if not all of them are kept.
        """
        check_frames("read", video, first, count)
        size = self.size_of(video)
        data = self._backend.read(self.key(video), first, planar_shape(count, size))
        self.stats["misses" if data is None else "hits"] += 1
        if data is None:
            return None
        return Frames(data=data, number=np.arange(first, first + count), size=size, space=self.space_of(video))

    def motion(self, video: Video, first: int, count: int) -> Motion | None:
        """Returns the motion of frames first, first + 1, ... of a video; None if it is not kept. See `read`."""
        check_frames("motion", video, first, count)
        return None if self._scores is None else self._scores.read(self.key(video), first, count, self.size_of(video))

    def keep_motion(self, video: Video, stopped: Callable[[], bool] = bool) -> None:
        """Keeps the motion of a video, as far as its frames are kept. stopped: ends the work if it returns True."""
        check_video("keep_motion", video)
        check_stopped("keep_motion", stopped)
        if self._scores is None:
            return
        key, size, space = self.key(video), self.size_of(video), self.space_of(video)

        def read(first: int, count: int) -> Frames | None:
            data = self._backend.read(key, first, planar_shape(count, size))
            number = np.arange(first, first + count)
            return None if data is None else Frames(data=data, number=number, size=size, space=space)

        self._scores.keep(key, video.frames, read, stopped)

    def copy_to(self, video: Video, first: int, out: npt.NDArray[np.uint8]) -> bool:
        """Copies frames first, first + 1, ... of a video to `out`, uint8 [F, 3 * rows / 2, cols].

        Returns:
            False if not all of them are kept.
        """
        check_video("copy_to", video)
        sides = planar_shape(1, self.size_of(video))[1:]
        check_pixels("copy_to", "out", out, f"F, {sides[0]}, {sides[1]}", sides)
        count, lines, cols = out.shape
        check_frames("copy_to", video, first, count)
        data = self._backend.read(self.key(video), first, (count, lines, cols))
        if data is not None:
            out[:] = data
        return data is not None

    def decode(self, video: Video, numbers: npt.NDArray[np.int64]) -> Frames:
        """Decodes frames on the CPU, and reduces them to the size of the store. Arguments and errors: see `decode`."""
        check_video("decode", video)
        numbers = np.asarray(numbers)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise VidsslError(f"FrameStore.decode: numbers={numbers!r}: take whole numbers of frames, int64 [F]")
        frames = decode(video, numbers)
        return frames if self.size == "native" else reduce(frames, self.size)

    def add(self, key: bytes, first: int, data: npt.NDArray[np.uint8]) -> bool:
        """Keeps frames of a video.

        Args:
            key: Of the video.
            first: Number of the first frame, a multiple of BLOCK.
            data: uint8 [F, 3 * rows / 2, cols], contiguous, as `decode` returns them.

        Returns:
            False if they do not fit into the limit or on the disk: then nothing more is kept.
        """
        check_added(key, first, data, None if self.size == "native" else planar_shape(1, self.size)[1:])
        return self._writer is not None and self._writer.add(key, first, data)

    def claim(self, key: bytes) -> Claim | None:
        """Claims a video, so that no other thread or process keeps it too. Returns None if it is claimed, or if `full`.

        The claim ends at its end as a context manager, or with the process.
        """
        check_key("claim", key)
        return None if self._writer is None else self._writer.claim(key)

    @property
    def full(self) -> bool:
        """True if nothing more is kept: there is no room, or the folder cannot be written."""
        return self._writer is None or self._writer.full

    @property
    def failure(self) -> str:
        """Why frames that were to be kept are not: the folder cannot be written, or its disk is full; "" otherwise."""
        return "" if self._writer is None else self._writer.failure

    def flush(self) -> None:
        """Completes the shards in progress, so that they can be read."""
        for part in (self._writer, self._scores):
            if part is not None:
                part.flush()

    def stop_keeping(self, error: OSError) -> None:
        """Keeps nothing more, as the folder cannot be used. Only the first call warns."""
        if self._writer is not None:
            self._writer.fail(error)

    def count_shown(self, windows: int, stored: int) -> None:
        """Adds to `stats` windows that were shown, and those of them that were read from the store."""
        for name, value in (("windows", windows), ("stored", stored)):
            check_whole("FrameStore.count_shown", name, value, "take a number of windows")
        with self._counting:
            self.stats["shown"] += windows
            self.stats["stored"] += stored

    def fill(
        self,
        index: VideoIndex,
        *,
        workers: int | None = None,
        progress: bool = True,
        file_timeout: float | None = None,
        engine: Engine = "local",
    ) -> list[tuple[str, str]]:
        """Decodes and keeps all frames of an index that are missing. If it is interrupted, the next call goes on.

        Args:
            index: The videos.
            workers: Number of threads. None takes one per processor.
            progress: Show a progress bar.
            file_timeout: Time limit of a file in seconds, as in `VideoIndex.build`.
            engine: Where the videos are decoded, as in `VideoIndex.build`.

        Returns:
            (path, reason) for each video that cannot be decoded.

        Raises:
            VidsslError: An argument is out of range, or no video can be used.
        """
        check_index("fill", index)
        if workers is not None:
            check_whole("FrameStore.fill", "workers", workers, "take at least 1, or None for one per processor", 1)
        if self._writer is not None:
            self._writer.tidy()
        return fill(self, index, workers=workers, progress=progress, file_timeout=file_timeout, engine=engine)

    def verify(self) -> list[tuple[Path, str]]:
        """Reads all blocks. Returns (file, problem) for each damaged shard."""
        return [] if self.folder is None else self.verify_folder(self.folder)

    @classmethod
    def verify_folder(cls, folder: Path) -> list[tuple[Path, str]]:
        """Reads all blocks of all sizes in a folder. Returns (file, problem) for each damaged shard."""
        shards, wrong = cls.shards(folder_of(folder))
        for shard in shards:
            try:
                for row in range(len(shard)):
                    shard.check(row)
            except VidsslError as error:
                wrong.append((shard.path, str(error)))
        return sorted(wrong)

    @classmethod
    def shards(cls, folder: Path) -> tuple[list[Shard], list[tuple[Path, str]]]:
        """Opens the shards in a folder. Returns them, and (file, problem) for each that cannot be opened."""
        good: list[Shard] = []
        wrong: list[tuple[Path, str]] = []
        for path in cls.paths(folder):
            try:
                good.append(Shard(path))
            except (VidsslError, OSError) as error:
                wrong.append((path, str(error)))
        return good, wrong

    @staticmethod
    def paths(folder: Path) -> list[Path]:
        """Returns the files of the shards in a folder, of frames and of motion. Raises OSError if it cannot be read."""
        return shard_paths(folder_of(folder), (ENDING, SCORES))

    def free_bytes(self) -> int:
        """Bytes that may still be written: what the limit leaves, and what the disk has."""
        return 0 if self._writer is None else self._writer.free_bytes()
