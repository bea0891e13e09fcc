"""The split into training and held-out videos: a pure function of paths, groups and seed."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from vidssl.index.groups import hold_out
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError


def split(index: VideoIndex, fraction: float, *, seed: int, group: str = "", span: int = 1) -> tuple[VideoIndex, VideoIndex]:
    """Splits an index into training and held-out videos.

    Videos that cannot be used are in the training part, where they are counted.

    Args:
        index: The videos.
        fraction: Fraction to hold out of the videos with at least `span` frames, as closely as whole groups allow, and
            at least one group.
        seed: Seed of the choice.
        group: Regular expression; videos in whose paths it matches the same text are one group. For a path without a
            match, or if it is empty, the index's column `group` counts; a video without either is a group by itself.
        span: Frames that a video needs.

    Returns:
        The training part and the held-out part.

    Raises:
        VidsslError: The expression is wrong or matches no path, or nothing is left to train on.
    """
    rows = index.usable(span)
    paths = index.select(rows).column("path").to_pylist()
    try:
        found = [re.search(group, path) if group else None for path in paths]
    except re.error as error:
        raise VidsslError(f"train: group={group!r}: not a regular expression ({error})") from error
    if group and paths and not any(found):
        raise VidsslError(f"train: group={group!r}: matches none of the paths, such as {paths[0]!r}; take group='' to split by video")
    listed = index.select(rows).column("group").to_pylist()
    keys = [match.group() if match else said or path for match, said, path in zip(found, listed, paths, strict=True)]
    if not keys:
        return index, index.select([])  # the loader says why none can be used
    if fraction > 0 and len(set(keys)) < 2:
        raise VidsslError(
            f"train: holdout={fraction}: {len(set(keys))} usable group(s) of videos with at least {span} frames, holding out needs two; "
            "take holdout=0, shorter clips, or more videos"
        )
    held = rows[hold_out(keys, fraction, seed=seed)]
    kept = np.setdiff1d(np.arange(len(index)), held)
    return index.select(kept), index.select(held)


def fingerprint(index: VideoIndex) -> str:
    """Returns 16 hex digits that change if a video is added, removed, renamed or changed."""
    rows = zip(*(index.column(name).to_pylist() for name in ("path", "bytes", "frames", "status")), strict=True)
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()[:16]
