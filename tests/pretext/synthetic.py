"""Videos that say nothing or everything about order, a net small enough to train in a test, and the statistics to judge
it by.

Nothing is read from files: arrays go through motion, plan and assemble, as in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidssl import ops
from vidssl.models import Encoder
from vidssl.pretext import Pretext, PretextModel
from vidssl.types import Plan

Video = Callable[[np.random.Generator, int], npt.NDArray[np.uint8]]  # (rng, frames) to [F, H, W, 3]
Table = npt.NDArray[np.int64]
SIZE = (24, 32)  # height, width of a picture
SHOWN = 8  # what the net sees of a crop: 8 x 8 pixels


# ---- videos ----


def still(rng: np.random.Generator, frames: int) -> npt.NDArray[np.uint8]:
    """One random frame, repeated."""
    return np.repeat(rng.integers(0, 256, (1, *SIZE, 3), dtype=np.uint8), frames, axis=0)


def noise(rng: np.random.Generator, frames: int) -> npt.NDArray[np.uint8]:
    """Every frame by itself: coarse noise, so that much of it is left in 8 x 8 pixels."""
    coarse = rng.integers(96, 160, (frames, SIZE[0] // 4, SIZE[1] // 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def ramp(
    rng: np.random.Generator, frames: int, slope: tuple[float, float] = (4, 8), offset: tuple[float, float] = (0, 40)
) -> npt.NDArray[np.uint8]:
    """Grey without any picture, brighter from frame to frame; how bright, and how fast, is another matter in each
    video.
    """
    level = rng.uniform(*offset) + rng.uniform(*slope) * np.arange(frames)
    assert level.max() < 256
    return np.broadcast_to(level.astype(np.uint8)[:, None, None, None], (frames, *SIZE, 3)).copy()


# ---- tuples ----


def window(pretext: Pretext) -> int:
    """Frames of the window that plans are drawn from; 20 more than it needs where it is the whole video."""
    return pretext.plan.span + 20 if pretext.plan.window == "video" else pretext.plan.frames


def plans(
    pretext: Pretext, frames: npt.NDArray[np.uint8], count: int, *, first: int = 0, seed: int = 1, **how: bool
) -> list[Plan]:
    """Plans of samples first, first + 1, ... of one window of frames."""
    spec, size = pretext.plan, (frames.shape[1], frames.shape[2])
    scores: dict[str, Any] = ops.motion(frames)._asdict() if spec.needs_motion else {}
    where: dict[str, Any] = {"frames": len(frames), "size": size, "seed": seed, "epoch": 0, **scores, **how}
    return [ops.plan(spec, **where, sample=sample) for sample in range(first, first + count)]


def tuples(
    pretext: Pretext, video: Video, count: int, *, seed: int, tamper: Callable[[Plan], Plan] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """clips float32 [B, K, 3, T, 8, 8] and labels int64 [B], four tuples of each fresh video. tamper: what becomes of a
    plan.
    """
    rng, clips, labels = np.random.default_rng(seed), [], []
    for first in range(0, count, 4):
        frames = video(rng, window(pretext))
        for plan in plans(pretext, frames, 4, first=first, seed=seed):
            if plan.status == 0:  # as training does: others are left out of the loss
                clips.append(ops.assemble(frames, tamper(plan) if tamper else plan, size=(SHOWN, SHOWN)))
                labels.append(int(plan.label))
    assert len(clips) > 0.95 * count
    return torch.from_numpy(np.stack(clips)), torch.tensor(labels)


def ranks(plan: Plan) -> npt.NDArray[np.int64]:
    """int64 [K]: the place in time, among the slots, of what each slot shows; slots of one time share a place."""
    return np.unique(plan.frame.min(axis=1), return_inverse=True)[1]


def shade_by_time(plan: Plan) -> Plan:
    """A leak: the later a frame of the tuple, the brighter it is shown."""
    order = np.unique(plan.frame, return_inverse=True)[1].reshape(plan.frame.shape)
    return plan._replace(color=plan.color * (0.5 + order / order.max())[..., None, None].astype(np.float32))


def shade_by_distance(plan: Plan) -> Plan:
    """A leak: the further a frame is from the first one of the tuple, the brighter it is shown."""
    distance = plan.frame - plan.frame.min()
    return plan._replace(color=plan.color * (0.5 + distance / 12)[..., None, None].astype(np.float32))


# ---- a net ----


class Pixels(Encoder):
    """All pixels of what a pretext shows, then two layers."""

    def __init__(self, pretext: Pretext, width: int = 64) -> None:
        super().__init__()
        self.features = width
        shown = pretext.encode(torch.zeros(1, 3, pretext.plan.times, SHOWN, SHOWN)).numel()
        self.layers = nn.Sequential(nn.Linear(shown, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(clips.flatten(1))[:, :, None, None, None]
        return out


def learn(
    pretext: Pretext, clips: torch.Tensor, labels: torch.Tensor, *, steps: int = 300, lr: float = 2e-3
) -> PretextModel:
    """The method's own head over `Pixels`, trained with batches of 128."""
    torch.manual_seed(0)
    model = PretextModel(Pixels(pretext), pretext, slotwise_bn=False).train()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(labels), (64,))
        loss = nn.functional.cross_entropy(model(clips[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def accuracy(
    pretext: Pretext, video: Video, *, seed: int = 0, tamper: Callable[[Plan], Plan] | None = None, **how: Any
) -> float:
    """Of a net trained on 3000 tuples, on 1500 fresh ones of fresh videos."""
    model = learn(pretext, *tuples(pretext, video, 3000, seed=2 * seed, tamper=tamper), **how)
    clips, labels = tuples(pretext, video, 1500, seed=2 * seed + 1, tamper=tamper)
    with torch.no_grad():
        return float((model(clips).argmax(1) == labels).float().mean())


def without_brightness(pretext: Pretext) -> Pretext:
    """Without what hides how bright a frame is."""
    return replace(pretext, augment=replace(pretext.augment, brightness=0.0, contrast=0.0))


# ---- statistics ----


def chance_bound(chance: float, count: int = 1500) -> float:
    """What luck alone exceeds less than once in 10,000 times: 3.8 standard deviations above chance."""
    return chance + 3.8 * float(np.sqrt(chance * (1 - chance) / count))


def chi_squared(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """p-value of counts against expected counts of the same sum."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert expected.min() >= 5, "too few draws for this test"
    return _upper(float(((found - expected) ** 2 / expected).sum()), found.size - 1)


def same_everywhere(table: Table) -> float:
    """p-value of "all rows have the same distribution over the columns"; counts [rows, columns]."""
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    assert expected.min() >= 5, "too few draws for this test"
    return _upper(float(((table - expected) ** 2 / expected).sum()), (table.shape[0] - 1) * (table.shape[1] - 1))


def _upper(statistic: float, freedom: int) -> float:
    if freedom == 0:
        return 1.0
    return float(
        torch.special.gammaincc(
            torch.tensor(freedom / 2, dtype=torch.float64), torch.tensor(statistic / 2, dtype=torch.float64)
        )
    )
