"""The subcommands of `store`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import DataPath, Datasets, StorePath
from vidssl.cli.data import indexes_in, open_data, unnamed_indexes_in
from vidssl.cli.store_data import check_kept, parse_bytes, say_kept, say_room, say_sizes
from vidssl.index.sources import UNREADABLE
from vidssl.index.summary import listed
from vidssl.index.table import VideoIndex
from vidssl.index.transient import not_read
from vidssl.paths import many_of, printable, readable
from vidssl.store.folder import delete, delete_unused, is_ours, open_shards
from vidssl.store.frames import FrameStore, parse_size
from vidssl.store.scores import keys_of_scores
from vidssl.store.shard import ENDING, Shard
from vidssl.store.writer import abandoned, unfinished
from vidssl.types import VidsslError

_SHOWN = 20  # shards or videos that are listed


def fill(
    data: DataPath,
    store: StorePath,
    *,
    store_size: str,
    store_limit: str | None = None,
    workers: int | None = None,
    file_timeout: float = 60,
    allow_outside: bool = False,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Decode all frames of a data set once, and keep them. A call that was interrupted goes on where it stopped.

    The exit code is 1 if the folder cannot be written, or its disk is full, before all of them are kept.

    Args:
        data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), or index (.arrow).
        store: Folder of the store.
        store_size: Size of the kept frames in pixels, HEIGHTxWIDTH such as 128x171; or `native`, as decoded.
        store_limit: Most bytes of the folder, such as 200GB; the frames that fit are kept. None: no limit.
        workers: Threads; None takes one for each core.
        file_timeout: Seconds that a file may take, plus one second for each MiB and each decoded frame.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
        engine: Where the videos are decoded. local: on this machine. ray: on the nodes of a Ray cluster, which
            RAY_ADDRESS=HOST:PORT names and which see the videos under the same paths; this process writes the frames.
    """
    frames = FrameStore(store, parse_size(store_size), parse_bytes(store_limit))
    say_room(frames)
    index = open_data(data, None, store=frames, allow_outside=allow_outside, engine=engine)
    _check_usable("data", data, index)
    if skipped := index.skipped():
        print(f"{len(index.usable())} videos can be used, {len(skipped)} skipped")
        print("\n".join(listed("skipped", skipped)))
    say_sizes(frames, index)
    failed = frames.fill(index, workers=workers, file_timeout=file_timeout, engine=engine)
    for path, reason in failed[:_SHOWN]:
        print(printable(f"  not kept: {path}: {reason}"))
    if len(failed) > _SHOWN:
        print(f"  not kept: {len(failed) - _SHOWN} more")
    say_kept(frames, index)
    check_kept(frames, index)


def ls(store: StorePath) -> None:
    """List what a store holds.

    Args:
        store: Folder of the store.
    """
    folder = _existing(store)
    found = list(open_shards(folder))
    shards = [shard for _, shard, _ in found if shard is not None]
    listed = [shard for shard in shards if shard.path.name.endswith(ENDING)]
    for shard in listed[:_SHOWN]:
        frames = sum(run.frames for run in shard.runs())
        print(f"{shard.path.name}  {readable(shard.bytes):>10}  {frames:>9,} frames  {shard.size_text}")
    if len(listed) > _SHOWN:
        print(f"and {len(listed) - _SHOWN} more")
    for line in _by_size(shards):
        print(line)
    for path, _, problem in found:
        if problem:
            print(printable(f"damaged: {path.name}: {problem}" if is_ours(path) else _left_alone(path)))
    left = set(abandoned(folder)) if os.access(folder, os.W_OK) else set()
    for path in unfinished(folder):
        size = readable(path.stat().st_size)
        what = "left by a process that ended early; `vidssl store fill` deletes it" if path in left else "being written"
        print(printable(f"unfinished: {path.name}: {size}, {what}"))


def verify(store: StorePath) -> None:
    """Read every block of a store, and compare its checksum. The exit code is 2 if a shard is damaged.

    Args:
        store: Folder of the store.
    """
    folder = _existing(store)
    opened = {path for path, shard, _ in open_shards(folder) if shard is not None}
    wrong = []
    for path, reason in FrameStore.verify_folder(folder):
        if path in opened or is_ours(path):
            wrong.append(path)
            print(printable(f"damaged: {path.name}: {reason}"))
        else:
            print(printable(_left_alone(path)))
    if wrong:
        hints = []
        if any(map(is_ours, wrong)):
            hints.append(f"`vidssl store rm {store} --damaged` deletes these, and their frames are decoded again")
        if others := [path.name for path in wrong if not is_ours(path)]:
            hints.append(f"delete {', '.join(others)} yourself, as vidssl did not give it this name")
        raise VidsslError(f"store={str(store)!r}: {many_of(len(wrong), 'damaged shard')}; {'; '.join(hints)}")
    print("every block is as it was written:")
    for line in _by_size([shard for _, shard, _ in open_shards(folder) if shard is not None]):
        print(line)


def rm(store: StorePath, *, damaged: bool = False, keep: Datasets = (), allow_outside: bool = False) -> None:
    """Delete the shards of a store, and the indexes in it. Other files in its folder stay.

    Args:
        store: Folder of the store.
        damaged: Delete only the damaged shards.
        keep: Delete only what these data sets (folders, lists or indexes) do not use as they are now: frames of videos
            that were changed or deleted or belong to other data sets, second copies, and indexes of other data sets.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    folder = _existing(store, indexes=True)
    if damaged and keep:
        raise VidsslError("damaged, keep: take one of them")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise VidsslError(f"store={str(store)!r}: you may not delete files in this folder; change its permissions")
    if keep:
        known = FrameStore(folder, limit=0)  # it has indexes
        indexes = []
        for data in keep:
            indexes.append(open_data(data, None, store=known, allow_outside=allow_outside))
            _check_usable("keep", data, indexes[-1])
            _check_read(data, indexes[-1])
        freed = delete_unused(folder, lru_cache(partial(_keys, indexes)))
        print(f"deleted {readable(freed + _delete(unnamed_indexes_in(folder, keep)))} that are not used")
        return
    chosen = [path for path, _ in FrameStore.verify_folder(folder)] if damaged else FrameStore.paths(folder)
    ours = [path for path in chosen if is_ours(path)]
    print(f"deleted {many_of(len(ours), 'shard')}, {readable(delete(ours, folder))}")
    if not damaged:
        _delete(indexes_in(folder))
    for path in chosen:
        if path not in ours:
            print(printable(f"not deleted: {path.name}: vidssl did not give it this name; delete it yourself"))


def _delete(paths: Sequence[Path]) -> int:
    """Deletes files, some of which another process may have deleted by now. Returns the number of bytes."""
    count = 0
    for path in paths:
        with suppress(FileNotFoundError):
            size = path.lstat().st_size
            path.unlink()
            count += size
    return count


def _check_usable(name: str, data: Path, index: VideoIndex) -> None:
    """Raises VidsslError if no video of an index can be used: `data`, an argument called `name`, is a mistake then."""
    if not len(index.usable()):
        raise VidsslError(f"{name}={str(data)!r}: no video can be used; name other videos:\n{index.summary()}")


def _check_read(data: Path, index: VideoIndex) -> None:
    """Raises VidsslError if files of `data` cannot be read now: their frames would be taken for unused ones."""
    late = [f"{path} ({reason})" for path, reason in not_read(index.table)]
    late += [note for note in index.notes if UNREADABLE in note]
    if late:
        more = f"; and {len(late) - _SHOWN} more" if len(late) > _SHOWN else ""
        raise VidsslError(
            f"keep={str(data)!r}: some of it cannot be read now, so nothing is deleted: "
            f"{'; '.join(late[:_SHOWN])}{more}; "
            "make it readable, or name an index (.arrow) of what you keep"
        )


def _left_alone(path: Path) -> str:
    return f"left alone: {path.name}: it is no shard, and vidssl did not give it this name"


def _keys(indexes: Sequence[VideoIndex], size_text: str) -> frozenset[bytes]:
    """The keys of all usable videos of some indexes, and of their motion, at a size."""
    store = FrameStore(None, parse_size(size_text))
    keys = [key for index in indexes for key in store.keys(index.select(index.usable()))]
    return frozenset([*keys, *(score for key in keys for score in keys_of_scores(key))])


def _by_size(shards: Sequence[Shard]) -> list[str]:
    """A line for each size of frames, and one for motion."""
    lines, frames = [], [shard for shard in shards if shard.path.name.endswith(ENDING)]
    for size in sorted({shard.size_text for shard in frames}):
        some = [shard for shard in frames if shard.size_text == size]
        runs = [run for shard in some for run in shard.runs()]
        videos = {run.key for run in runs}
        lines.append(
            f"{many_of(len(some), 'shard')} of {size or 'unknown size'}: {many_of(len(videos), 'video')}, "
            f"{sum(run.frames for run in runs):,} frames, {readable(sum(shard.bytes for shard in some))}"
        )
    if scores := [shard for shard in shards if shard not in frames]:
        lines.append(f"{many_of(len(scores), 'shard')} of motion, {readable(sum(shard.bytes for shard in scores))}")
    return lines


def commands() -> dict[str, Callable[..., None]]:
    """Returns the subcommands by name."""
    return {"fill": fill, "ls": ls, "verify": verify, "rm": rm}


def _existing(store: Path, *, indexes: bool = False) -> Path:
    """Returns the folder of a store, which has a shard or, if `indexes`, an index."""
    if not store.is_dir():
        raise VidsslError(f"store={str(store)!r}: no such folder; name the folder of a store")
    if not FrameStore.paths(store) and not unfinished(store) and not (indexes and indexes_in(store)):
        raise VidsslError(f"store={str(store)!r}: no shard is in this folder; name the folder of a store")
    return store
