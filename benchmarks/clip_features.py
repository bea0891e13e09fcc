"""Features of clips, for bench_why: after each layer, as a mean and as a grid, and what they consist of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from vidssl.evaluate.confidence import name_ids
from vidssl.evaluate.features import Clips, Features, described, prefetch_videos
from vidssl.evaluate.knn import label_ids
from vidssl.evaluate.layers import Pool, find_layer, pool_output
from vidssl.evaluate.scaling import rescale
from vidssl.index.table import VideoIndex
from vidssl.models import Encoder
from vidssl.train.watch import rank_me

LAYERS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3")
LAST = LAYERS[-1]
POOLS: tuple[Pool, ...] = ("avg", "map")
SHOWN = 8  # videos whose clips are one batch when batch norm's statistics are computed anew


class Seen(NamedTuple):
    """Features of the clips of videos, by layer and pooling.

    clip: (layer, pool) to float32 [V, N, D]. about: labels, groups and rows of the V videos; it has no features.
    """

    clip: Mapping[tuple[str, str], torch.Tensor]
    about: Features

    def video(
        self, layer: str, pool: str, mean: Callable[[torch.Tensor], torch.Tensor] = lambda x: x.mean(1)
    ) -> Features:
        """One feature a video, made by `mean` of those of its clips [V, N, D]."""
        return self.about._replace(feature=mean(self.clip[layer, pool]))


def clips_of(index: VideoIndex, clips: Clips) -> Iterator[torch.Tensor]:
    """The clips of each usable video: the encoder's input [N, C, T, H, W]."""
    rows = index.usable(clips.extent)
    return prefetch_videos(index, rows, clips.store, lambda _, video, missed: clips.read(video, missed), workers=1)


@torch.no_grad()
def seen(encoders: Mapping[str, Encoder], index: VideoIndex, clips: Clips) -> dict[str, Seen]:
    """What each encoder gives of the clips of every usable video, after each layer, as a mean and as a grid."""
    found: dict[str, dict[tuple[str, str], list[torch.Tensor]]] = {name: {} for name in encoders}
    for views in tqdm(clips_of(index, clips), desc="features", leave=False, disable=None):
        for name, encoder in encoders.items():
            for layer, output in outputs(encoder.eval(), views).items():
                for pool in POOLS:
                    found[name].setdefault((layer, pool), []).append(pool_output(output, pool))
    rows = index.usable(clips.extent)
    about = described(torch.empty(len(rows), 0), index, rows)
    return {name: Seen({key: torch.stack(x) for key, x in parts.items()}, about) for name, parts in found.items()}


def outputs(encoder: Encoder, views: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output of each layer of LAYERS in one pass."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            found[name] = output.clone()  # the next layer may write into it

        return hook

    hooks = [find_layer(encoder, name).register_forward_hook(keep(name)) for name in LAYERS]
    encoder.forward_map(views)
    for one in hooks:
        one.remove()
    return found


@torch.no_grad()
def recalibrated(encoder: Encoder, index: VideoIndex, clips: Clips, seed: int) -> Encoder:
    """A copy whose batch norms have the mean and variance of these videos' clips, over batches of SHOWN videos."""
    fresh = copy.deepcopy(encoder).train()
    for part in fresh.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)):
            part.reset_running_stats()
            part.momentum = None  # the mean over all batches
    index = index.select(np.random.default_rng(seed).permutation(len(index)))
    waiting: list[torch.Tensor] = []
    for views in clips_of(index, clips):
        waiting.append(views)
        if len(waiting) == SHOWN:
            fresh.forward_map(torch.cat(waiting))
            waiting = []
    if waiting:
        fresh.forward_map(torch.cat(waiting))
    return fresh.eval()


def explained(x: torch.Tensor, ids: torch.Tensor, *, lost: int = 1) -> float:
    """Fraction of the variance of x [N, D] between the groups of rows with the ids 0, 1 ... beyond what chance gives.

    lost: Degrees of freedom that were taken from x before. Source: the adjusted R^2 (Ezekiel, 1930).
    """
    count, kinds = len(x), int(ids.max()) + 1
    member = functional.one_hot(ids, kinds).to(x.dtype)
    mean = (member.T @ x) / member.sum(0)[:, None]
    within = (x - mean[ids]).square().sum() / (x - x.mean(0)).square().sum()
    return float(1 - within * (count - lost) / (count - lost - kinds + 1))


def facts(found: Seen) -> dict[str, float]:
    """What the features of the last map consist of: all numbers are fractions, but for the ranks."""
    clip = found.clip[LAST, "avg"].double()
    videos, clips, _ = clip.shape
    video = clip.mean(1)
    scaled = rescale("standardise", video, video)[0]
    (label,), (group,) = label_ids(found.about), name_ids(found.about.groups())
    number = torch.arange(clips).repeat(videos)
    moved = (clip - video[:, None]).flatten(0, 1)  # within each video
    unit = functional.normalize(video, dim=1)
    varied = clip.flatten(0, 1)
    return {
        "common mean": float(unit.mean(0).square().sum()),  # the mean cosine of two videos
        "rank": rank_me(video),
        "rank without the mean": rank_me(video - video.mean(0)),
        "varies within videos": float(moved.square().sum() / (varied - varied.mean(0)).square().sum()),
        "of that by place in the video": explained(moved, number, lost=videos),
        "between videos by class": explained(video, label),
        "between videos by group": explained(video, group) if int(group.max()) + 1 < videos else 0.0,
        "standardised, by class": explained(scaled, label),
    }
