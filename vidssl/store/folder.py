"""The folder of a store, whatever the size of its frames: what is in it, and what of it may go."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from vidssl.paths import printable
from vidssl.store.shard import ENDING, SCORES, Run, Shard, shard_paths
from vidssl.store.writer import StoreWriter, delete_unfinished
from vidssl.types import VidsslError

_NAME = re.compile(rf"[0-9a-f]{{16}}({re.escape(ENDING)}|{re.escape(SCORES)})")  # of a shard, as StoreWriter names it


def is_ours(path: Path) -> bool:
    """Return True for a file with a name that vidssl gives to shards, of frames or of motion. A link is never ours."""
    return _NAME.fullmatch(path.name) is not None and stat.S_ISREG(path.lstat().st_mode)


def open_shards(folder: Path) -> Iterator[tuple[Path, Shard | None, str]]:
    """Yield (file, shard, "") for each shard in a folder, or (file, None, problem) if it cannot be opened."""
    for path in shard_paths(folder, (ENDING, SCORES)):
        try:
            yield path, Shard(path), ""
        except (VidsslError, OSError) as error:
            yield path, None, str(error)


def delete(paths: Collection[Path], folder: Path) -> int:
    """Delete shards that are ours, and what processes left that ended early. Returns the number of bytes."""
    count = delete_unfinished(folder)
    for path in paths:
        count += path.stat().st_size
        path.unlink()
    return count


def delete_unused(folder: Path, used: Callable[[str], Collection[bytes]]) -> int:
    """Delete frames and motion of videos that are not used, and what is kept twice.

    A shard of which a part is used is replaced by one that has only this part. If the process ends early, nothing that
    is used is lost.

    Args:
        folder: Folder of the store.
        used: Returns the keys of all videos that are used, and of their motion, at a size of frames.

    Returns:
        The number of bytes by which the folder is smaller, about. Shards that are damaged, or do not note their size,
        stay.

    Raises:
        VidsslError: The folder cannot be written to, or a part of a shard cannot be copied, as the disk is full.
    """
    freed, kept = delete_unfinished(folder), dict[bytes, list[range]]()
    for path, shard, _ in open_shards(folder):
        if shard is None or not shard.size_text or not is_ours(path):
            continue
        runs = list(shard.runs())
        wanted = [run for run in runs if run.key in used(shard.size_text) and not _is_kept(run, kept)]
        if len(wanted) < len(runs):
            if wanted:
                _copy(folder, shard, wanted)
            path.unlink()
            freed += shard.bytes - sum(run.frames * shard.frame_bytes(run) for run in wanted)
        for run in wanted:
            kept.setdefault(run.key, []).append(range(run.first, run.first + run.frames))
    return freed


def _is_kept(run: Run, kept: dict[bytes, list[range]]) -> bool:
    return any(one.start <= run.first and run.first + run.frames <= one.stop for one in kept.get(run.key, []))


def _copy(folder: Path, shard: Shard, runs: Collection[Run]) -> None:
    """Write some runs of a shard to a new shard. Damaged runs are left out."""
    writer = StoreWriter(
        folder,
        shard.size_text,
        None,
        shard_bytes=lambda: 0,
        completed=lambda: None,
        stats=Counter[str](),
        ending=SCORES if shard.path.name.endswith(SCORES) else ENDING,
    )
    for run in runs:
        try:
            frames = shard.read(run, run.first, (run.frames, 1, shard.frame_bytes(run)))
        except VidsslError:
            continue
        writer.add(run.key, run.first, frames)
    writer.flush()
    if writer.full:
        raise VidsslError(
            f"store={printable(folder)!r}: {shard.path.name} is not made smaller, as nothing can be written; "
            "delete the store, or free some space"
        )
