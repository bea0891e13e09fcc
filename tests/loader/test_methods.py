"""The loader serves every method alike: all engines, any number of workers, and frames that were drawn from within the
video.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.loader.test_loader import same
from tests.pretext.tasks import Fast, Reversed
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.pretext import Joint, OddOneOut, Opn, Pretext, ShuffleLearn, Vcop
from vidssl.types import Batch

SMALL = Augment(resize=(36, 44), crop=(24, 32), crop_scope="tuple", flip=0.5, jitter=2, brightness=0.2)
TASKS: dict[str, Pretext] = {
    "shuffle_learn": ShuffleLearn(tau_max=12, tau_min=3, similar=0.5, augment=SMALL),
    "opn": Opn(interval_min=2, interval_max=8, augment=replace(SMALL, region=(30, 38), split=1.0)),
    "odd_one_out": OddOneOut(augment=SMALL),
    "odd_one_out, random": OddOneOut(elements=3, length=4, sampler="random", augment=SMALL),
    "joint": Joint(tasks=(Vcop(clip_length=4, interval=2), Fast(), Reversed()), augment=SMALL),
    "joint, motion": Joint(
        tasks=(
            ShuffleLearn(tau_max=12, tau_min=3, similar=0.5, window=25),
            Opn(interval_min=2, interval_max=8, window=25),
        ),
        augment=SMALL,
    ),
    "odd_one_out, consecutive": OddOneOut(
        elements=3, length=4, stride=2, sampler="consecutive", wrong="adjacent", augment=SMALL
    ),
}


def batches(index: VideoIndex, task: Pretext, **how: Any) -> list[Batch]:
    with Loader(index, task, batch_size=4, device="cpu", seed=9, **how) as loader:
        return [Batch(*(part.clone() for part in batch)) for _ in range(2) for batch in loader]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("tuples", [1, 2])
def test_engines_and_workers_agree(name: str, tuples: int, index: VideoIndex) -> None:
    task = TASKS[name]
    graph = batches(index, task, engine="dali", workers=2, tuples_per_window=tuples)
    assert graph
    for engine, workers in (("eager", 1), ("inline", 1), ("inline", 4)):
        assert same(graph, batches(index, task, engine=engine, workers=workers, tuples_per_window=tuples))
    frames = torch.cat([batch.frame for batch in graph])
    lengths = torch.tensor([index.frames(int(row)) for batch in graph for row in batch.video])
    assert frames.min() >= 0
    assert (frames.amax(dim=(1, 2)) < lengths).all()
    if task.plan.window == "video":
        assert frames.max() - frames.min() > 30  # of 36: all of the video is drawn from
