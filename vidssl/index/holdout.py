"""Which videos are held out: a pure function of their paths, their groups and a seed. What belongs together is held out
together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError


def match_groups(paths: Sequence[str], pattern: str, argument: str) -> list[str | None]:
    """What a regular expression matches in each path, or None where it does not match.

    Args:
        paths: Paths of videos.
        pattern: The expression. An empty one matches in no path.
        argument: Who takes the pattern, for the error: "train: group", for instance.

    Raises:
        VidsslError: It is no regular expression, or matches in none of the paths.
    """
    if not pattern:
        return [None] * len(paths)
    try:
        found = [re.search(pattern, path) for path in paths]
    except re.error as error:
        raise VidsslError(f"{argument}={pattern!r}: not a regular expression ({error})") from error
    if paths and not any(found):
        raise VidsslError(
            f"{argument}={pattern!r}: matches none of the paths, such as {paths[0]!r}; leave it empty to take each video by itself"
        )
    return [match.group() if match else None for match in found]


def hold_out(groups: Sequence[str], fraction: float, *, seed: int) -> npt.NDArray[np.int64]:
    """Which items to hold out, so that no group is split.

    Groups are taken in an order that the seed and their names decide, until the fraction is met as closely as whole
    groups allow. A fraction above 0 takes at least one group, and never the last one.

    Args:
        groups: The group of each item.
        fraction: Of the items, to hold out.
        seed: Of the order.

    Returns:
        Their places, int64, ascending.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    held: list[int] = []
    for group in sorted(members, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())[:-1]:
        if len(held) + len(members[group]) / 2 > fraction * len(groups) and (held or fraction == 0):
            break
        held += members[group]
    return np.array(sorted(held), np.int64)


def split(
    index: VideoIndex, fraction: float, *, seed: int, group: str = "", span: int = 1
) -> tuple[VideoIndex, VideoIndex]:
    """The training and the held-out videos of an index. Rows that cannot be used stay with the training videos, where
    they are counted.

    Args:
        index: The videos.
        fraction: Of those with at least `span` frames, to hold out: met as closely as whole groups allow, with one
            group at least.
        seed: Decides which groups.
        group: Regular expression; videos whose paths match the same text are one group. Where it is empty or does not
            match, the index's column `group` counts, and a video without a group is a group by itself.
        span: Frames that a video needs.

    Raises:
        VidsslError: The expression is wrong, matches nothing, or nothing is left to train on.
    """
    rows = index.usable(span)
    paths = index.select(rows).column("path").to_pylist()
    matched = match_groups(paths, group, "train: group")
    listed = index.select(rows).column("group").to_pylist()
    keys = [match or named or path for match, named, path in zip(matched, listed, paths, strict=True)]
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
    """Sixteen hex digits that change when a video is added, removed, renamed or changed."""
    rows = zip(*(index.column(name).to_pylist() for name in ("path", "bytes", "frames", "status")), strict=True)
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()[:16]
