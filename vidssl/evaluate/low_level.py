"""Low-level features of a whole video: what a classifier reaches without any encoder.

An encoder that does not beat them has learnt nothing that five lines of arithmetic do not know.

| name | what it is |
|---|---|
| frame difference | where and when the picture changes: mean absolute difference of luma in GRID cells |
| colour histogram | which colours there are: fractions of Y, Cb and Cr in BINS bins each |
| optical flow | where, when and in which direction it moves: histograms of Farneback's flow (needs OpenCV) |

All of them see every frame, reduced to SIZE, and average over STRETCHES equal stretches of time. A stretch of more than
LONGEST frames is represented by its middle.

Source of the flow histograms: Laptev et al., "Learning realistic human actions from movies", CVPR 2008 (histograms of
optical flow with a bin for no motion).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidssl.evaluate.cache import read_features, save_features, text_key
from vidssl.evaluate.features import Features, described, prefetch
from vidssl.evaluate.logistic import standardise
from vidssl.evaluate.result import Numbers
from vidssl.evaluate.run import TrainedRun
from vidssl.evaluate.splits import Splits
from vidssl.index.holdout import fingerprint
from vidssl.index.table import VideoIndex
from vidssl.kernels.reduce import reduce
from vidssl.paths import output_path
from vidssl.progress import progress_bar
from vidssl.store.frames import FrameStore
from vidssl.video.decode import Video, decode

SIZE = (72, 96)  # (height, width) in pixels of the frames
GRID = (18, 24)  # cells of the frame difference
STRETCHES = 4
LONGEST = 64  # frames of a stretch that are seen
BINS = 16  # of a channel's histogram
FLOW_GRID = (3, 4)  # cells of the flow histograms
DIRECTIONS = 8  # bins of a flow histogram, beside the one for no motion
STILL = 0.25  # pixels of SIZE; flow shorter than that counts as no motion
VERSION = 1  # of these definitions; cached features of another version are not read

Planes = npt.NDArray[np.uint8]


def frame_difference(stretches: list[Planes]) -> npt.NDArray[np.float32]:
    """Log of the mean absolute difference of luma in each cell [STRETCHES * rows * columns of GRID]."""
    rows, cols = (side // cells for side, cells in zip(SIZE, GRID, strict=True))
    found = []
    for planes in stretches:
        luma = planes[:, : SIZE[0]].astype(np.int16)
        change = np.abs(np.diff(luma, axis=0)).reshape(-1, GRID[0], rows, GRID[1], cols)
        found.append(change.mean(axis=(0, 2, 4)) if len(change) else np.zeros(GRID))
    return np.log(np.stack(found) + 0.1).astype(np.float32).ravel()


def colour_histogram(stretches: list[Planes]) -> npt.NDArray[np.float32]:
    """Fractions of the values of Y, Cb and Cr in equal bins [STRETCHES * 3 * BINS]."""
    found = []
    for planes in stretches:
        chroma = planes[:, SIZE[0] :].reshape(len(planes), 2, -1)
        for values in (planes[:, : SIZE[0]], chroma[:, 0], chroma[:, 1]):
            counts = np.bincount(values.ravel() // (256 // BINS), minlength=BINS)
            found.append(counts / counts.sum())
    return np.concatenate(found).astype(np.float32)


def flow_histogram(stretches: list[Planes]) -> npt.NDArray[np.float32]:
    """Square roots of the fractions of motion by cell and direction [STRETCHES * cells * (DIRECTIONS + 1)].

    A pixel counts with the length of its flow; one that hardly moves counts with STILL, in the last bin.
    """
    import cv2

    rows, cols = (side // cells for side, cells in zip(SIZE, FLOW_GRID, strict=True))
    cell = (np.arange(SIZE[0])[:, None] // rows) * FLOW_GRID[1] + np.arange(SIZE[1])[None] // cols
    kinds, cells = DIRECTIONS + 1, FLOW_GRID[0] * FLOW_GRID[1]
    found = []
    for planes in stretches:
        sums = np.full(cells * kinds, 1e-6)
        luma = np.ascontiguousarray(planes[:, : SIZE[0]])
        for before, after in pairwise(luma):
            flow: Any = np.zeros((*SIZE, 2), np.float32)
            flow = cv2.calcOpticalFlowFarneback(
                before, after, flow, pyr_scale=0.5, levels=3, winsize=9, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
            )
            length = np.hypot(flow[..., 0], flow[..., 1])
            angle = np.arctan2(flow[..., 1], flow[..., 0]) % (2 * np.pi)
            direction = np.minimum((angle * DIRECTIONS / (2 * np.pi)).astype(np.int64), DIRECTIONS - 1)
            kind = np.where(length < STILL, DIRECTIONS, direction)
            sums += np.bincount(
                (cell * kinds + kind).ravel(), np.maximum(length, STILL).ravel(), minlength=cells * kinds
            )
        found.append(np.sqrt(sums / sums.sum()))
    return np.concatenate(found).astype(np.float32)


KINDS: dict[str, Callable[[list[Planes]], npt.NDArray[np.float32]]] = {
    "frame difference": frame_difference,
    "colour histogram": colour_histogram,
    "optical flow": flow_histogram,
}


def has_flow() -> bool:
    """Whether OpenCV is installed, which the flow histograms need."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


def stretches_of(video: Video, store: FrameStore | None = None) -> list[Planes]:
    """Returns the frames of each stretch, reduced to SIZE: uint8 [F, 3 * height / 2, width] each.

    A stretch begins with the last frame of the one before, so that no difference is lost.

    Args:
        video: The video.
        store: Has frames that need no decoding, if its size is native. The planes are the same.
    """
    edges = np.linspace(0, video.frames - 1, STRETCHES + 1).round().astype(np.int64)
    ranges = []
    for first, last in pairwise(edges.tolist()):
        count = min(last - first + 1, LONGEST)
        start = first + (last - first + 1 - count) // 2
        ranges.append(np.arange(start, start + count))
    if store is not None and store.size == "native":
        kept = [store.read(video, int(each[0]), len(each)) for each in ranges]
        if not any(frames is None for frames in kept):
            return [np.asarray(reduce(frames, SIZE).data) for frames in kept if frames is not None]
    numbers = np.unique(np.concatenate(ranges))
    planes = np.asarray(reduce(decode(video, numbers), SIZE).data)
    return [planes[np.searchsorted(numbers, each)] for each in ranges]


def low_level_features(
    folder: Path,
    index: VideoIndex,
    rows: npt.NDArray[np.int64],
    *,
    store: FrameStore | None = None,
    progress: bool = True,
    keep: bool = True,
) -> dict[str, Features]:
    """Low-level features of videos, by name of KINDS. They are cached in `folder`.

    Without OpenCV, "optical flow" is missing.

    Args:
        folder: Folder of the cache.
        index: The videos.
        rows: int64 [V], rows of the index.
        store: As in `stretches_of`.
        progress: Show a progress bar.
        keep: Add to the cache what it lacks.

    Returns:
        Name to features float32 [V, D].

    Raises:
        VidsslError: A video cannot be read, or the cache cannot be written.
    """
    kinds = {name: make for name, make in KINDS.items() if name != "optical flow" or has_flow()}
    shown = (fingerprint(index), rows.tolist())
    paths = {name: folder / f"{text_key('low level', VERSION, name, *shown)}.safetensors" for name in kinds}
    found = {name: read_features(path, index, rows) for name, path in paths.items()}
    missing = [name for name, features in found.items() if features is None]
    if missing:

        def read(row: int) -> list[npt.NDArray[np.float32]]:
            seen = stretches_of(index.video(row), store)
            return [kinds[name](seen) for name in missing]

        bar = progress_bar(
            prefetch(rows, read),
            total=len(rows),
            desc="low-level features",
            unit="video",
            show=progress,
        )
        for name, values in zip(missing, zip(*bar, strict=True), strict=True):
            feature = torch.from_numpy(np.stack(values))
            if keep:
                save_features(paths[name], feature, index.select(rows).column("path").to_pylist())
            found[name] = described(feature, index, rows)
    return {name: features for name, features in found.items() if features is not None}


class Baselines:
    """Low-level features of the videos of an evaluation, standardised on the training videos. Cached in RUN/features.

    Args:
        run: The run; nothing is added to the cache unless `run.keeps`.
        data: The videos.
        train: Features of an encoder; the same training videos are taken, so that the rows of a table compare.
        test: Likewise, of the test videos.
        progress: Show a progress bar.

    Attributes:
        pairs: Name to features of the training videos and of the test videos.
    """

    def __init__(
        self, run: TrainedRun, data: Splits, train: Features, test: Features, *, progress: bool = True
    ) -> None:
        folder = output_path(run.folder, "features")
        make = partial(low_level_features, folder, store=run.store, progress=progress, keep=run.keeps)
        learnt = make(data.train, train.row)
        asked = learnt if data.leave_group_out else make(data.test, test.row)
        self.pairs: dict[str, tuple[Features, Features]] = {}
        for name, one in learnt.items():
            x, y = standardise(one.feature, asked[name].feature)
            self.pairs[name] = one._replace(feature=x), asked[name]._replace(feature=y)

    def notes(self, numbers: Numbers) -> tuple[str, ...]:
        """Says where low-level features are as good as the trained encoder or better, and what is missing."""
        found = []
        for column, trained in numbers["trained"].items():
            value, name = max((numbers[name][column].value, name) for name in self.pairs)
            if value >= trained.value:
                found.append(f"{column} ({name} {100 * value:.1f}, trained {100 * trained.value:.1f})")
        notes = []
        if found:
            notes.append(f"Low-level features are as good as the trained encoder or better in {', '.join(found)}.")
        if "optical flow" not in self.pairs:
            notes.append("Optical flow is not compared; pip install opencv-python-headless adds it.")
        return tuple(notes)
