"""Damaged shards of a FrameStore: a frame that is read is that of a sequential decode, reduced; any other is not given,
and is kept again by the next `fill`.

More of them: python -m tests.fuzz.harness tests.fuzz.test_store:store 0 2000
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tests.clips import make_clip
from tests.fuzz.harness import empty, faults
from tests.fuzz.mutate import mutate
from vidssl import FrameStore, VideoIndex, ops
from vidssl.index.checksums import write_checksummed
from vidssl.store.shard import ENDING, SCHEMA
from vidssl.types import Frames
from vidssl.video.decode import Planes, Video

SIZE = (24, 31)
# Values that no shard may hold. A number stands in the place of one that was there; bytes are cut off or appended.
FORGED: dict[str, tuple[Any, ...]] = {
    "key": (None,),
    "first": (None, 1, 17, -1, -16, 2**31 - 1),
    "frames": (None, 0, -1, -16, 1, 15, 17, 32, 2**31 - 1),
    "data": (None, b"", b"\0", slice(0, -1), slice(0, 24 * 32), slice(24 * 32 * 3 // 2, None)),
}
FOREIGN = ("empty", "text", "arrow", "index", "columns", "no rows", "folder", "pipe", "link")
KINDS = ("bytes", "bytes", "cut", "zeros", "swap", "in place", "foreign", "forged", "forged")


def decoded(video: Video) -> npt.NDArray[np.uint8]:
    """All frames of a sequential decode, reduced."""
    planes = Planes(video, video.frames)
    with av.open(str(video.path)) as container:
        for slot, frame in enumerate(container.decode(video=0)):
            planes.store(slot, frame)
    number = np.arange(video.frames)
    return ops.reduce(Frames(data=planes.data, number=number, size=video.size, space=video.space), SIZE).data


def damaged(whole: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """The bytes of a shard with missing, zeroed or swapped parts. Parts begin where pages of a disk do, or anywhere."""
    out, page = bytearray(whole), int(rng.choice([1, 64, 512, 4096]))
    length = min(int(2 ** rng.uniform(4, 15)), len(out) // 2)
    first, second = (int(rng.integers(len(out) - length)) // page * page for _ in range(2))
    if kind == "cut":
        return bytes(out[: int(rng.integers(len(out)))])
    if kind == "zeros":
        out[first : first + length] = bytes(length)
    elif kind == "swap":
        parts = out[first : first + length], out[second : second + length]
        out[second : second + length], out[first : first + length] = parts
    else:
        return mutate(whole, int(rng.integers(2**31)))
    return bytes(out)


def forge(path: Path, table: pa.Table, rng: np.random.Generator) -> None:
    """Writes a shard with one wrong value, and with right checksums."""
    column, row = str(rng.choice(list(FORGED))), int(rng.integers(len(table)))
    values = table[column].to_pylist()
    value = FORGED[column][int(rng.integers(len(FORGED[column])))]
    if isinstance(value, slice):
        value = values[row][value]
    elif value == b"\0":
        value = values[row] + value
    elif value == values[row]:
        value = 3 * value + 1
    values[row] = value
    place = table.schema.get_field_index(column)
    write_checksummed(
        path, table.set_column(place, SCHEMA.field(column), pa.array(values, SCHEMA.field(column).type)), 4
    )


def put_foreign(path: Path, what: str, index: VideoIndex) -> None:
    """Something that is no shard, in the place of one."""
    other = pa.table({"key": [1]})
    if what == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, other.schema) as writer:
            writer.write_table(other)
    elif what == "index":
        index.save(path.with_name("index.arrow"))
        path.with_name("index.arrow").rename(path)
    elif what == "columns":
        write_checksummed(path, other, 4)
    elif what == "no rows":
        write_checksummed(path, SCHEMA.empty_table(), 4)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"" if what == "empty" else b"no shard\n")


def store(folder: Path) -> Callable[[int], str]:
    """Every third input has a whole shard beside the damaged one; then all frames must be given."""
    root, kept = folder / "videos", folder / "kept"
    root.mkdir()
    make_clip(root / "a.mp4", frames=37, gop=12)
    make_clip(root / "b.avi", "mpeg4", frames=16, size=(33, 47))
    index = VideoIndex.build(root, workers=1, progress=False)
    videos = [index.video(row) for row in range(len(index))]
    FrameStore(kept, SIZE).fill(index, workers=1, progress=False)
    [shard] = kept.iterdir()
    whole, right = shard.read_bytes(), [decoded(video) for video in videos]
    table = pa.ipc.open_file(pa.py_buffer(whole)).read_all().replace_schema_metadata(None)

    def wrong(opened: FrameStore, rng: np.random.Generator, *, all_kept: bool) -> str:
        """What is wrong with the frames that a store gives."""
        for video, frames in zip(videos, right, strict=True):
            windows = [(0, video.frames), (video.frames - 1, 1)]
            first = int(rng.integers(video.frames))
            windows.insert(int(rng.integers(3)), (first, int(rng.integers(1, video.frames - first + 1))))
            for first, count in windows:
                found = opened.read(video, first, count)
                if found is None:
                    if all_kept:
                        return f"frames {first} to {first + count - 1} of {video.path.name} are kept, but not given"
                elif not np.array_equal(found.data, frames[first : first + count]):
                    return f"{count} frames of {video.path.name} from {first} are not those of a sequential decode"
        return ""

    def run(seed: int) -> str:
        rng = np.random.default_rng(seed)
        kind, given, beside = KINDS[seed % len(KINDS)], folder / "input", bool(rng.integers(3) == 0)
        empty(given)
        path = given / f"0{ENDING}"
        if kind == "foreign":
            put_foreign(path, FOREIGN[seed // len(KINDS) % len(FOREIGN)], index)
        elif kind == "forged":
            forge(path, table, rng)
        else:
            path.write_bytes(whole if kind == "in place" else damaged(whole, kind, rng))
        if beside:
            (given / f"1{ENDING}").write_bytes(whole)
        opened = FrameStore(given, SIZE)
        if kind == "in place":
            at = int(rng.integers(len(whole)))
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([whole[at] ^ 255]))
        said = wrong(opened, rng, all_kept=beside)
        opened.verify()
        for again in (False, True):  # a block whose damage the first `fill` uncovers is kept by the second
            failed = opened.fill(index, workers=1, progress=False)
            said = said or str(failed or "") or wrong(opened, rng, all_kept=beside or again)
        return said

    return run


def test_frames_of_damaged_shards_are_right_or_not_given(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_store:store", range(180), tmp_path) == []
