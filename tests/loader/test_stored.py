"""The engine "store": the same batches as every other engine, wherever the frames lie; and the choice of where."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from tests.loader.test_loader import MOTION, PLAIN, same
from tests.loader.test_methods import SMALL, TASKS
from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.kernels.assemble import assemble
from vidssl.kernels.plan import PlanSpec
from vidssl.loader import loader as module
from vidssl.loader.buffers import staged, upload_together
from vidssl.loader.engines import store as engine
from vidssl.memory import lock_refusal
from vidssl.pretext import Pretext, Vcop
from vidssl.store import memory
from vidssl.store.choose import choose_backend
from vidssl.types import Batch, Frames, Plan

SIZE = (44, 53)
ALL_TASKS: dict[str, Pretext] = {"vcop": Vcop(clip_length=4, interval=2, augment=SMALL), **TASKS}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    """Videos of three sizes, one of which two colour spaces share."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_clip(root / f"h264_{number}.mp4", frames=36 + 5 * number, gop=12)
    make_clip(root / "bt709.mp4", frames=36, gop=12, tags={"colorspace": 1})
    make_clip(root / "mpeg4.avi", "mpeg4", frames=37, gop=10, bframes=2, size=(60, 84))
    make_clip(root / "vp9.webm", "libvpx-vp9", frames=38, gop=15, size=(49, 67))
    return VideoIndex.build(root, progress=False)


def batches(index: VideoIndex, task: Pretext | PlanSpec, store: FrameStore | None, **options: object) -> list[Batch]:
    settings = {"batch_size": 4, "device": "cpu", "seed": 5, "workers": 2} | options
    with Loader(index, task, store=store, **settings) as loader:
        assert loader.engine == settings.get("engine", loader.engine)
        return [Batch(*(part.clone() for part in batch)) for _ in range(3) for batch in loader]


@pytest.mark.parametrize("name", ALL_TASKS)
@pytest.mark.parametrize("size", [SIZE, "native"])
def test_every_task_shows_the_same(
    index: VideoIndex, name: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ALL_TASKS[name]
    wanted = batches(index, task, FrameStore(None, size), engine="eager")
    for kept in ("empty", "half", "full", "little memory"):
        if kept != "empty":
            FrameStore(tmp_path, size).fill(index if kept != "half" else index.select([0, 3, 5]), progress=False)
        if kept == "little memory":
            monkeypatch.setattr(module, "free_bytes", lambda device: FrameStore(None, size).bytes_of(index))
        for workers in (1, 4):
            store = FrameStore(tmp_path, size, limit=0, backend="device")
            assert same(wanted, batches(index, task, store, engine="store", workers=workers)), (kept, workers)
    full = FrameStore(tmp_path, size, backend="file")
    assert same(wanted, batches(index, task, full, engine="dali"))
    assert full.stats["misses"] == 0


@pytest.mark.parametrize("spec", [PLAIN, MOTION], ids=["plain", "motion"])
@pytest.mark.parametrize(
    "how",
    [
        {"channels_last": True},
        {"dtype": "bfloat16"},
        {"dtype": "uint8", "channels_last": True},
        {"tuples_per_window": 2},
        {"train": False, "batch_size": 5},
        {"tuples_per_window": 2, "train": False},
    ],
    ids=str,
)
def test_every_layout(index: VideoIndex, spec: PlanSpec, how: dict[str, object], tmp_path: Path) -> None:
    wanted = batches(index, spec, None, engine="eager", **how)
    FrameStore(tmp_path, "native").fill(index.select([0, 2, 3, 4]), progress=False)
    found = batches(index, spec, FrameStore(tmp_path, "native", limit=0, backend="device"), **how)
    assert same(wanted, found)
    strides = [batch.clips.stride() for batch in found]
    assert strides == [batch.clips.stride() for batch in wanted]


def test_windows_of_whole_videos(index: VideoIndex, tmp_path: Path) -> None:
    """They have different lengths."""
    whole = replace(PLAIN, window="video")
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    found = batches(index, whole, FrameStore(tmp_path, SIZE, backend="device"))
    assert same(batches(index, whole, FrameStore(None, SIZE)), found)


def test_windows_by_motion(index: VideoIndex, tmp_path: Path) -> None:
    moving = replace(PLAIN, windows="motion")
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    found = batches(index, moving, FrameStore(tmp_path, SIZE, backend="device"))
    assert same(batches(index, moving, FrameStore(None, SIZE)), found)


def test_a_huge_batch_is_assembled_by_several_calls(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    wanted = batches(index, PLAIN, FrameStore(None, SIZE))
    monkeypatch.setattr(engine, "MAX_SHOWN", 5 * PLAIN.times)
    assert same(wanted, batches(index, PLAIN, FrameStore(tmp_path, SIZE, backend="device")))


def test_a_batch_of_one_size_is_one_call(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    calls: list[int] = []

    def spy(frames: Frames, plan: Plan, **named: Any) -> None:
        calls.append(len(named["out"]))
        assemble(frames, plan, **named)

    store = FrameStore(tmp_path, SIZE, backend="device")
    with Loader(index.select([1, 2, 3]), PLAIN, batch_size=3, device="cpu", store=store) as loader:
        for _ in range(4):  # after these, all videos lie on the device
            next(iter(loader))
        loader.set_epoch(4)
        monkeypatch.setattr(engine, "assemble", spy)
        next(iter(loader))
    assert calls == [3 * PLAIN.slots]


def test_resume_in_the_middle_of_an_epoch(index: VideoIndex, tmp_path: Path) -> None:
    options = {"batch_size": 2, "device": "cpu", "seed": 5}
    FrameStore(tmp_path, SIZE).fill(index.select([1, 2, 3]), progress=False)
    with Loader(index, PLAIN, store=FrameStore(None, SIZE), **options) as loader:
        wanted = [batch.clips.clone() for _ in range(2) for batch in loader]
    with Loader(index, PLAIN, store=FrameStore(tmp_path, SIZE, backend="device"), **options) as loader:
        list(islice(loader, 2))
        state = loader.state_dict()
        assert loader.engine == "store"
    with Loader(index, PLAIN, store=FrameStore(tmp_path, SIZE, backend="device"), **options) as loader:
        loader.load_state_dict(state)
        found = [batch.clips.clone() for _ in range(2) for batch in loader]
        assert len(found) == 4
        assert all(map(torch.equal, found, wanted[2:]))


def test_stored_windows_touch_no_file(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    with Loader(index, PLAIN, batch_size=6, device="cpu", store=FrameStore(tmp_path, SIZE, backend="device")) as loader:
        wanted = [batch.clips.clone() for _ in range(6) for batch in loader][4:]  # all videos lie there by then
        monkeypatch.setattr(VideoIndex, "video", lambda self, row: pytest.fail("a file was needed"))
        loader.set_epoch(4)
        assert all(map(torch.equal, wanted, [batch.clips for _ in range(2) for batch in loader]))
        assert loader.stats["stored"] == loader.stats["windows"] == 8 * 6


def test_videos_that_are_kept_meanwhile_are_copied(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE, backend="device")
    with Loader(index, PLAIN, batch_size=6, device="cpu", store=store) as loader:
        for _ in loader:
            pass
        store.fill(index, progress=False)
        for _ in range(4):
            for _ in loader:
                pass
        assert loader._arenas is not None
        assert all(loader._arenas.find(row) is not None for row in range(6))


def chosen(index: VideoIndex, store: FrameStore, caplog: pytest.LogCaptureFixture, **how: object) -> tuple[str, str]:
    """The backend and the engine that a loader takes, and the line that says why."""
    caplog.clear()
    with caplog.at_level(logging.INFO), Loader(index, PLAIN, batch_size=2, device="cpu", store=store, **how) as loader:
        (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("store=")]
        return f"{loader.stored_in} {loader.engine}", line


def test_auto_says_what_it_takes_and_why(
    index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refusal := lock_refusal(2**22):
        pytest.skip(refusal)
    found, line = chosen(index, FrameStore(tmp_path, SIZE), caplog)
    assert found == "memory inline"
    assert re.fullmatch(
        r"store=auto: memory, because 834\.0 KB of frames fit into half of the [\d.]+ [MGT]B of memory that are "
        r"available; device=cpu",
        line,
    )
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_500_000)
    found, line = chosen(index, FrameStore(tmp_path, SIZE), caplog)
    assert found == "file inline"
    assert "834.0 KB of frames are more than 50% of the 1.5 MB of memory that are available" in line
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**40)
    monkeypatch.setattr(memory, "lock_refusal", lambda need: "this process may lock 8.0 MB (ulimit -l)")
    found, line = chosen(index, FrameStore(tmp_path, SIZE), caplog)
    assert found == "file inline"
    assert "(ulimit -l)" in line


@pytest.mark.parametrize("backend", ["file", "memory", "device"])
def test_a_backend_by_name(
    index: VideoIndex,
    backend: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = {"file": "file inline", "memory": "memory inline", "device": "device store"}[backend]
    found, line = chosen(index, FrameStore(tmp_path, SIZE, backend=backend), caplog)
    assert (found, line) == (wanted, f"store={backend}: {backend}, because it was asked for")
    monkeypatch.setattr(module, "free_bytes", lambda device: 1_000_000)
    found, line = chosen(index, FrameStore(tmp_path, SIZE, backend=backend), caplog)
    assert found == wanted
    assert ("500.0 KB of 834.0 KB are held there" in line) == (backend == "device")


def test_a_gpu_is_chosen_by_its_memory(index: VideoIndex, tmp_path: Path) -> None:
    gpu, store = torch.device("cuda:0"), FrameStore(tmp_path, SIZE)
    need = store.bytes_of(index)
    found, why = choose_backend(store, index, gpu, 2 * need, in_place=True)
    assert (found, why) == ("device", "834.0 KB of frames fit into half of the 1.7 MB that are available on cuda:0")
    found, why = choose_backend(store, index, gpu, 2 * need - 2, in_place=True)
    assert found != "device"
    assert "are more than half of the 1.7 MB that are available on cuda:0" in why
    found, why = choose_backend(store, index, gpu, 2 * need, in_place=False)
    assert found != "device"
    assert 'only engine="store" uses frames on the device' in why


def test_engine_and_backend_must_fit(index: VideoIndex, tmp_path: Path) -> None:
    make: Callable[..., Loader] = lambda **how: Loader(index, PLAIN, batch_size=2, device="cpu", **how)  # noqa: E731
    for other in ("inline", "dali", "eager"):
        with pytest.raises(VidsslError, match=f'engine="?\'?{other}.*take "auto" or "store"'):
            make(engine=other, store=FrameStore(tmp_path, SIZE, backend="device"))
    for store in (None, FrameStore(tmp_path, SIZE), FrameStore(None, SIZE)):
        with pytest.raises(VidsslError, match='engine="store": it needs frames on the device'):
            make(engine="store", store=store)
    for backend in ("memory", "device"):
        with pytest.raises(VidsslError, match="name a folder"):
            FrameStore(None, SIZE, backend=backend)
    with pytest.raises(VidsslError, match="take one of auto, file, memory, device"):
        FrameStore(tmp_path, SIZE, backend="disk")
    with make(store=FrameStore(None, SIZE)) as loader:
        assert loader.stored_in is None


def test_staged_frames_are_a_copy_that_torch_takes(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE, backend="file")
    store.fill(index, progress=False)
    kept = store.read(index.video(0), 3, 5)
    assert kept is not None
    copy = staged(kept, torch.device("cpu"))
    assert copy.data.flags.writeable
    assert not np.shares_memory(copy.data, kept.data)
    assert np.array_equal(copy.data, kept.data)
    assert (copy.size, copy.space) == (kept.size, kept.space)
    assert np.array_equal(copy.number, kept.number)


@pytest.mark.parametrize("count", [1, 7])
def test_arrays_are_uploaded_together(count: int) -> None:
    rng = np.random.default_rng(count)
    arrays: list[Any] = [
        rng.integers(0, 99, (count, 3), dtype=np.int32),
        rng.random((count, 2, 5), dtype=np.float32),
        rng.integers(0, 2, count, dtype=np.uint8),
        rng.integers(0, 2**40, (count, 1), dtype=np.int64),
    ]
    found = upload_together(arrays, torch.device("cpu"))
    assert [part.dtype for part in found] == [torch.int32, torch.float32, torch.uint8, torch.int64]
    assert all(np.array_equal(part.numpy(), array) for part, array in zip(found, arrays, strict=True))


def test_positions_of_a_batch_are_those_of_the_videos(index: VideoIndex, tmp_path: Path) -> None:
    """batch.frame counts frames of the video, not places in the memory of the device."""
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    for batch in batches(index, PLAIN, FrameStore(tmp_path, SIZE, backend="device")):
        lengths = np.array([index.frames(int(row)) for row in batch.video])
        assert (batch.frame.amax(dim=(1, 2)).numpy() < lengths).all()
