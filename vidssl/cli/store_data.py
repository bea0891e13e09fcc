"""`--store`: opens a store for a command, and says what is in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vidssl import paths
from vidssl.cli.data import open_sets
from vidssl.index.table import VideoIndex
from vidssl.paths import printable, readable
from vidssl.store.choose import Name
from vidssl.store.frames import FrameStore, Size, parse_size
from vidssl.train.config import Recipe
from vidssl.train.data_sets import DataSet
from vidssl.types import VidsslError, planar_shape


def open_store(folder: Path | None, size: str | None, limit: str | None) -> FrameStore | None:
    """Opens the store that --store, --store-size and --store-limit name; None without --store."""
    if folder is None:
        _check_not_given(store_size=size, store_limit=limit)
        return None
    if size is None:
        raise VidsslError(f"store={str(folder)!r}: give --store-size HEIGHTxWIDTH, such as 128x171, or native")
    return FrameStore(folder, parse_size(size), parse_bytes(limit))


def open_data_and_store(
    recipe: Recipe,
    data: Sequence[DataSet],
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
        data: As for `open_sets`.
        out: As for `open_sets`.
        folder: Folder of the store; None: there is no store.
        limit: Most bytes of that folder, such as 200GB.
        backend: Where its frames lie while they are used.
        allow_outside: As for `open_data`.
        quiet: Print nothing.
    """
    if folder is None:
        _check_not_given(store_limit=limit, store_backend=None if backend == "auto" else backend)
        return open_sets(data, out, allow_outside=allow_outside), None
    if recipe.store_size == "none":
        index = open_sets(data, out, allow_outside=allow_outside)
        augment = recipe.pretext.augment  # a short side keeps the aspect ratio, which only the native size does
        sizes: list[Size] = ["native"] if augment.short_side is not None else ["native", augment.resize]
        choices = ", ".join(
            f"--store-size {store.size_text} takes {readable(store.bytes_of(index))}"
            for store in (FrameStore(None, size) for size in sizes)
        )
        raise VidsslError(f"store={str(folder)!r}: this recipe has no store size; take one ({choices})")
    frames = FrameStore(folder, parse_size(recipe.store_size), parse_bytes(limit), backend)
    quiet |= not frames.keeps
    if not quiet:
        say_room(frames)
    index = open_sets(data, out, store=frames, allow_outside=allow_outside)
    if not quiet:
        say_sizes(frames, index)
    return index, frames


def _check_not_given(**options: str | None) -> None:
    """Raises VidsslError if an option is given that needs --store."""
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    if given:
        raise VidsslError(f"{', '.join(given)}: add --store FOLDER, or leave {'it' if len(given) == 1 else 'them'} out")


def say_read(frames: FrameStore | None) -> None:
    """Prints how many of the windows that were shown came from a store."""
    if frames is None or frames.folder is None:
        return
    shown, stored = frames.stats["shown"], frames.stats["stored"]
    if shown:
        read = f"{stored:,} of {shown:,} windows were read from the store"
        print(printable(f"store {frames.folder}: {read}, {shown - stored:,} were decoded"))


def say_room(frames: FrameStore) -> None:
    """Prints, before anything is decoded, how much may be written and how many frames these are."""
    free = frames.free_bytes()
    many = ""
    if frames.size != "native":
        _, lines, cols = planar_shape(1, frames.size)
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


def parse_bytes(text: str | None) -> int | None:
    """Returns the number of bytes that a text such as 200GB states; None for None.

    Raises:
        VidsslError: The text states no number of bytes.
    """
    return None if text is None else paths.parse_bytes(text, "store_limit")


def check_kept(frames: FrameStore, index: VideoIndex) -> None:
    """Ends the command with exit code 1 if the folder of a store could not take all frames, as its disk is full."""
    missing = int((frames.missing_of(index) > 0).sum())
    if missing and frames.failure:
        videos = "1 video" if missing == 1 else f"{missing:,} videos"
        what = f"{videos} of {len(index.usable()):,} are not kept, or only in part"
        print(printable(f"error: store={str(frames.folder)!r}: {what}: {frames.failure}"), file=sys.stderr)
        raise SystemExit(1)
