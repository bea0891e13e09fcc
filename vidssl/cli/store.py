"""The subcommands of `store`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from tyro.conf import Positional

from vidssl.cli.data import indexes_in, open_data
from vidssl.index.table import VideoIndex
from vidssl.kernels.reduce import reduced_shape
from vidssl.paths import printable, readable
from vidssl.store.choose import Name
from vidssl.store.folder import delete, delete_unused, is_ours, open_shards
from vidssl.store.frames import FrameStore, Size, parse_size
from vidssl.store.scores import keys_of_scores
from vidssl.store.shard import ENDING, Shard
from vidssl.store.writer import abandoned, unfinished
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

_SHOWN = 20  # shards or videos that are listed


def fill(
    data: Positional[Path],
    store: Positional[Path],
    *,
    store_size: str,
    store_limit: str | None = None,
    workers: int | None = None,
    file_timeout: float = 60,
    allow_outside: bool = False,
) -> None:
    """Decode all frames of a data set once, and keep them. A call that was interrupted goes on where it stopped.

    Args:
        data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), or index (.arrow).
        store: Folder of the store.
        store_size: Size of the kept frames in pixels, HEIGHTxWIDTH such as 128x171; or `native`, as decoded.
        store_limit: Most bytes of the folder, such as 200GB; the frames that fit are kept. None: no limit.
        workers: Threads; None takes one for each core.
        file_timeout: Seconds that a file may take, plus one second for each MiB and each decoded frame.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    frames = FrameStore(store, parse_size(store_size), parse_bytes(store_limit))
    say_room(frames)
    index = open_data(data, None, store=frames, allow_outside=allow_outside)
    say_sizes(frames, index)
    failed = frames.fill(index, workers=workers, file_timeout=file_timeout)
    for path, reason in failed[:_SHOWN]:
        print(printable(f"  not kept: {path}: {reason}"))
    if len(failed) > _SHOWN:
        print(f"  not kept: {len(failed) - _SHOWN} more")
    say_kept(frames, index)


def ls(store: Positional[Path]) -> None:
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
            print(printable(f"damaged: {path.name}: {problem}"))
    left = set(abandoned(folder)) if os.access(folder, os.W_OK) else set()
    for path in unfinished(folder):
        size = readable(path.stat().st_size)
        what = "left by a process that ended early; `vidssl store fill` deletes it" if path in left else "being written"
        print(printable(f"unfinished: {path.name}: {size}, {what}"))


def verify(store: Positional[Path]) -> None:
    """Read every block of a store, and compare its checksum. The exit code is 2 if a shard is damaged.

    Args:
        store: Folder of the store.
    """
    folder = _existing(store)
    wrong = FrameStore.verify_folder(folder)
    for path, reason in wrong:
        print(printable(f"damaged: {path.name}: {reason}"))
    if wrong:
        raise VidsslError(
            f"store={str(store)!r}: {_many(len(wrong), 'damaged shard')}; `vidssl store rm {store} --damaged` deletes "
            "what is damaged, and its frames are decoded again"
        )
    print("every block is as it was written:")
    for line in _by_size([shard for _, shard, _ in open_shards(folder) if shard is not None]):
        print(line)


def rm(
    store: Positional[Path], *, damaged: bool = False, keep: tuple[Path, ...] = (), allow_outside: bool = False
) -> None:
    """Delete the shards of a store, and the indexes in it. Other files in its folder stay.

    Args:
        store: Folder of the store.
        damaged: Delete only the damaged shards.
        keep: Delete only what these data sets (folders, lists or indexes) do not use as they are now: frames of videos
            that were changed or deleted or belong to other data sets, and second copies.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    folder = _existing(store)
    if damaged and keep:
        raise VidsslError("damaged, keep: take one of them")
    if keep:
        known = FrameStore(folder, limit=0)  # it has indexes
        used = partial(_keys, [open_data(data, None, store=known, allow_outside=allow_outside) for data in keep])
        print(f"deleted {readable(delete_unused(folder, lru_cache(used)))} that are not used")
        return
    chosen = [path for path, _ in FrameStore.verify_folder(folder)] if damaged else FrameStore.paths(folder)
    ours = [path for path in chosen if is_ours(path)]
    print(f"deleted {_many(len(ours), 'shard')}, {readable(delete(ours, folder))}")
    for path in () if damaged else indexes_in(folder):
        path.unlink(missing_ok=True)
    for path in chosen:
        if path not in ours:
            print(printable(f"not deleted: {path.name}: vidssl did not give it this name; delete it yourself"))


def _keys(indexes: Sequence[VideoIndex], size_text: str) -> frozenset[bytes]:
    """The keys of all usable videos of some indexes, and of their motion, at a size."""
    store = FrameStore(None, parse_size(size_text))
    keys = [key for index in indexes for key in store.keys(index.select(index.usable()))]
    return frozenset([*keys, *(score for key in keys for score in keys_of_scores(key))])


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _by_size(shards: Sequence[Shard]) -> list[str]:
    """A line for each size of frames, and one for motion."""
    lines, frames = [], [shard for shard in shards if shard.path.name.endswith(ENDING)]
    for size in sorted({shard.size_text for shard in frames}):
        some = [shard for shard in frames if shard.size_text == size]
        runs = [run for shard in some for run in shard.runs()]
        videos = {run.key for run in runs}
        lines.append(
            f"{_many(len(some), 'shard')} of {size or 'unknown size'}: {_many(len(videos), 'video')}, "
            f"{sum(run.frames for run in runs):,} frames, {readable(sum(shard.bytes for shard in some))}"
        )
    if scores := [shard for shard in shards if shard not in frames]:
        lines.append(f"{_many(len(scores), 'shard')} of motion, {readable(sum(shard.bytes for shard in scores))}")
    return lines


def commands() -> dict[str, Callable[..., None]]:
    """Returns the subcommands by name."""
    return {"fill": fill, "ls": ls, "verify": verify, "rm": rm}


def open_store(folder: Path | None, size: str | None, limit: str | None) -> FrameStore | None:
    """Opens the store that --store, --store-size and --store-limit name; None without --store."""
    if folder is None:
        if size is not None or limit is not None:
            raise VidsslError("store_size, store_limit: they need --store FOLDER")
        return None
    if size is None:
        raise VidsslError(f"store={str(folder)!r}: give --store-size HEIGHTxWIDTH, such as 128x171, or native")
    return FrameStore(folder, parse_size(size), parse_bytes(limit))


def open_data_and_store(
    recipe: Recipe,
    data: Path,
    out: Path | None,
    folder: Path | None,
    limit: str | None,
    backend: Name = "auto",
    *,
    allow_outside: bool = False,
    quiet: bool = False,
) -> tuple[VideoIndex, FrameStore | None]:
    """Opens --data and, at the size of a recipe, the store that --store and --store-limit name.

    Files that are not indexed yet are decoded once: for the index and for the store.

    Args:
        recipe: The recipe.
        data: As for `open_data`.
        out: As for `open_data`.
        folder: Folder of the store; None: there is no store.
        limit: Most bytes of that folder, such as 200GB.
        backend: Where its frames lie while they are used.
        allow_outside: As for `open_data`.
        quiet: Print nothing.
    """
    if folder is None:
        if limit is not None or backend != "auto":
            raise VidsslError("store_limit, store_backend: they need --store FOLDER")
        return open_data(data, out, allow_outside=allow_outside), None
    if recipe.store_size == "none":
        index = open_data(data, out, allow_outside=allow_outside)
        height, width = recipe.pretext.augment.resize
        sizes: list[Size] = ["native", (height, width)]
        choices = ", ".join(
            f"--store-size {store.size_text} takes {readable(store.bytes_of(index))}"
            for store in (FrameStore(None, size) for size in sizes)
        )
        raise VidsslError(f"store={str(folder)!r}: this recipe has no store size; take one ({choices})")
    frames = FrameStore(folder, parse_size(recipe.store_size), parse_bytes(limit), backend)
    quiet |= not frames.keeps
    if not quiet:
        say_room(frames)
    index = open_data(data, out, store=frames, allow_outside=allow_outside)
    if not quiet:
        say_sizes(frames, index)
    return index, frames


def say_read(frames: FrameStore | None) -> None:
    """Prints how much was read from a store."""
    if frames is None or frames.folder is None:
        return
    hits, misses = frames.stats["hits"], frames.stats["misses"]
    if hits + misses:
        print(f"store {frames.folder}: {hits:,} of {hits + misses:,} windows were kept, {misses:,} were decoded")


def say_room(frames: FrameStore) -> None:
    """Prints, before anything is decoded, how much may be written and how many frames these are."""
    free = frames.free_bytes()
    many = ""
    if frames.size != "native":
        _, lines, cols = reduced_shape(1, frames.size)
        many = f", enough for {free // (lines * cols):,} frames of {frames.size_text} ({readable(lines * cols)} each)"
    print(f"store {frames.folder}: {readable(free)} are free{many}", flush=True)


def say_sizes(frames: FrameStore, index: VideoIndex) -> None:
    """Prints how many bytes the videos of an index take, how many of these are kept, and what else fits."""
    usable, free = index.usable(), frames.free_bytes()
    total = frames.bytes_of(index)
    left = int((frames.missing_of(index) * frames.frame_bytes(index)).sum())
    count = int(index.column("frames").to_numpy()[usable].sum())
    if frames.folder is not None and not os.access(frames.folder, os.W_OK):
        fits = "but the folder may only be read"
    elif left <= free:
        fits = "and all of it fits"
    else:
        fits = f"so {(total - left + free) / total:.0%} of it fits, and the rest is decoded in every epoch"
    print(
        f"store {frames.folder}: {len(usable)} videos, {count:,} frames of {frames.size_text}: {readable(total)}, of "
        f"which {readable(total - left)} are kept; {readable(free)} are free, {fits}",
        flush=True,
    )


def say_kept(frames: FrameStore, index: VideoIndex) -> None:
    """Prints how many videos of an index a store has."""
    missing = frames.missing_of(index)
    print(
        f"{frames.folder}: {int((missing == 0).sum())} of {len(missing)} videos are kept, "
        f"{frames.stats['kept']:,} frames now"
    )


def _existing(store: Path) -> Path:
    if not store.is_dir():
        raise VidsslError(f"store={str(store)!r}: no such folder; name the folder of a store")
    if not FrameStore.paths(store) and not unfinished(store):
        raise VidsslError(f"store={str(store)!r}: no shard is in this folder; name the folder of a store")
    return store


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str | None) -> int | None:
    """Returns the number of bytes that a text such as 200GB states; None for None.

    Raises:
        VidsslError: The text states no number of bytes.
    """
    if text is None:
        return None
    number = text.upper().replace(" ", "").rstrip("BKMGT")
    unit = text.upper().replace(" ", "")[len(number) :]
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError) as error:
        raise VidsslError(f"store_limit={text!r}: take a number of bytes with a unit, such as 200GB") from error
