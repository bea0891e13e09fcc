"""Which container holds frames best: reading neighbouring frames from several, against a bare memory map.

    python -m pip install pylance zarr h5py lmdb && python -m benchmarks.bench_store_formats

Each holds the same random bytes. A read returns frames of one video and touches every cache line of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

VIDEOS, FRAMES, BYTES = 80, 150, 192 * 172  # a frame of 128 x 171 in planar YUV 4:2:0
BLOCK, ROUNDS, READS = 16, 7, 60
Pictures = npt.NDArray[np.uint8]
Read = Callable[[int, int, int], Pictures]  # (video, first frame, frames)


def video(number: int) -> Pictures:
    return np.random.default_rng(number).integers(0, 256, (FRAMES, BYTES), np.uint8)


def memory_map(folder: Path) -> Read:
    with (folder / "frames.bin").open("wb") as file:
        for number in range(VIDEOS):
            file.write(video(number).tobytes())
    frames = np.memmap(folder / "frames.bin", np.uint8, "r").reshape(VIDEOS, FRAMES, BYTES)
    return lambda number, first, count: frames[number, first : first + count]


def arrow(folder: Path) -> Read:
    schema = pa.schema([("data", pa.large_binary())])
    path = str(folder / "frames.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for number in range(VIDEOS):
            data = video(number)
            blocks = [data[at : at + BLOCK].tobytes() for at in range(0, FRAMES, BLOCK)]
            writer.write_batch(pa.record_batch([pa.array(blocks, pa.large_binary())], schema=schema))
    reader = pa.ipc.open_file(pa.memory_map(path))
    batches = [reader.get_batch(at).column(0).buffers()[2] for at in range(VIDEOS)]
    frames = [np.frombuffer(batch, np.uint8)[: FRAMES * BYTES].reshape(FRAMES, BYTES) for batch in batches]
    return lambda number, first, count: frames[number][first : first + count]


def lance_lists(folder: Path) -> Read:
    import lance

    kind = pa.list_(pa.uint8(), BYTES)
    schema = pa.schema([("data", kind)])
    batches = (
        pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(video(n).reshape(-1)), BYTES)], schema=schema)
        for n in range(VIDEOS)
    )
    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), str(folder / "lists.lance"))
    data = lance.dataset(str(folder / "lists.lance"))

    def read(number: int, first: int, count: int) -> Pictures:
        rows = list(range(number * FRAMES + first, number * FRAMES + first + count))
        found: Any = data.take(rows, columns=["data"]).column(0).combine_chunks()
        return np.asarray(found.values.to_numpy()).reshape(count, BYTES)

    return read


def lance_rows(folder: Path) -> Read:
    import lance

    schema = pa.schema([("data", pa.large_binary())])
    batches = (
        pa.record_batch([pa.array([one.tobytes() for one in video(n)], pa.large_binary())], schema=schema)
        for n in range(VIDEOS)
    )
    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches), str(folder / "rows.lance"))
    data = lance.dataset(str(folder / "rows.lance"))

    def read(number: int, first: int, count: int) -> Pictures:
        rows = list(range(number * FRAMES + first, number * FRAMES + first + count))
        found: Any = data.take(rows, columns=["data"]).column(0).combine_chunks()
        return np.frombuffer(found.buffers()[2], np.uint8)[: count * BYTES].reshape(count, BYTES)

    return read


def zarr_shards(folder: Path) -> Read:
    import zarr

    shape = (VIDEOS, FRAMES, BYTES)
    chunks = {"chunks": (1, BLOCK, BYTES), "shards": (1, 10 * BLOCK, BYTES), "compressors": None}
    data = zarr.create_array(str(folder / "frames.zarr"), shape=shape, dtype="u1", **chunks)
    for number in range(VIDEOS):
        data[number] = video(number)
    return lambda number, first, count: data[number, first : first + count]


def hdf5(folder: Path) -> Read:
    import h5py

    file = h5py.File(folder / "frames.h5", "w")
    data = file.create_dataset("frames", (VIDEOS, FRAMES, BYTES), "u1")
    for number in range(VIDEOS):
        data[number] = video(number)
    return lambda number, first, count: data[number, first : first + count]


def lmdb_blocks(folder: Path) -> Read:
    import lmdb

    data = lmdb.open(str(folder / "frames.lmdb"), map_size=2**32)
    for number in range(VIDEOS):
        frames = video(number)
        with data.begin(write=True) as writer:
            for at in range(0, FRAMES, BLOCK):
                writer.put(b"%d/%d" % (number, at // BLOCK), frames[at : at + BLOCK].tobytes())

    def read(number: int, first: int, count: int) -> Pictures:
        keys = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
        with data.begin(buffers=True) as reader:  # what it returns does not outlive it
            parts = [np.frombuffer(reader.get(b"%d/%d" % (number, key)), np.uint8).reshape(-1, BYTES) for key in keys]
            return np.concatenate(parts)[first % BLOCK :][:count]

    return read


CONTAINERS = (memory_map, arrow, lmdb_blocks, hdf5, lance_lists, lance_rows, zarr_shards)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        reads = {make.__name__: make(Path(folder)) for make in CONTAINERS}
        for name, read in reads.items():
            assert np.array_equal(read(7, 21, 64), video(7)[21 : 21 + 64]), name
        best: dict[tuple[str, int], float] = {}
        for turn in range(ROUNDS):
            for name, read in reads.items():
                for count in (48, 64):
                    rng = np.random.default_rng(turn)
                    windows = [(int(rng.integers(VIDEOS)), int(rng.integers(FRAMES - count))) for _ in range(READS)]
                    began = process_time()
                    for number, first in windows:
                        read(number, first, count).reshape(-1)[::64].sum()
                    spent = (process_time() - began) / READS
                    best[name, count] = min(spent, best.get((name, count), spent))
        for name in reads:
            found = [best[name, count] for count in (48, 64)]
            ratios = [one / best["memory_map", count] for one, count in zip(found, (48, 64), strict=True)]
            print(f"{name:12s} {found[0] * 1e6:6.0f} {found[1] * 1e6:6.0f} us  {ratios[0]:5.2f} {ratios[1]:5.2f}")


if __name__ == "__main__":
    main()
