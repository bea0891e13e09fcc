"""The benchmark of the store: full stores hold what they should, other frame stores make the same tuples."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench_store, report, workloads
from benchmarks.frame_stores import CROP, FORMATS, LENGTH, Cut, cut, finish, missing, opened
from benchmarks.peers import every
from benchmarks.store_memory import in_memory
from benchmarks.store_tables import TABLES
from benchmarks.stores import SMALL, evict, fill_linked, floats, linked, pinned, resident, truth
from vidssl import FrameStore, VideoIndex
from vidssl.types import VidsslError

CLIP = workloads.Clip(name="short", kilobits=400, gop=16, bframes=2, size=(96, 128), frames=90)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workloads.encode(CLIP, tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def index(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    other = clip.with_name("other.mp4")
    other.symlink_to(clip)
    return linked([clip, other], 3, tmp_path_factory.mktemp("links") / "index")


def test_links_are_videos_of_their_own(index: VideoIndex, tmp_path: Path) -> None:
    names = [Path(text).name for text in index.table["path"].to_pylist()]
    assert names == [f"{copy:04d}_{name}.mp4" for copy in range(3) for name in ("other", "short")]
    store = FrameStore(tmp_path / "store", SMALL)
    fill_linked(store, index, files=2)
    decoded = FrameStore(None, SMALL).decode(index.video(0), np.arange(90)).data
    for row in range(6):
        assert index.name(row) == str(index.root / names[row])
        kept = store.read(index.video(row), 0, 90)
        assert kept is not None
        assert np.array_equal(kept.data, decoded)
    assert sum(path.stat().st_size for path in (tmp_path / "store").iterdir()) > 6 * decoded.nbytes
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(VidsslError, match="none of them can be used"):
        linked([empty], 1, tmp_path / "none")


def test_whole_frames_are_those_of_the_file(index: VideoIndex, clip: Path) -> None:
    exact = truth(index, 20)
    assert exact.shape == (20, 128, 171, 3)
    assert np.abs(exact - every(clip)[:20]).mean() < 2  # enlarged by swscale there
    reduced = floats(FrameStore(None, SMALL).decode(index.video(0), np.arange(20)))
    assert 0 < np.abs(exact - reduced).mean() < 2


@pytest.mark.parametrize("name", FORMATS)
def test_frame_stores_give_the_pictures_that_were_written(name: str, tmp_path: Path) -> None:
    if absent := missing(name):
        pytest.skip(f"not installed: {', '.join(absent)}")
    pictures = np.stack([workloads.picture(number, SMALL, noise=0) for number in range(70)])
    FORMATS[name].write(tmp_path, pictures, 3)
    clips = opened(name, tmp_path, 70)(1, (48, 0, 24))
    for start, found in zip((48, 0, 24), clips, strict=True):
        assert found.shape == (LENGTH, 128, 171, 3)
        distance = np.abs(found.astype(int) - pictures[start : start + LENGTH]).mean()
        assert distance == 0 if name.startswith("RGB") else distance < 8


def test_a_tuple_is_cropped_and_normalised() -> None:
    pictures = np.stack([workloads.picture(number, SMALL) for number in range(70)])
    one = cut(2, sample=5, first=4)
    assert isinstance(one, Cut)
    assert sorted(one.starts) == [4, 28, 52]
    shown = [pictures[start : start + LENGTH] for start in one.starts]
    made = finish(shown, one.corners, torch.empty(3, 3, LENGTH, CROP, CROP))
    for clip, frames, (y, x) in zip(made, shown, one.corners, strict=True):
        wanted = torch.from_numpy(frames[:, y : y + CROP, x : x + CROP]).permute(3, 0, 1, 2) / 255
        mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (workloads.MEAN, workloads.STD))
        torch.testing.assert_close(clip, (wanted - mean) / std, rtol=1e-4, atol=1e-4)
    assert len({cut(0, sample, 4).starts for sample in range(30)}) == 6


def test_one_core_and_the_page_cache(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    path = tmp_path / "file"
    path.write_bytes(bytes(2**20))
    path.read_bytes()
    assert resident([path]) == 1
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True).stdout
    if kind.strip() not in ("tmpfs", "ramfs"):  # their files live in the page cache
        evict([path])
        assert resident([path]) < 1


def test_mapped_shards_are_counted(index: VideoIndex, tmp_path: Path) -> None:
    before = in_memory()["shards, RSS"]
    store = FrameStore(tmp_path, SMALL)
    fill_linked(store, index, files=2)
    kept = store.read(index.video(0), 0, 90)
    assert kept is not None
    assert kept.data.sum() > 0
    assert in_memory()["shards, RSS"] - before >= kept.data.nbytes / 2**20 - 1


def test_a_run_writes_what_the_tables_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_store, "installed", lambda: {"PyAV + torch": "0"})
    bench_store.main(
        methods=("VCOP, 128x171",),
        out=tmp_path / "all.jsonl",
        repeats=1,
        batches=1,
        batch_size=2,
        workers=1,
        quick=True,
    )
    lines = [json.loads(text) for text in (tmp_path / "all.jsonl").read_text().splitlines()]
    mine = {bench: make for bench, make in TABLES.items() if bench != "store_fidelity"}  # of another benchmark
    assert {line["bench"] for line in lines} == set(mine)
    for bench, make in mine.items():
        head, _, *rows = make([line for line in lines if line["bench"] == bench]).split("\n\n")[0].splitlines()
        assert rows
        assert {row.count("|") for row in rows} == {head.count("|")}
        assert make([]).count("\n") == 1  # a head without rows
    epochs = next(line for line in lines if line["bench"] == "store_epochs" and "1 core" not in line["workload"])
    assert epochs["facts"]["bytes a frame"] == 192 * 172
    (memory,) = (line for line in lines if line["bench"] == "store_memory")
    assert all(found["from the store"] == 1 for found in memory["processes"].values())
    assert "VCOP, 128x171, 1 core" in report.section("store_epochs", lines)


def test_epochs_of_full_stores_alone(tmp_path: Path) -> None:
    """Later epochs by each backend, and nothing that decodes."""
    bench_store.main(
        pieces=("epochs",),
        methods=("VCOP, 128x171",),
        out=tmp_path / "all.jsonl",
        cores=(1,),
        decode=False,
        repeats=1,
        batches=1,
        batch_size=3,
        quick=True,
    )
    (line,) = (json.loads(text) for text in (tmp_path / "all.jsonl").read_text().splitlines())
    backends = [*(set(bench_store.OTHERS) - set(line["facts"]["left out"]))]
    assert set(line["wall"]) == {bench_store.STORED, *(f"{bench_store.STORED}, backend {name}" for name in backends)}
    assert "VCOP, 128x171, 1 core" in report.section("store_epochs", [line])
    assert line["facts"]["windows from the store"] == f"{2 * 15 * 3} of {2 * 15 * 3}"


def test_a_library_that_cannot_decode_a_clip_is_named(clip: Path, tmp_path: Path) -> None:
    assert bench_store.fails("PyAV + torch", clip) == ""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:1000])
    assert "Error" in bench_store.fails("PyAV + torch", broken)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(VidsslError, match=r"--methods \['nope'\]: take some of"):
        bench_store.main(methods=("nope",), quick=True)
