"""The attentive probe: a small transformer on the last map of a frozen encoder.

A linear probe sees the mean of the map; the attentive probe learns where and when to look. One query attends to all
positions of the map (depth 1), after depth - 1 blocks in which the positions attend to each other. It is trained with
several learning rates and weight decays; a quarter of the training videos, in whole groups, chooses among them.

Source: the frozen evaluation of V-JEPA (Bardes et al., 2024) and V-JEPA 2 (Assran et al., 2025): cross attention with
one learnt query, AdamW, cosine to zero, 20 epochs, a sweep of learning rates and weight decays, predictions averaged
over several clips. Ours: the map's channels are standardised, because convolutions have no norm at their end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Estimate, gain, name_ids, proportion
from vidssl.evaluate.features import Clips, described, prefetch_videos
from vidssl.evaluate.layers import layer_output
from vidssl.evaluate.logistic import set_aside
from vidssl.evaluate.probe import LARGEST_CLASS, Predictions, majority_fraction
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View, size_notes
from vidssl.evaluate.splits import Splits, group_folds
from vidssl.index.table import VideoIndex
from vidssl.models import Encoder
from vidssl.progress import progress_bar
from vidssl.settings import Settings
from vidssl.train.compute import torch_threads
from vidssl.types import VidsslError

FOLDS = 5  # of whole groups, with leave_group_out
_AT_ONCE = 64  # clips in one forward pass of an encoder
_HEAD = 64  # channels of an attention head


@dataclass(frozen=True, kw_only=True)
class Attentive(Settings, owner="evaluate attentive"):
    """How the probe is made and trained.

    Args:
        depth: Blocks: 1 is the query alone; 4 is V-JEPA 2's.
        lrs: Learning rates to try.
        weight_decays: Weight decays to try.
        epochs: Passes over the clips of the training videos.
        batch_size: Clips in a step.
        seed: Of the weights, and of the order of the clips.
    """

    depth: int = 1
    lrs: tuple[float, ...] = (3e-3, 1e-3, 3e-4)
    weight_decays: tuple[float, ...] = (0.01, 0.4)
    epochs: int = 20
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, good, fix in (
            ("depth", 1 <= self.depth <= 4, "take 1 to 4"),
            ("lrs", bool(self.lrs) and min(self.lrs) > 0, "take numbers > 0"),
            ("weight_decays", bool(self.weight_decays) and min(self.weight_decays) >= 0, "take numbers >= 0"),
            ("epochs", self.epochs >= 1, "take at least 1"),
            ("batch_size", self.batch_size >= 1, "take at least 1"),
        ):
            if not good:
                raise VidsslError(f"evaluate attentive: {name}={getattr(self, name)!r}: {fix}")


DEFAULT = Attentive()


class AttentivePool(nn.Module):
    """Maps positions [N, L, D] to logits [N, classes].

    Args:
        features: Channels D of the map.
        classes: Number of classes.
        depth: Number of blocks; the last one is the query's.
    """

    def __init__(self, features: int, classes: int, depth: int) -> None:
        super().__init__()
        heads = max(1, features // _HEAD)
        while features % heads:
            heads -= 1
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                features, heads, 4 * features, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth - 1)
        )
        self.query = nn.Parameter(torch.randn(1, 1, features) * 0.02)
        self.norm = nn.LayerNorm(features)
        self.attend = nn.MultiheadAttention(features, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features)
        )
        self.classify = nn.Linear(features, classes)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Computes logits [N, classes] of positions [N, L, D]."""
        for block in self.blocks:
            positions = block(positions)
        seen, query = self.norm(positions), self.query.expand(len(positions), -1, -1)
        query = query + self.attend(query, seen, seen, need_weights=False)[0]
        query = query + self.mlp(query)
        out: torch.Tensor = self.classify(query[:, 0])
        return out


class Maps(NamedTuple):
    """The last maps of V videos with N clips each.

    Attributes:
        positions: float16 [V, N, L, D].
        label: V class names.
        group: V names of groups; a video without a group is one by itself.
    """

    positions: torch.Tensor
    label: list[str]
    group: list[str]


@torch.no_grad()
def last_maps(
    encoders: Mapping[str, nn.Module],
    index: VideoIndex,
    clips: Clips,
    *,
    layer: str | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> dict[str, Maps]:
    """Computes the last map of every usable video's clips, by name of the encoder.

    Args:
        encoders: The encoders.
        index: Labelled videos.
        clips: Which clips.
        layer: Name of another layer than the last map.
        device: Where the encoders compute.
        progress: Show a progress bar.

    Raises:
        VidsslError: No video is long enough, one cannot be read, or a label is missing.
    """
    rows = index.usable(clips.extent)
    if not len(rows):
        raise VidsslError(
            f"evaluate attentive: none of the {len(index)} videos has the {clips.extent} frames of a clip"
        )
    about = described(torch.empty(len(rows), 0), index, rows)
    labels = [label for label in about.label if label is not None]
    if len(labels) < len(rows):
        raise VidsslError(
            "evaluate attentive: label: some videos have none; give a .csv with the columns path,label[,group]"
        )
    for encoder in encoders.values():
        encoder.to(device).eval()
    found: dict[str, list[torch.Tensor]] = {name: [] for name in encoders}
    with torch_threads(None):
        for shown in progress_bar(
            prefetch_videos(index, rows, clips.store, lambda _, video, missed: clips.read(video, missed)),
            total=len(rows),
            desc="maps",
            unit="video",
            show=progress,
        ):
            for name, encoder in encoders.items():
                parts = [_positions(encoder, part.to(device), layer) for part in shown.split(_AT_ONCE)]
                found[name].append(torch.cat(parts).half().cpu())
    return {name: Maps(torch.stack(parts), labels, about.groups()) for name, parts in found.items()}


def _positions(encoder: nn.Module, clips: torch.Tensor, layer: str | None) -> torch.Tensor:
    """The map of each clip as positions [N, L, D]; a vector is one position."""
    if layer is not None:
        output = layer_output(encoder, clips, layer)
    elif isinstance(encoder, Encoder):
        output = encoder.forward_map(clips)
    else:
        raise VidsslError("evaluate attentive: only vidssl's encoders have a last map; name a layer")
    return output.flatten(2).transpose(1, 2) if output.dim() > 2 else output[:, None]


def attentive_probe(
    train: Maps,
    test: Maps,
    how: Attentive = DEFAULT,
    *,
    leave_group_out: bool = False,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Predictions:
    """Predictions for the test videos by an attentive probe on the training videos.

    Args:
        train: Maps of the training videos.
        test: Maps of the test videos.
        how: How the probe is made and trained.
        leave_group_out: The test videos are the training videos; each of FOLDS sets of groups is predicted by the rest.
        device: Where the probe is trained.
        progress: Show a progress bar.

    Raises:
        VidsslError: There are fewer than two classes.
    """
    classes = sorted({*train.label, *test.label})
    if len(set(train.label)) < 2:
        raise VidsslError("evaluate attentive: the training videos have 1 class; give two or more")
    code = {name: at for at, name in enumerate(classes)}
    label, wanted = (torch.tensor([code[name] for name in part.label]) for part in (train, test))
    (group,) = name_ids(train.group)
    whole = (np.arange(len(label)), np.arange(len(wanted)))
    turns = group_folds(train.group, FOLDS) if leave_group_out else [whole]
    answer = torch.empty_like(wanted)
    show = progress and len(turns) > 1
    for others, own in progress_bar(turns, desc="attentive probe", unit="fit", leave=False, show=show):
        learnt, tested = torch.from_numpy(others), torch.from_numpy(own)
        x, shown = _standardised(train.positions[learnt].float(), test.positions[tested].float())
        x, shown = x.to(device), shown.to(device)
        best = _choose(x, label[learnt], group[learnt], len(classes), how)
        probe = _fit(x, label[learnt], len(classes), how, *best)
        answer[tested] = _predict(probe, shown).argmax(1).cpu()
    return Predictions(answer, wanted, classes)


def _standardised(train: torch.Tensor, test: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both without the mean and standard deviation of each channel of `train`."""
    mean, spread = train.mean((0, 1, 2)), train.std((0, 1, 2))
    scale = torch.where(spread > 1e-6 * (1 + mean.abs()), 1 / spread, 0)
    return (train - mean) * scale, (test - mean) * scale


def _choose(
    x: torch.Tensor, label: torch.Tensor, group: torch.Tensor, classes: int, how: Attentive
) -> tuple[float, float]:
    """The learning rate and weight decay with the lowest cross entropy on a quarter of the groups."""
    ways = [(lr, decay) for lr in how.lrs for decay in how.weight_decays]
    if len(ways) == 1:
        return ways[0]
    aside = set_aside(group)
    losses = []
    for lr, decay in ways:
        probe = _fit(x[~aside], label[~aside], classes, how, lr, decay)
        losses.append(float(functional.nll_loss(_predict(probe, x[aside]).log().cpu(), label[aside])))
    return ways[int(np.nanargmin(losses))]


def _fit(
    x: torch.Tensor, label: torch.Tensor, classes: int, how: Attentive, lr: float, weight_decay: float
) -> AttentivePool:
    """A probe that is trained on the clips of videos x [V, N, L, D]."""
    clips, target = x.flatten(0, 1), label.to(x.device).repeat_interleave(x.shape[1])
    steps = how.epochs * math.ceil(len(clips) / how.batch_size)
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        probe = AttentivePool(x.shape[-1], classes, how.depth).to(x.device)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(how.seed)
    for _ in range(how.epochs):
        for part in torch.split(torch.randperm(len(clips), generator=order).to(x.device), how.batch_size):
            loss = functional.cross_entropy(probe(clips[part]), target[part])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return probe.eval()


@torch.no_grad()
def _predict(probe: AttentivePool, x: torch.Tensor) -> torch.Tensor:
    """Probabilities [V, classes], the mean over the clips of each video."""
    logits = torch.cat([probe(part) for part in torch.split(x.flatten(0, 1), 256)])
    return logits.softmax(1).view(*x.shape[:2], -1).mean(1)


def check_view(view: View) -> None:
    """Raises VidsslError if a view pools the map, which the probe sees as it is."""
    if view.pool != "avg":
        raise VidsslError(f"evaluate attentive: pool={view.pool!r}: the probe sees the whole map; leave pool out")


def evaluate_attentive(
    run: TrainedRun,
    data: Splits,
    how: Attentive = DEFAULT,
    *,
    view: View = DEFAULT_VIEW,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Probes the last map of a run's encoder and, for comparison, that of the untrained one of the same seed.

    Args:
        run: The run.
        data: The training and test videos.
        how: How the probe is made and trained.
        view: How videos are shown to the encoders; its `pool` stays "avg", as the probe sees the whole map.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file of the result; None writes RUN/attentive.json.
        progress: Show progress bars.

    Returns:
        The result.

    Raises:
        VidsslError: A label is missing; no video is long enough or one cannot be read; the view has a `pool`; `out`
            cannot be written.
    """
    check_view(view)
    picked, clips, encoders = pick_device(device), view.of(run.recipe, store=run.store), run.encoders()

    def of(index: VideoIndex) -> dict[str, Maps]:
        return last_maps(encoders, index, clips, layer=view.layer, device=picked, progress=progress)

    train = of(data.train)
    test = train if data.leave_group_out else of(data.test)
    (group,) = name_ids(test["trained"].group)
    with torch_threads(None):
        found = {
            name: attentive_probe(
                train[name], test[name], how, leave_group_out=data.leave_group_out, device=picked, progress=progress
            )
            for name in encoders
        }
    numbers: Numbers = {name: {"attentive": proportion(one.correct, group)} for name, one in found.items()}
    label = test["trained"].label
    numbers["chance"] = {"attentive": Estimate(majority_fraction(label))}
    shown = {name: value for name, value in asdict(view).items() if name != "pool"}
    more = gain(found["trained"].correct, found["untrained"].correct, group)
    layer = f"layer {view.layer}" if view.layer else "the last map"
    folds = (f"Each of {FOLDS} sets of groups is predicted by a probe of the others.",) if data.leave_group_out else ()
    result = Result(
        kind=data.named("attentive"),
        protocol=f"attentive probe of depth {how.depth} on {layer}, {clips.count} clips a video (V-JEPA's)",
        numbers=numbers,
        split=data.description,
        counts={
            "training videos": len(train["trained"].label),
            "test videos": len(label),
            "classes": len(set(train["trained"].label)),
        },
        weights=run.weights,
        settings={**shown, **asdict(how), "map": list(train["trained"].positions.shape[2:])},
        notes=(
            f"Trained minus untrained: {more.points()} points.",
            *folds,
            *data.notes(len(label), list(train["trained"].label)),
            *size_notes(run.recipe, view.resize),
            LARGEST_CLASS,
        ),
        detail={"confusion": {name: one.table() for name, one in found.items()}},
    )
    result.publish(run, data.data(), out=out)
    return result
