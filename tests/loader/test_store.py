"""A loader with a store: the same batches whatever is kept, on every engine."""

import os
import shutil
import time
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.clips import make_clip
from tests.loader.test_loader import MOTION, PLAIN, same
from tests.loader.test_methods import TASKS
from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.cli.store_data import say_read
from vidssl.kernels.motion import Motion
from vidssl.kernels.plan import PlanSpec
from vidssl.types import Batch, Frames

SIZE = (44, 53)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_clip(root / f"h264_{number}.mp4", frames=30 + 5 * number, gop=12)
    make_clip(root / "mpeg4.avi", "mpeg4", frames=33, gop=10, bframes=2, size=(60, 84))
    make_clip(root / "vp9.webm", "libvpx-vp9", frames=30, gop=15, size=(49, 67))
    return VideoIndex.build(root, progress=False)


def batches(index: VideoIndex, spec: PlanSpec, store: FrameStore | None, **options: object) -> list[Batch]:
    settings = {"batch_size": 2, "device": "cpu", "seed": 5, "workers": 2} | options
    with Loader(index, spec, store=store, **settings) as loader:
        return [Batch(*(part.clone() for part in batch)) for _ in range(2) for batch in loader]


@pytest.mark.parametrize("spec", [PLAIN, MOTION], ids=["plain", "motion"])
@pytest.mark.parametrize("size", [SIZE, "native"])
def test_batches_do_not_depend_on_what_is_kept(
    index: VideoIndex, spec: PlanSpec, size: tuple[int, int], tmp_path: Path
) -> None:
    wanted = batches(index, spec, FrameStore(None, size))
    if size == "native":
        assert same(wanted, batches(index, spec, None))
    (tmp_path / "none").mkdir()
    for kept in ("empty", "half", "full"):
        if kept != "empty":
            FrameStore(tmp_path, size).fill(index.select(range(2 if kept == "half" else 5)), progress=False)
        for engine in ("inline", "dali", "eager"):
            for workers in (1, 4):
                store = FrameStore(tmp_path / "none" if kept == "empty" else tmp_path, size, limit=0)
                found = batches(index, spec, store, engine=engine, workers=workers)
                assert same(wanted, found), (kept, engine, workers)
                assert {"empty": store.stats["hits"] == 0, "full": store.stats["misses"] == 0}.get(
                    kept, store.stats["hits"] * store.stats["misses"] > 0
                )


@pytest.mark.parametrize("layout", [{"channels_last": True}, {"dtype": "bfloat16"}, {"tuples_per_window": 2}])
def test_layouts(index: VideoIndex, layout: dict[str, object], tmp_path: Path) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    kept, decoded = FrameStore(tmp_path, SIZE), FrameStore(None, SIZE)
    assert same(batches(index, PLAIN, kept, **layout), batches(index, PLAIN, decoded, engine="eager", **layout))
    assert kept.stats["misses"] == 0


def test_what_is_missed_is_kept_in_the_background(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE)
    with Loader(index, PLAIN, batch_size=2, device="cpu", store=store) as loader:
        list(loader)
        until = time.monotonic() + 60
        while store.stats["kept"] < int(index.column("frames").to_numpy().sum()) and time.monotonic() < until:
            time.sleep(0.05)
    later = FrameStore(tmp_path, SIZE)
    with Loader(index, PLAIN, batch_size=2, device="cpu", store=later) as loader:
        list(loader)
        assert loader.stats["stored"] == loader.stats["windows"] == 4
    assert later.stats["misses"] == 0


def test_a_block_that_is_damaged_later_is_decoded_again(
    index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = batches(index, PLAIN, FrameStore(None, SIZE))
    FrameStore(tmp_path, SIZE).fill(index, workers=1, progress=False)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.unlink()
    path.write_bytes(data)
    store = FrameStore(tmp_path, SIZE)
    assert same(wanted, batches(index, PLAIN, store))
    assert store.stats["damaged"] == 1
    assert caplog.text.count("decoded again") == 1


def test_resume_needs_the_same_size(index: VideoIndex, tmp_path: Path) -> None:
    options = {"batch_size": 2, "device": "cpu", "seed": 5}
    with Loader(index, PLAIN, store=FrameStore(None, SIZE), **options) as loader:
        all_of_it = [batch.clips.clone() for batch in loader]
    with Loader(index, PLAIN, store=FrameStore(tmp_path, SIZE), **options) as loader:
        list(islice(loader, 1))
        state = loader.state_dict()
    with Loader(index, PLAIN, store=FrameStore(tmp_path, SIZE), **options) as loader:
        loader.load_state_dict(state)
        assert torch.equal(next(iter(loader)).clips, all_of_it[1])
    for other in (None, FrameStore(None, "native")):
        loader = Loader(index, PLAIN, store=other, **options)
        with loader, pytest.raises(VidsslError, match="store: 44x53 then"):
            loader.load_state_dict(state)


def test_a_decoder_in_the_graph_is_refused(index: VideoIndex) -> None:
    for decode in ("nvdec", "dali"):
        with pytest.raises(VidsslError, match="a store decodes on the CPU"):
            Loader(index, PLAIN, batch_size=2, device="cpu", decode=decode, store=FrameStore(None))
    with pytest.raises(VidsslError, match=r"take a vidssl\.FrameStore"):
        Loader(index, PLAIN, batch_size=2, device="cpu", store=os.devnull)


def test_a_crop_larger_than_the_store_is_refused(index: VideoIndex) -> None:
    for size in ((31, 53), (44, 31)):
        with pytest.raises(VidsslError, match=r"size=.*: crops are 32x32; take a store of at least that size"):
            Loader(index, PLAIN, batch_size=2, device="cpu", store=FrameStore(None, size))
    for name in ("workers", "tuples_per_window"):
        with pytest.raises(VidsslError, match=rf"{name}=1\.5: take a whole number"):
            Loader(index, PLAIN, batch_size=2, device="cpu", **{name: 1.5})


def test_windows_that_were_shown_are_counted(
    index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Workers fetch more windows than those, and read them too."""
    FrameStore(tmp_path, SIZE).fill(index.select(range(2)), progress=False)
    store = FrameStore(tmp_path, SIZE, limit=0)
    with Loader(index, PLAIN, batch_size=2, device="cpu", store=store) as loader:
        list(loader)
        shown, stored = loader.stats["windows"], loader.stats["stored"]
        until = time.monotonic() + 60
        while store.stats["hits"] + store.stats["misses"] <= shown and time.monotonic() < until:
            time.sleep(0.01)
    assert store.stats["hits"] + store.stats["misses"] > shown == 4
    say_read(store)
    told = f"store {tmp_path}: {stored} of {shown} windows were read from the store, {shown - stored} were decoded\n"
    assert capsys.readouterr().out == told


def test_a_folder_that_is_deleted_is_named_once(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vidssl.store.fill._PAUSE", 0.0)
    wanted = batches(index, PLAIN, FrameStore(None, SIZE))
    folder = tmp_path / "store"
    FrameStore(folder, SIZE).fill(index.select(range(2)), progress=False)
    store = FrameStore(folder, SIZE)
    shutil.rmtree(folder)
    for _ in range(2):  # as a run has a loader for training, and one for what it holds out
        assert same(wanted, batches(index, PLAIN, store))
    with Loader(index, PLAIN, batch_size=2, device="cpu", store=store):
        time.sleep(2.5)  # the background thread looks each second
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert told[0].startswith(f"store {folder}: its folder is gone")


def no_motion(_: Frames) -> Motion:
    raise AssertionError("the motion of this window is kept")


@pytest.mark.parametrize("name", ["opn", "shuffle_learn"])
@pytest.mark.parametrize("tuples", [1, 2])
@pytest.mark.parametrize("size", [SIZE, "native"])
def test_kept_motion_changes_no_bit(
    index: VideoIndex,
    name: str,
    tuples: int,
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = TASKS[name].plan
    options = {"tuples_per_window": tuples, "batch_size": 4}
    wanted = batches(index, spec, FrameStore(None, size), engine="eager", **options)
    assert len(wanted) > 1
    assert same(wanted, batches(index, spec, FrameStore(None, size), engine="dali", **options))
    store = FrameStore(tmp_path, size)
    store.fill(index, progress=False)
    for kept in (0, 2, 5):
        for row in range(kept):
            store.keep_motion(index.video(row))
        store.flush()
        if kept == 5:
            monkeypatch.setattr("vidssl.loader.worker.motion", no_motion)
        for workers in (1, 4):
            found = batches(index, spec, FrameStore(tmp_path, size, limit=0), workers=workers, **options)
            assert same(wanted, found), (kept, workers)
    with Loader(index, spec, device="cpu", seed=5, store=store, **options) as loader:
        list(loader)
        state = loader.state_dict()
    with Loader(index, spec, device="cpu", seed=5, store=store, **options) as loader:
        loader.load_state_dict(state)
        assert same(wanted[len(wanted) // 2 :], [Batch(*(part.clone() for part in batch)) for batch in loader])


def test_motion_is_kept_in_the_background(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first the frames are missed, and then the motion."""
    wanted = batches(index, MOTION, FrameStore(None, SIZE))
    videos = [index.video(row) for row in range(5)]
    for what in ("frames", "motion"):
        store = FrameStore(tmp_path, SIZE)
        with Loader(index, MOTION, batch_size=2, device="cpu", store=store) as loader:
            for _ in range(8):
                list(loader)
            until = time.monotonic() + 60
            while time.monotonic() < until and any(
                store.missing(video) if what == "frames" else store.motion(video, 0, video.frames) is None
                for video in videos
            ):
                time.sleep(0.05)
                store.flush()
    monkeypatch.setattr("vidssl.loader.worker.motion", no_motion)
    assert same(wanted, batches(index, MOTION, FrameStore(tmp_path, SIZE)))
