"""Features of whole videos: the mean over clips evenly spaced in time, with a centre crop or ten crops and without
augmentation.

Sources: 10 clips a video, centre crop: the retrieval and test protocol of VCOP (Xu et al., CVPR 2019, and the authors'
code). 25 frames a video, each with five crops (corners and centre) and their mirror images: the test of two-stream
networks, which OPN uses (its authors' code).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidssl.cpus import cpus
from vidssl.evaluate.layers import Pool, pooled
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.progress import progress_bar
from vidssl.settings import Settings
from vidssl.store.fill import Filler
from vidssl.store.frames import FrameStore
from vidssl.train.compute import torch_threads
from vidssl.types import Frames, VidsslError
from vidssl.video.decode import Video, decode
from vidssl.workers import Workers

Crops = Literal["centre", "ten"]
T = TypeVar("T")
_AT_ONCE = 64  # views in one forward pass of an encoder


class Features(NamedTuple):
    """One vector per video.

    Attributes:
        feature: float32 [V, D].
        label: V class names, None for a video without a label.
        row: int64 [V], the rows of the videos in the index.
        group: V names of groups, such as persons; None if each video is its own group.
    """

    feature: torch.Tensor
    label: list[str | None]
    row: npt.NDArray[np.int64]
    group: list[str] | None = None

    def groups(self) -> list[str]:
        """The group of each video; without groups, a name that no other video has."""
        return self.group if self.group is not None else [f"{row}" for row in self.row.tolist()]

    def take(self, places: npt.NDArray[np.int64]) -> Features:
        """The features at `places`, in that order."""
        chosen = places.tolist()
        group = None if self.group is None else [self.group[at] for at in chosen]
        return Features(
            self.feature[torch.from_numpy(places)], [self.label[at] for at in chosen], self.row[places], group
        )


@dataclass(frozen=True, kw_only=True)
class Clips(Settings):
    """Which clips of a video the encoder sees. They are evenly spaced from its first frame to its last.

    Args:
        count: Clips per video.
        length: Frames per clip.
        stride: Distance of the frames of a clip, in frames of the video.
        augment: Sizes, mean and standard deviation of the pictures.
        encode: Function of clips [N, 3, T, H, W] that returns the encoder's input; None passes the clips on.
        crops: Crops of each clip: "centre", or "ten" for the corners and the centre, and the same mirrored.
        store: Has frames that need no decoding, and the size of all others. None: frames are shown as decoded.
    """

    count: int = 10
    length: int = 16
    stride: int = 1
    augment: Augment
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None
    crops: Crops = "centre"
    store: FrameStore | None = None

    def __post_init__(self) -> None:
        for name in ("count", "length", "stride"):
            if getattr(self, name) < 1:
                raise VidsslError(f"Clips: {name}={getattr(self, name)!r}: take at least 1")

    @property
    def extent(self) -> int:
        """Number of frames that a clip spans, which a video must have at least."""
        return (self.length - 1) * self.stride + 1

    def numbers(self, frames: int) -> npt.NDArray[np.int64]:
        """Frame numbers int64 [count, length] for a video of `frames` frames. Clips of a short video overlap."""
        first = np.linspace(0, frames - self.extent, self.count).astype(np.int64)
        return first[:, None] + np.arange(self.length) * self.stride

    def read(self, video: Video, missed: Callable[[], None] | None = None) -> torch.Tensor:
        """Reads one video's clips: float32 [count * crops, 3, length, H, W], or the output of `encode` for them.

        missed: Called if the store lacks frames, which are then decoded.
        """
        numbers = self.numbers(video.frames)
        return self._show(numbers, self._frames(video, numbers, missed))

    def of_frames(self, frames: Frames) -> torch.Tensor:
        """Makes the clips of a video whose frames are all there, on the CPU. Returns what `read` returns."""
        whole = replace(frames, number=np.arange(len(frames.data)))
        return self._show(self.numbers(len(frames.data)), [whole] * self.count)

    def _show(self, numbers: npt.NDArray[np.int64], source: Sequence[Frames]) -> torch.Tensor:
        """The clips of frame numbers [count, length]. source: frames that each clip is found in."""
        size = source[0].size
        spec = PlanSpec(
            arrangements=np.arange(self.length, dtype=np.int32)[None, None],
            labels=np.zeros(1, np.int64),
            bases=1,
            length=self.length,
            stride=self.stride,
            augment=replace(self.augment, region=None),
        )
        one = plan(spec, frames=self.extent, size=size, seed=0, epoch=0, sample=0, train=False)
        box, flip = _ten(one.box, size) if self.crops == "ten" else (one.box, one.flip)
        color = np.repeat(one.color, len(box), axis=0)
        made = np.empty((self.count, len(box), 3, self.length, *self.augment.crop), np.float32)
        for clip, frames, out in zip(numbers, source, made, strict=True):
            where = np.searchsorted(frames.number, clip).astype(np.int32)
            shown = one._replace(frame=np.tile(where, (len(box), 1)), box=box, flip=flip, color=color)
            assemble(frames, shown, size=self.augment.crop, out=out, used_before=False)
        clips = torch.from_numpy(made).flatten(0, 1)
        return clips if self.encode is None else self.encode(clips)

    def _frames(self, video: Video, numbers: npt.NDArray[np.int64], missed: Callable[[], None] | None) -> list[Frames]:
        """The frames of each clip: kept ones, or decoded ones, which all other clips share."""
        if self.store is None:
            return [decode(video, np.unique(numbers))] * self.count
        kept = [self.store.read(video, int(clip[0]), self.extent) for clip in numbers]
        self.store.count_shown(len(kept), sum(frames is not None for frames in kept))
        if all(kept):
            return [frames for frames in kept if frames]
        if missed is not None:
            missed()
        decoded = self.store.decode(video, np.unique(numbers[[frames is None for frames in kept]]))
        return [frames or decoded for frames in kept]


def _ten(box: npt.NDArray[np.float32], size: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Boxes [10, T, 4] and flips [10] in a picture (height, width): corners and centre, then the same mirrored."""
    boxes = np.repeat(box, 5, axis=0)
    for at, (x, y) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        boxes[at, :, 0], boxes[at, :, 1] = x * (size[1] - boxes[at, :, 2]), y * (size[0] - boxes[at, :, 3])
    return np.concatenate([boxes, boxes]), np.repeat(np.array([0, 1], np.uint8), 5)


def single_frames(clips: torch.Tensor) -> torch.Tensor:
    """Clips of one frame [N, 3, 1, H, W] as pictures [N, 3, H, W], the input of an image model (`Clips.encode`)."""
    return clips.squeeze(2)


@torch.no_grad()
def extract(
    encoders: Sequence[nn.Module],
    index: VideoIndex,
    clips: Clips,
    *,
    pool: Pool = "avg",
    layer: str | None = None,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    progress: bool = True,
) -> list[Features]:
    """Computes the features of every usable video with several encoders, which see the same clips.

    A video's feature is the mean over its clips, in float32. Videos shorter than a clip are left out.

    Args:
        encoders: The encoders.
        index: The videos.
        clips: Which clips of a video the encoders see.
        pool: How a feature is made of a layer's output, see vidssl.evaluate.layers.pooled.
        layer: Name of the layer; None takes the last map.
        device: Where the encoders compute.
        workers: Threads that decode; None takes one per processor core.
        progress: Show a progress bar.

    Returns:
        One `Features` per encoder.

    Raises:
        VidsslError: No video is long enough, or a video cannot be read.
    """
    rows = index.usable(clips.extent)
    if not len(rows):
        raise VidsslError(
            f"evaluate: index: none of its {len(index)} videos has the {clips.extent} frames of a clip; "
            + index.why_none(clips.extent)
        )
    for encoder in encoders:
        encoder.to(device).eval()
    found: list[list[torch.Tensor]] = [[] for _ in encoders]
    bar = progress_bar(
        prefetch_videos(index, rows, clips.store, lambda _, video, missed: clips.read(video, missed), workers),
        total=len(rows),
        desc="features",
        unit="video",
        show=progress,
    )
    with torch_threads(None):
        for shown in bar:
            views = shown.to(device)
            for encoder, features in zip(encoders, found, strict=True):
                parts = [pooled(encoder, part, pool, layer) for part in views.split(_AT_ONCE)]
                features.append(torch.cat(parts).float().mean(dim=0).cpu())
    return [described(torch.stack(features), index, rows) for features in found]


def described(feature: torch.Tensor, index: VideoIndex, rows: npt.NDArray[np.int64]) -> Features:
    """Features [V, D] of V rows of an index, with the labels and groups of the index."""
    chosen = index.select(rows)
    label, group, path = (chosen.column(name).to_pylist() for name in ("label", "group", "path"))
    return Features(feature, label, rows, [one or name for one, name in zip(group, path, strict=True)])


Read = Callable[[int, Video, Callable[[], None] | None], T]


def prefetch_videos(
    index: VideoIndex, rows: npt.NDArray[np.int64], store: FrameStore | None, read: Read[T], workers: int | None = None
) -> Iterator[T]:
    """What `read` returns for the video of each row, in order. Worker threads prefetch a few videos.

    Args:
        index: The videos.
        rows: int64 [V], rows of the index.
        store: Where frames come from; what it lacks is kept in the background. None: from the files alone.
        read: Function of the row, its video, and what to call if the store lacks frames.
        workers: Threads; None takes one per processor core.
    """
    with ExitStack() as stack:
        filler = stack.enter_context(closing(Filler(store, index))) if store is not None and store.keeps else None

        def one(row: int) -> T:
            return read(row, index.video(row), None if filler is None else partial(filler.ask, row, "frames"))

        yield from prefetch(rows, one, workers)


def prefetch(rows: npt.NDArray[np.int64], read: Callable[[int], T], workers: int | None = None) -> Iterator[T]:
    """What `read` returns for each row, in order. Worker threads prefetch a few."""
    count = workers or cpus()
    with Workers(count, "vidssl-features") as pool:
        waiting: deque[Future[T]] = deque()
        for row in rows.tolist():
            waiting.append(pool.submit(read, row))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
