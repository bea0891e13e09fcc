"""Near-duplicate videos: copies that were re-encoded, resized, trimmed or mirrored.

A copy in the test set is learnt by heart in training, and order tasks learn backgrounds by heart as well. A video is
known by perceptual hashes of FRAMES frames, in no order. Two videos are near-duplicates if at least SHARE of the frames
of one of them look like some frame of the other, as they are or mirrored. So a part of a video is found in the whole.

A hash has SIDE x SIDE bits, the signs of the lowest frequencies of the picture's cosine transform (about its median).
Frames without contrast have no such hash and are not compared. ALIKE, SHARE and FRAMES were chosen on 80 real clips:
95 % of the frames of halved or coarsely encoded copies differ from a frame of the original in at most 11 % of the bits.
Frames of different scenes differ in 40 % and more; only cameras that are fixed on one scene lie between (from 13 %).

Source: pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) as in ImageHash.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from vidssl.cpus import cpus
from vidssl.datasets.base import Dataset, Entry
from vidssl.index.lists import write_list
from vidssl.index.table import VideoIndex
from vidssl.kernels.reduce import reduce
from vidssl.types import VidsslError
from vidssl.video.decode import Video, decode
from vidssl.workers import Workers

FRAMES = 24  # of a video, evenly spaced; with 12, a quarter of the copies cut to half their length is missed
SIDE = 16  # a hash has SIDE x SIDE bits
PICTURE = 4 * SIDE  # pixels in height and width of the picture that is hashed
ALIKE = 32  # bits, of 256, in which frames that look alike differ at most
SHARE = 0.75  # of the frames
FLAT = 4.0  # grey levels; a frame whose standard deviation is less has no contrast
_BLOCK = 256  # videos that are compared with as many others at a time

WHOLE = "all"  # the part of a data set that is not split

Hashes = npt.NDArray[np.float32]


class Pair(NamedTuple):
    """Two near-duplicates.

    Args:
        first: A video.
        second: The other one, whose path comes later.
        alike: Fraction of the frames of one of the two that look like some frame of the other.
        mirrored: Whether one of them is mirrored.
    """

    first: Path
    second: Path
    alike: float
    mirrored: bool


def imagehash() -> ModuleType:
    """The library of the hashes. Raises VidsslError if it is not installed."""
    try:
        import imagehash as found
    except ImportError as error:
        raise VidsslError("datasets: duplicates: ImageHash is missing; pip install 'vidssl[duplicates]'") from error
    return found


def hash_frames(video: Video) -> Hashes:
    """Perceptual hashes of a video's frames, as they are and mirrored: float32 [2, FRAMES, SIDE * SIDE] of -1 and 1.

    Frames without contrast are all 0.
    """
    library = imagehash()
    numbers = np.unique(np.linspace(0, video.frames - 1, FRAMES).round().astype(np.int64))
    frames = reduce(decode(video, numbers), (PICTURE, PICTURE))
    found = np.zeros((2, FRAMES, SIDE * SIDE), np.float32)
    for at, planes in enumerate(np.asarray(frames.data)):
        luma = planes[:PICTURE, :PICTURE]
        if luma.std() < FLAT:
            continue
        for way, picture in enumerate((luma, luma[:, ::-1])):
            bits = library.phash(Image.fromarray(np.ascontiguousarray(picture)), SIDE, PICTURE // SIDE).hash
            found[way, at] = np.where(bits, 1, -1).ravel()
    return found


def alike(hashes: Hashes, others: Hashes) -> npt.NDArray[np.float32]:
    """Fraction of the frames of one of two videos that look like some frame of the other; the larger of both.

    Args:
        hashes: float32 [A, F, bits] of -1 and 1, or 0 for frames that are not compared.
        others: float32 [B, F, bits].

    Returns:
        float32 [A, B]; 0 for a video without frames that can be compared.
    """
    (a, count, bits), b = hashes.shape, len(others)
    same = (hashes.reshape(-1, bits) @ others.reshape(-1, bits).T).reshape(a, count, b, -1) >= bits - 2 * ALIKE
    first = same.any(3).sum(1) / np.maximum(hashes.any(2).sum(1), 1)[:, None]  # [A, B]
    second = same.any(1).sum(2) / np.maximum(others.any(2).sum(1), 1)
    larger: npt.NDArray[np.float32] = np.maximum(first, second).astype(np.float32)
    return larger


def find_duplicates(
    paths: Sequence[Path], *, workers: int | None = None, progress: bool = True
) -> tuple[list[Pair], list[Path]]:
    """Finds near-duplicates among videos. Every video is decoded once; each is compared with each.

    Args:
        paths: The files.
        workers: Threads that decode; None takes one per processor core.
        progress: Show progress bars.

    Returns:
        The pairs, the most alike first; and the videos that were not compared: they cannot be read, or have no frame
        with contrast.

    Raises:
        VidsslError: ImageHash is missing, or there are no videos.
    """
    imagehash()
    with tempfile.TemporaryDirectory(prefix="vidssl-duplicates-") as folder:
        write_list(Path(folder, "videos.csv"), [(str(path.resolve()), None, None) for path in paths])
        index = VideoIndex.build(Path(folder, "videos.csv"), workers=workers, progress=progress)
    of = {path.resolve(): path for path in paths}
    rows = index.usable()
    names = [of[index.root / path] for path in index.select(rows).column("path").to_pylist()]
    with Workers(workers or cpus(), "vidssl-hashes") as pool:
        waiting = [pool.submit(hash_frames, index.video(row)) for row in rows.tolist()]
        bar = tqdm(waiting, desc="hashes", unit="video", disable=None if progress else True)
        hashes = (
            np.stack([one.result() for one in bar]) if waiting else np.zeros((0, 2, FRAMES, SIDE * SIDE), np.float32)
        )
    found = []
    starts = range(0, len(names), _BLOCK)
    for one, other in combinations_with_replacement(starts, 2):
        block = hashes[one : one + _BLOCK, 0]
        plain, mirrored = (alike(block, hashes[other : other + _BLOCK, way]) for way in (0, 1))
        for a, b in np.argwhere(np.maximum(plain, mirrored) >= SHARE).tolist():
            if one + a < other + b:
                scores = float(plain[a, b]), float(mirrored[a, b])
                found.append(Pair(names[one + a], names[other + b], max(scores), scores[1] > scores[0]))
    compared = {name for name, video in zip(names, hashes, strict=True) if video.any()}
    skipped = [path for path in paths if path not in compared]
    return sorted(found, key=lambda pair: (-pair.alike, pair.first, pair.second)), skipped


def with_duplicates(dataset: Dataset, *, workers: int | None = None, progress: bool = True) -> Dataset:
    """Returns the data set with its near-duplicates.

    A pair is a problem if it can be on both sides of a split: one video in train_N and the other in test_N, say, or
    both in a part that is not split yet, without a common group. Other pairs are notes.

    Args:
        dataset: The data set.
        workers: Threads that decode; None takes one per processor core.
        progress: Show progress bars.

    Raises:
        VidsslError: ImageHash is missing, or no video exists.
    """
    places: dict[Path, list[tuple[str, Entry]]] = {}
    for part, entries in dataset.parts.items():
        for entry in entries:
            if entry.path is not None:
                places.setdefault(entry.path, []).append((part, entry))
    if not places:
        raise VidsslError(f"datasets: duplicates: none of the videos of {dataset.name} exist")
    pairs, skipped = find_duplicates(list(places), workers=workers, progress=progress)
    problems, notes = [], []
    for pair in pairs:
        first, second = places[pair.first], places[pair.second]
        both = [(one, other) for one, other in product(first, second) if _may_be_split(*one, *other)]
        named = " and ".join(f"{entry.name} ({part})" for part, entry in (both or [(first[0], second[0])])[0])
        text = f"{named} are near-duplicates: {pair.alike:.0%} of the frames are alike{', mirrored' * pair.mirrored}"
        if both:
            problems.append(f"{text}; keep one, or put both on one side (a common group)")
        else:
            notes.append(text)
    if skipped:
        notes.append(f"{len(skipped)} videos were not compared (not readable, or no contrast), such as {skipped[0]}")
    notes.append(f"near-duplicates: {len(pairs)} pairs among {len(places) - len(skipped)} videos")
    return replace(dataset, problems=[*dataset.problems, *problems], notes=[*dataset.notes, *notes])


def _may_be_split(part: str, entry: Entry, other_part: str, other: Entry) -> bool:
    """Whether two videos are, or may come to be, on both sides of one split."""
    if part == other_part:
        return part == WHOLE and (entry.group is None or entry.group != other.group)
    split, other_split = (re.search(r"_\d+$", name) for name in (part, other_part))
    return (split and split[0]) == (other_split and other_split[0])
