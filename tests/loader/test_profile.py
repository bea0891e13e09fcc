"""`profile` measures each step of loading, and its advice follows from the measurements."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import VideoIndex, VidsslError
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.profile import STEPS, Profile, profile

SPEC = PlanSpec(
    arrangements=orders(3, 2),
    labels=np.arange(6),
    bases=3,
    length=2,
    gap=(2, 2),
    augment=Augment(resize=(40, 50), crop=(32, 32)),
)


class Task:
    def __init__(self, plan: PlanSpec) -> None:
        self.plan = plan


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_clip(root / f"{number}.mp4", frames=60, gop=60)
    return VideoIndex.build(root, progress=False)


@pytest.mark.parametrize("weight", ["even", "motion"])
def test_every_step_is_measured(index: VideoIndex, weight: str) -> None:
    spec = SPEC if weight == "even" else replace(SPEC, weight="motion", window=20)
    found = profile(index, Task(spec), workers=1, windows=6)
    assert set(found.steps) == set(STEPS)
    assert found.engine == "inline"
    assert found.steps["open"] > 0
    assert found.steps["decode"] > 0
    assert found.steps["assemble"] > 0
    assert found.rate > 0
    assert found.shown == (6 if weight == "even" else 20)
    assert found.read >= found.shown  # the group of pictures begins at the file's first frame
    assert f"bottleneck: {found.bottleneck}" in found.text()


FOUND = Profile(
    windows=8,
    workers=2,
    cores=2,
    engine="inline",
    rate=100.0,
    read=100.0,
    shown=48.0,
    side=480.0,
    wanted=128,
    steps={"open": 1.0, "demux": 0.5, "decode": 12.0, "assemble": 3.0, "hand over": 0.1},
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "many decoded frames are not shown and the videos are larger than needed: re-encode the videos"),
        (
            {"read": 50.0, "side": 130.0},
            "decoding takes most of the time: re-encode the videos once with `vidssl prepare`",
        ),
        ({"steps": FOUND.steps | {"open": 20.0}}, "opening files takes long"),
        ({"steps": FOUND.steps | {"assemble": 20.0}}, "assembling takes long"),
        ({"cores": 4}, "2 cores do not decode: use more workers"),
        ({"rate": 40.0}, "2 workers are far slower than the time of one thread predicts"),
    ],
)
def test_advice(change: dict[str, Any], expected: str) -> None:
    advice = replace(FOUND, **change).advice()
    assert any(expected in line for line in advice)
    if change:
        assert len(advice) < 6


def test_no_windows_is_an_error(index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="windows=0: take at least 1"):
        profile(index, Task(SPEC), windows=0)
