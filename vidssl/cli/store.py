"""The subcommands of `store`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tyro.conf import Positional

from vidssl.cli.data import open_data
from vidssl.index.table import VideoIndex
from vidssl.paths import printable
from vidssl.store.frames import FrameStore, parse_size
from vidssl.store.shard import ENDING, Shard
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
    index = open_data(data, None, allow_outside=allow_outside)
    frames = FrameStore(store, parse_size(store_size), parse_bytes(store_limit))
    usable = index.usable()
    print(
        f"{len(usable)} videos, {int(index.column('frames').to_numpy()[usable].sum()):,} frames of "
        f"{frames.size_text}: {readable(frames.bytes_of(index))}; {readable(frames.free_bytes())} are free",
        flush=True,
    )
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
    found, damaged = FrameStore.shards(_existing(store))
    shards = [shard for shard in found if shard.path.name.endswith(ENDING)]
    scores = [shard for shard in found if shard not in shards]
    for shard in shards[:_SHOWN]:
        frames = sum(run.frames for run in shard.runs())
        print(f"{shard.path.name}  {readable(shard.path.stat().st_size):>10}  {frames:>9,} frames")
    if len(shards) > _SHOWN:
        print(f"and {len(shards) - _SHOWN} more")
    videos = {run.key for shard in shards for run in shard.runs()}
    print(f"{len(shards)} shards, {len(videos)} videos, {readable(_size(shards))}")
    if scores:
        print(f"{len(scores)} shards of motion, {readable(_size(scores))}")
    for path, reason in damaged:
        print(printable(f"damaged: {path.name}: {reason}"))


def _size(shards: list[Shard]) -> int:
    return sum(shard.path.stat().st_size for shard in shards)


def verify(store: Positional[Path]) -> None:
    """Read every block of a store, and compare its checksum. The exit code is 2 if a shard is damaged.

    Args:
        store: Folder of the store.
    """
    wrong = FrameStore.verify_folder(_existing(store))
    for path, reason in wrong:
        print(printable(f"damaged: {path.name}: {reason}"))
    if wrong:
        raise VidsslError(
            f"store={str(store)!r}: {len(wrong)} shards are damaged; `vidssl store rm {store} --damaged` deletes them, "
            "and their frames are decoded again"
        )
    print("every block is as it was written")


def rm(store: Positional[Path], *, damaged: bool = False) -> None:
    """Delete the shards of a store. Other files in its folder stay.

    Args:
        store: Folder of the store.
        damaged: Delete only the damaged shards.
    """
    folder = _existing(store)
    chosen = [path for path, _ in FrameStore.verify_folder(folder)] if damaged else FrameStore.paths(folder)
    size = sum(path.stat().st_size for path in chosen)
    for path in chosen:
        path.unlink()
    print(f"deleted {len(chosen)} shards, {readable(size)}")


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


def say_kept(frames: FrameStore, index: VideoIndex) -> None:
    """Prints how many videos of an index a store has."""
    usable = index.usable()
    whole = sum(not frames.missing(index.video(int(row))) for row in usable)
    print(f"{frames.folder}: {whole} of {len(usable)} videos are kept, {frames.stats['kept']:,} frames now")


def _existing(store: Path) -> Path:
    if not store.is_dir():
        raise VidsslError(f"store={str(store)!r}: no such folder; name the folder of a store")
    if not FrameStore.paths(store):
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


def readable(count: int) -> str:
    """Returns a number of bytes for people, such as 1.5 GB."""
    for unit in ("TB", "GB", "MB", "KB"):
        if count >= _UNITS[unit]:
            return f"{count / _UNITS[unit]:.1f} {unit}"
    return f"{count} bytes"
