"""Features of whole videos: the mean over clips evenly spaced in time, centre crop, no augmentation.

Source: the retrieval and test protocol of VCOP (Xu et al., CVPR 2019, and the authors' code): 10 clips a video.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from tqdm import tqdm

from vidssl.models import Encoder
from vidssl.stages.assemble import assemble
from vidssl.stages.decode import Video, decode
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import Augment, PlanSpec, plan
from vidssl.train.device import torch_threads
from vidssl.types import VidsslError

Pool = Literal["mean", "max"]


class Features(NamedTuple):
    """One vector a video. feature: float32 [V, D]; label: names, None where the video has none; row: int64 [V] of the index."""

    feature: torch.Tensor
    label: list[str | None]
    row: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Which clips stand for a video: `count` clips of `length` frames, `stride` apart, evenly spaced from its first frame to its last.

    encode: what an encoder is to see of clips [N, 3, T, H, W]; None: themselves.
    """

    count: int = 10
    length: int = 16
    stride: int = 1
    augment: Augment
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        for name in ("count", "length", "stride"):
            if getattr(self, name) < 1:
                raise VidsslError(f"Clips: {name}={getattr(self, name)!r}: take at least 1")

    @property
    def extent(self) -> int:
        """Frames from the first to one past the last of a clip: the fewest a video must have."""
        return (self.length - 1) * self.stride + 1

    def numbers(self, frames: int) -> npt.NDArray[np.int64]:
        """Frame numbers int64 [count, length] in a video of `frames` frames; clips of a short video overlap."""
        first = np.linspace(0, frames - self.extent, self.count).astype(np.int64)
        return first[:, None] + np.arange(self.length) * self.stride

    def read(self, video: Video) -> torch.Tensor:
        """Decode one video's clips, each cut from the centre: float32 [count, 3, length, H, W], or what `encode` makes of them."""
        numbers = self.numbers(video.frames)
        frames = decode(video, np.unique(numbers))
        spec = PlanSpec(
            arrangements=np.arange(self.length, dtype=np.int32)[None, None],
            labels=np.zeros(1, np.int64),
            bases=1,
            length=self.length,
            stride=self.stride,
            augment=replace(self.augment, region=None),
        )
        one = plan(spec, frames=self.extent, size=frames.size, seed=0, epoch=0, sample=0, train=False)
        shown = one._replace(
            frame=np.searchsorted(frames.number, numbers).astype(np.int32),
            box=np.repeat(one.box, self.count, axis=0),
            flip=np.repeat(one.flip, self.count, axis=0),
            color=np.repeat(one.color, self.count, axis=0),
        )
        made = torch.from_numpy(assemble(frames, shown, size=self.augment.crop))
        return made if self.encode is None else self.encode(made)


def pooled(encoder: Encoder, clips: torch.Tensor, pool: Pool) -> torch.Tensor:
    """clips [N, 3, T, H, W] to features [N, D]: "mean" of the last map; "max": VCOP's 1x2x2 max pooling of it, flattened (9216 for R3D)."""
    if pool == "mean":
        feature: torch.Tensor = encoder(clips)
        return feature
    last = encoder.forward_map(clips)
    if min(last.shape[-2:]) < 2:
        raise VidsslError(
            f"pool='max': the encoder's last map is only {last.shape[-2]} x {last.shape[-1]}; take pool=mean, or a larger crop"
        )
    return functional.max_pool3d(last, (1, 2, 2)).flatten(1)


@torch.no_grad()
def extract(
    encoders: Sequence[Encoder], index: VideoIndex, clips: Clips, *, pool: Pool = "mean", device: torch.device | str = "cpu",
    workers: int | None = None, progress: bool = True,
) -> list[Features]:  # fmt: skip
    """Features of every usable video for each of the encoders, which see the same clips. Videos shorter than a clip are left out.

    A video's feature is the mean over its clips, in float32. Raises VidsslError where no video is long enough or one cannot be read.
    """
    rows = index.usable(clips.extent)
    if not len(rows):
        raise VidsslError(f"evaluate: index: none of its {len(index)} videos has the {clips.extent} frames of a clip")
    for encoder in encoders:
        encoder.to(device).eval()
    found: list[list[torch.Tensor]] = [[] for _ in encoders]
    bar = tqdm(_ahead(index, rows, clips, workers), total=len(rows), desc="features", unit="video", disable=None if progress else True)
    with torch_threads(None):
        for shown in bar:
            for encoder, features in zip(encoders, found, strict=True):
                features.append(pooled(encoder, shown.to(device), pool).mean(dim=0).cpu())
    labels = index.select(rows).column("label").to_pylist()
    return [Features(torch.stack(features), labels, rows) for features in found]


def _ahead(index: VideoIndex, rows: npt.NDArray[np.int64], clips: Clips, workers: int | None) -> Iterator[torch.Tensor]:
    """The clips of each row in order, read by threads a few videos ahead."""
    count = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count, thread_name_prefix="vidssl-features") as pool:
        waiting: deque[Future[torch.Tensor]] = deque()
        try:
            for row in rows.tolist():
                waiting.append(pool.submit(clips.read, index.video(row)))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for job in waiting:
                job.cancel()
