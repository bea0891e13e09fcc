"""Retrieval: is one of the k nearest videos of the same class? No training, so it measures the feature itself.

Source: the protocol of Buechler et al., ECCV 2018, as VCOP (Xu et al., CVPR 2019) uses it: cosine distance, queries from the test
videos, neighbours from the training videos, a hit where any of the k neighbours has the query's class.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from vidssl.device import pick_device
from vidssl.evaluate.features import Clips, Features, Pool, extract
from vidssl.evaluate.trained import trained_encoder, untrained_encoder
from vidssl.stages.index import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.split import fingerprint, split
from vidssl.types import VidsslError

KS = (1, 5, 10, 20, 50)


class Table(NamedTuple):
    """Share of queries with a hit among k neighbours, for each k; `chance`: the same for neighbours drawn at random."""

    trained: dict[int, float]
    untrained: dict[int, float]
    chance: dict[int, float]
    queries: int
    gallery: int
    protocol: str

    def text(self) -> str:
        """For people, in percent."""
        ks = sorted(self.trained)
        head = f"{'clip retrieval, %':20s}" + "".join(f"{f'R@{k}':>8s}" for k in ks)
        rows = [
            f"{name:20s}" + "".join(f"{100 * values[k]:8.1f}" for k in ks)
            for name, values in (("trained", self.trained), ("untrained", self.untrained), ("chance", self.chance))
        ]
        return "\n".join([head, *rows, f"{self.queries} queries, {self.gallery} videos to find; {self.protocol}"])


@torch.no_grad()
def retrieval(query: Features, gallery: Features | None = None, ks: Sequence[int] = KS, *, chunk: int = 1024) -> dict[int, float]:
    """k to the share of queries for which one of the k nearest by cosine has the query's class.

    gallery: None looks for neighbours among the queries themselves; a video is not its own neighbour.
    Raises VidsslError where a label is missing or k is larger than what can be found.
    """
    query_label, label = _codes(query, gallery)
    among = query if gallery is None else gallery
    limit = len(among.label) - (gallery is None)
    if not ks or min(ks) < 1 or max(ks) > limit:
        raise VidsslError(f"retrieval: ks={tuple(ks)}: take numbers in 1..{limit}, as many videos can be found")
    queries, videos = functional.normalize(query.feature.float(), dim=1), functional.normalize(among.feature.float(), dim=1)
    hits = dict.fromkeys(ks, 0)
    for start in range(0, len(queries), chunk):
        near = queries[start : start + chunk] @ videos.T  # [q, V]
        if gallery is None:
            near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -torch.inf
        right = label[near.topk(max(ks)).indices] == query_label[start : start + chunk, None]  # [q, max k]
        for k in ks:
            hits[k] += int(right[:, :k].any(dim=1).sum())
    return {k: hits[k] / len(queries) for k in ks}


def chance(query: Features, gallery: Features | None = None, ks: Sequence[int] = KS) -> dict[int, float]:
    """What `retrieval` gives on average for neighbours drawn at random: 1 - C(V - m, k) / C(V, k) for m of V videos of the class."""
    query_label, label = _codes(query, gallery)
    own = int(gallery is None)
    count, total = Counter(label.tolist()), len(label) - own
    return {k: sum(1 - comb(total - count[c] + own, k) / comb(total, k) for c in query_label.tolist()) / len(query_label) for k in ks}


def _codes(query: Features, gallery: Features | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels of both as numbers of one numbering."""
    among = query if gallery is None else gallery
    names = [*query.label, *among.label]
    if None in names:
        raise VidsslError("retrieval: label: some videos have none; put each class's videos into a folder of its name, and index it anew")
    codes = {name: code for code, name in enumerate(sorted(set(names), key=str))}
    return torch.tensor([codes[name] for name in query.label]), torch.tensor([codes[name] for name in among.label])


def evaluate_retrieval(
    run: Path, index: VideoIndex, *, gallery: VideoIndex | None = None, ks: Sequence[int] = KS, clips: int = 10, pool: Pool = "mean",
    device: str = "auto", out: Path | None = None, progress: bool = True,
) -> Table:  # fmt: skip
    """Compare a run's encoder with the untrained one of the same seed.

    run: a run folder (its newest checkpoint) or a checkpoint. gallery: where to look for neighbours of the videos of `index`. None:
    where `index` is what the run was trained on, its held-out videos are the queries and the others the gallery; else every video is
    looked up among all others. ks: those larger than the gallery are left out. out: JSON file, RUN/retrieval.json if None.
    """
    path = checkpoint.find(run)
    encoder, recipe = trained_encoder(path)
    query, among, protocol = _parts(index, gallery, recipe, checkpoint.load_meta(path)["data"])
    plan, encode = recipe.pretext.plan, recipe.pretext.encode
    setting = Clips(count=clips, length=plan.times, stride=plan.stride, augment=plan.augment, encode=encode)
    encoders = [encoder, untrained_encoder(recipe)]
    queries = extract(encoders, query, setting, pool=pool, device=pick_device(device), progress=progress)
    found = [None, None] if among is None else extract(encoders, among, setting, pool=pool, device=pick_device(device), progress=progress)
    size = len((found[0] or queries[0]).label)
    few = [k for k in ks if k <= size - (among is None)]
    table = Table(
        trained=retrieval(queries[0], found[0], few),
        untrained=retrieval(queries[1], found[1], few),
        chance=chance(queries[0], found[0], few),
        queries=len(queries[0].label),
        gallery=size,
        protocol=protocol,
    )
    about: dict[str, Any] = {
        **table._asdict(), "checkpoint": str(path), "clips": clips, "pool": pool, "recipe": recipe.as_dict(), "data": fingerprint(index)
    }  # fmt: skip
    target = out if out is not None else (run if path == run else path.resolve().parents[1]) / "retrieval.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(about, indent=1) + "\n")
    except OSError as error:
        raise VidsslError(f"evaluate: out={str(target)!r}: {error.strerror or error}; name a file that can be written") from error
    return table


def _parts(index: VideoIndex, gallery: VideoIndex | None, recipe: Recipe, data: str) -> tuple[VideoIndex, VideoIndex | None, str]:
    """(queries, gallery or None, what was done)."""
    if gallery is not None:
        return index, gallery, "queries and gallery as given"
    if recipe.train.holdout and fingerprint(index) == data:
        span = recipe.pretext.plan.frames
        rest, held = split(index, recipe.train.holdout, seed=recipe.train.seed, group=recipe.train.group, span=span)
        return held, rest, "held-out videos looked up among those trained on"
    return index, None, "every video looked up among all others"
