"""`profile` measures each step of loading, and its advice follows from the measurements."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cpus import cpus
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
    assert set(found.steps) == set(STEPS) - {"store"}
    assert found.engine == ("inline" if weight == "even" else "dali")
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


@pytest.mark.parametrize("weight", ["even", "motion"])
def test_a_store_is_measured(index: VideoIndex, weight: str, tmp_path: Path) -> None:
    """A window that is kept is not decoded, and the store is not filled meanwhile."""
    task = Task(SPEC if weight == "even" else replace(SPEC, weight="motion", window=20))
    FrameStore(tmp_path, (44, 53)).fill(index.select([0, 1]), progress=False)
    found = profile(index, task, workers=1, windows=6, store=FrameStore(tmp_path, (44, 53), limit=0))
    assert set(found.steps) == set(STEPS)
    assert found.steps["store"] > 0
    assert found.steps["open"] > 0  # of the third video
    assert (found.stored, found.side) == (4, 44)  # each epoch has one window of each video
    assert "4 of 6 windows were in the store" in found.text()
    assert any("the store lacks 2 of 6 windows" in line for line in found.advice())
    FrameStore(tmp_path, (44, 53)).fill(index, progress=False)
    files = sorted(tmp_path.iterdir())
    full = profile(index, task, workers=1, windows=6, store=FrameStore(tmp_path, (44, 53), limit=0))
    assert (full.stored, full.steps["open"], full.steps["demux"], full.steps["decode"]) == (6, 0, 0, 0)
    assert full.steps["assemble"] > 0
    assert full.shown == (6 if weight == "even" else 20)
    assert sorted(tmp_path.iterdir()) == files


def test_the_command_takes_a_store(index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.save(tmp_path / "index.arrow")
    store = FrameStore(tmp_path / "store", (64, 86))
    store.fill(index, progress=False)
    command = [
        "bench",
        "loader",
        "--data",
        str(tmp_path / "index.arrow"),
        "--recipe",
        "odd_one_out_tiny",
        "--windows",
        "3",
    ]
    kept = [*command, "--store", str(tmp_path / "store")]
    assert main([*kept, "--store-size", "64x86", "--out", str(tmp_path / "found.json")]) == 0
    assert "3 of 3 windows were in the store" in capsys.readouterr().out
    written = json.loads((tmp_path / "found.json").read_text())
    assert (written["store_size"], written["stored"], written["steps"]["decode"]) == ("64x86", 3, 0)
    assert main(kept) == 2
    assert "--store-size 36x36 takes" in capsys.readouterr().err
    none = tmp_path / "none"
    assert main([*command, "--store", str(none), "--store-size", "64x86"]) == 2
    assert f"folder={str(none)!r}: No such file or directory; it is only read" in capsys.readouterr().err
    assert not none.exists()
    assert main([*command, "--store-size", "64x86"]) == 2
    assert "it needs --store FOLDER" in capsys.readouterr().err


def test_a_table_is_measured_as_a_task_is(index: VideoIndex) -> None:
    assert profile(index, SPEC, workers=1, windows=3).shown == profile(index, Task(SPEC), workers=1, windows=3).shown


def test_a_loop_of_ones_own_sees_how_long_it_waits(index: VideoIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's clock runs while a batch is asked for, and not while the loop works."""
    now = [0.0]
    monkeypatch.setattr("vidssl.loader.loader.perf_counter", lambda: now[0])
    with Loader(index, SPEC, batch_size=1, device="cpu", workers=1) as loader:
        take = loader._pipeline.__next__

        def slow(pipeline: Any) -> Any:
            now[0] += 2
            return take()

        monkeypatch.setattr(type(loader._pipeline), "__next__", slow)
        for _ in loader:
            now[0] += 5  # the loop works
        assert loader.waited == 2 * len(loader) > 0


def test_far_too_many_workers_are_named(index: VideoIndex, caplog: pytest.LogCaptureFixture) -> None:
    with Loader(index, SPEC, batch_size=1, device="cpu", workers=cpus()):
        assert "too many" not in caplog.text
    with Loader(index, SPEC, batch_size=1, device="cpu", workers=16 * cpus() + 1):
        assert f"workers={16 * cpus() + 1}: far too many threads for {cpus()} core(s)" in caplog.text


def test_no_windows_is_an_error(index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="windows=0: take at least 1"):
        profile(index, Task(SPEC), windows=0)
