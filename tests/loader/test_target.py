"""A batch holds the class of each video, whatever makes the batch and whatever stands in for a corrupt video."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.clips import make_clip
from tests.loader.test_methods import SMALL
from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.pretext import Joint, Vcop
from vidssl.pretext.pace import Pace

TASK = Vcop(clip_length=4, interval=2, augment=SMALL)


def relabelled(index: VideoIndex, labels: list[str | None]) -> VideoIndex:
    column = index.table.schema.get_field_index("label")
    return VideoIndex(index.table.set_column(column, "label", pa.array(labels, pa.string())), index.root)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    """Six videos of three classes that no folder tells; two have no label."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make_clip(root / f"{number}.webm", "libvpx-vp9", frames=36, gop=12, size=(48, 64))
    return relabelled(VideoIndex.build(root, progress=False), ["run", None, "jump", "sit", None, "run"])


CLASS = torch.tensor([1, -1, 0, 2, -1, 1])  # of jump, run, sit


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("tuples", [1, 2])
@pytest.mark.parametrize(
    "how",
    [
        {"engine": "inline"},
        {"engine": "eager"},
        {"engine": "dali"},
        {"engine": "dali", "decode": "dali"},
        {"engine": "store"},
        pytest.param({"device": "cuda"}, marks=pytest.mark.gpu),
        pytest.param({"device": "cuda", "engine": "eager"}, marks=pytest.mark.gpu),
    ],
    ids=lambda how: " ".join(map(str, how.values())),
)
def test_every_engine_gives_the_class(
    videos: VideoIndex, how: dict[str, Any], tuples: int, train: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"batch_size": 4, "device": "cpu", "workers": 2, "seed": 3} | how
    if how.get("engine") == "store":
        FrameStore(tmp_path, (48, 64)).fill(videos, progress=False)
        settings["store"] = FrameStore(tmp_path, (48, 64), backend="device")
    with Loader(videos, TASK, tuples_per_window=tuples, train=train, **settings) as loader:
        found = list(loader)
        assert loader.engine == how.get("engine", loader.engine)
        for batch in found:
            assert (batch.target.dtype, batch.target.device) == (torch.int64, loader.device)
            assert torch.equal(batch.target.cpu(), CLASS[batch.video.cpu()])
    assert {int(row) for batch in found for row in batch.video} >= ({0, 1, 2, 3, 4, 5} if not train else set())


def test_several_tasks_share_one_class(videos: VideoIndex) -> None:
    task = Joint(tasks=(TASK, Pace(clip_length=4)), augment=SMALL)
    with Loader(videos, task, batch_size=3, device="cpu", workers=1) as loader:
        batch = next(iter(loader))
    assert batch.label.shape == (3, 2)
    assert torch.equal(batch.target, CLASS[batch.video])


def test_a_part_of_an_index_keeps_the_classes_of_the_whole(videos: VideoIndex) -> None:
    for part in (videos.select([5, 4, 3]), videos.select([0, 3, 4, 5]).select([3, 2, 1])):
        for one in (part, pickle.loads(pickle.dumps(part))):
            with Loader(one, TASK, batch_size=3, device="cpu", workers=1, train=False) as loader:
                batch = next(iter(loader))
            assert (one.classes, batch.target.tolist()) == (("jump", "run", "sit"), [1, -1, 2])
    assert "3 videos usable, 108 frames, 2 classes" in part.summary().replace("of 3 ", "")
    again = relabelled(part, ["run", None, "sit"])  # with labels of its own, it is a whole
    assert again.classes == ("run", "sit")


def test_classes_that_are_numbers_come_by_their_value(videos: VideoIndex) -> None:
    numbered = relabelled(videos, ["10", "2", "1", "10", None, "2"])
    assert numbered.classes == ("1", "2", "10")
    with Loader(numbered, TASK, batch_size=6, device="cpu", workers=1, train=False) as loader:
        batch = next(iter(loader))
    assert batch.target.tolist() == [2, 1, 0, 2, -1, 1]


def test_videos_without_any_label(videos: VideoIndex) -> None:
    bare = relabelled(videos, [None] * 6)
    with Loader(bare, TASK, batch_size=3, device="cpu", workers=1) as loader:
        assert [batch.target.tolist() for batch in loader] == [[-1] * 3] * 2


def test_the_class_is_that_of_the_video_that_replaces_a_corrupt_one(videos: VideoIndex, tmp_path: Path) -> None:
    shutil.copytree(videos.root, tmp_path / "videos")
    built = VideoIndex.build(tmp_path / "videos", progress=False)
    (tmp_path / "videos" / "3.webm").write_bytes(b"no video")
    moved = relabelled(built, ["run", None, "jump", "sit", None, "run"])
    with Loader(moved, TASK, batch_size=3, device="cpu", workers=1, max_corrupt=0.5) as loader:
        found = list(loader)
        assert loader.stats["replaced"] >= 1
    assert all(torch.equal(batch.target, CLASS[batch.video]) for batch in found)
    assert 2 not in torch.cat([batch.target for batch in found])  # the only one that sits


def test_a_damaged_column_of_labels_is_named(videos: VideoIndex, tmp_path: Path) -> None:
    """No row can then be trusted to have the right place among the classes."""
    videos.save(tmp_path / "index.arrow")
    data = (tmp_path / "index.arrow").read_bytes()
    assert data.count(b"runjumpsitrun") == 1
    (tmp_path / "index.arrow").write_bytes(data.replace(b"runjumpsitrun", b"runjumpsitran"))
    with pytest.raises(VidsslError, match="its column 'label' is damaged"):
        Loader(VideoIndex.load(tmp_path / "index.arrow"), TASK, batch_size=3, device="cpu")
