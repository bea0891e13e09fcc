"""Choose the held-out videos as a pure function of paths, groups and a seed.

Videos of one group are never split between the train set and the held-out set.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.index.excerpts import without_excerpt
from vidssl.index.mixture import Mixture
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError

_ROWS = 2**14  # rows whose texts are made at once


def match_groups(paths: Sequence[str], pattern: str, argument: str) -> list[str | None]:
    """Find the text that a regular expression matches in each path; of a segment, in the path of its file.

    Args:
        paths: Paths of videos.
        pattern: The expression. An empty pattern matches no path.
        argument: Name of the argument in error messages, for instance "group".

    Returns:
        The matched text for each path, or None for a path without a match.

    Raises:
        VidsslError: The pattern is not a regular expression, or it matches none of the paths.
    """
    if not pattern:
        return [None] * len(paths)
    try:
        found = [re.search(pattern, without_excerpt(path)) for path in paths]
    except re.error as error:
        raise VidsslError(f"{argument}={pattern!r}: not a regular expression ({error})") from error
    if paths and not any(found):
        raise VidsslError(
            f"{argument}={pattern!r}: matches none of the paths, such as {paths[0]!r}; "
            "leave it empty to make each video its own group"
        )
    return [match.group() if match else None for match in found]


def hold_out(groups: Sequence[str], fraction: float, *, seed: int) -> npt.NDArray[np.int64]:
    """Choose the items to hold out, without splitting a group.

    Groups are taken in an order that depends only on the seed and their names, until the fraction is met as closely as
    whole groups allow. A fraction above 0 takes at least one group. One group always remains.

    Args:
        groups: The group of each item.
        fraction: Fraction of the items to hold out.
        seed: Seed of the order.

    Returns:
        int64 [N]: indices of the held-out items, ascending.
    """
    named = pa.array(groups, pa.string()).dictionary_encode()
    digests = b"".join(hashlib.sha256(f"{seed} {group}".encode()).digest() for group in named.dictionary.to_pylist())
    order = np.lexsort(np.frombuffer(digests, ">u8").reshape(-1, 4).T[::-1])
    group_of = named.indices.to_numpy()
    sizes = np.bincount(group_of, minlength=len(order))
    count, held = 0, np.zeros(len(order), bool)
    for group in order[:-1]:
        if count + sizes[group] / 2 > fraction * len(groups) and (count or fraction == 0):
            break
        held[group] = True
        count += int(sizes[group])
    return np.flatnonzero(held[group_of]).astype(np.int64)


def split(
    index: VideoIndex, fraction: float, *, seed: int, group: str = "", span: int = 1
) -> tuple[VideoIndex, VideoIndex]:
    """Split an index into the train set and the held-out set.

    Rows that cannot be used stay in the train set, where the loader counts them. Each data set of a mixture is split by
    itself, as it would be without the others.

    Args:
        index: The videos.
        fraction: Fraction of the usable videos to hold out, met as closely as whole groups allow. A fraction above 0
            holds out at least one group.
        seed: Seed that decides which groups are held out.
        group: Regular expression. Videos whose paths match the same text form a group. If it is empty or does not match
            a path, the column `group` of the index decides; a video without a group is its own group.
        span: Number of frames that a usable video has at least.

    Returns:
        The train set and the held-out set.

    Raises:
        VidsslError: The expression is invalid or matches no path, or nothing would be left to train on.
    """
    named = index.named_parts
    usable = [part.usable(span) for _, part, _ in named]
    chosen = [part.select(rows) for (_, part, _), rows in zip(named, usable, strict=True)]
    paths = [path for part in chosen for path in part.column("path").to_pylist()]
    matched = iter(match_groups(paths, group, "group"))
    held = []
    for (name, _, places), rows, part in zip(named, usable, chosen, strict=True):
        columns = (part.column(column).to_pylist() for column in ("group", "path"))
        keys = [next(matched) or listed or path for listed, path in zip(*columns, strict=True)]
        if keys and fraction > 0 and len(set(keys)) < 2:
            raise VidsslError(
                f"holdout={fraction}: {len(set(keys))} usable group(s) of videos with at least {span} frames"
                + (f" in {name!r}" if name else "")
                + ", but a held-out set needs two; take holdout=0, shorter clips, or more videos"
            )
        held.append(places[rows[hold_out(keys, fraction, seed=seed)]])  # without keys, the loader reports why
    kept = np.setdiff1d(np.arange(len(index)), np.concatenate(held))
    return index.select(kept), index.select(np.sort(np.concatenate(held)))


def fingerprint(index: VideoIndex) -> str:
    """Sixteen hexadecimal digits that change when a video is added, removed, renamed or changed.

    Those of a mixture also change with the weights and the order of its data sets, but not with their names.
    """
    if isinstance(index, Mixture):
        sets = [(weight, fingerprint(part)) for weight, part in zip(index.weights, index.parts, strict=True)]
        return hashlib.sha256(repr(sets).encode()).hexdigest()[:16]
    columns = [index.column(name) for name in ("path", "bytes", "frames", "status")]
    digest = hashlib.sha256()
    for begin in range(0, len(index), _ROWS):
        rows = zip(*(column.slice(begin, _ROWS).to_pylist() for column in columns), strict=True)
        digest.update(("\n" if begin else "").encode() + "\n".join(map(repr, rows)).encode())
    return digest.hexdigest()[:16]
