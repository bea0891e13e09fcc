"""What `--data`, `--train` and `--test` name is what is opened, whatever lies in a run's folder."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl.cli.data import indexes_in, open_data, open_kept
from vidssl.index.journal import hold_journal
from vidssl.index.table import VideoIndex
from vidssl.store.frames import FrameStore
from vidssl.types import VidsslError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("a/1", "a/2", "b/3"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        make_clip(tmp_path / "set" / f"{name}.mp4", frames=10)
    return tmp_path / "set"


def test_a_list_beside_the_videos_is_not_the_folder(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    open_data(videos, run)  # as training does
    (videos / "some.csv").write_text("path,label\na/1.mp4,x\nb/3.mp4,y\n")
    found = open_kept(videos / "some.csv", run)
    assert found.column("path").to_pylist() == ["a/1.mp4", "b/3.mp4"]
    assert found.column("label").to_pylist() == ["x", "y"]
    assert found.read == 0  # the run's index knew them

    other = tmp_path / "other"
    open_data(videos / "some.csv", other)  # trained on the list
    assert len(open_kept(videos, other)) == 3
    assert len(open_data(videos / "some.csv", run)) == 2  # a resumed run would be told so
    assert len(open_data(videos, other)) == 3
    assert open_data(videos, run).read == 0
    shutil.rmtree(run / "features")
    elsewhere = tmp_path / "lists" / "some.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_text(f"path,label\n{videos}/a/1.mp4,x\n")
    assert open_kept(elsewhere, run).read == 1
    assert open_kept(elsewhere, run).read == 0  # kept
    make_clip(videos / "a" / "4.mp4", frames=12)
    again = open_kept(videos, run)
    assert (len(again), again.read) == (4, 1)


def test_an_index_is_itself(videos: Path, tmp_path: Path) -> None:
    VideoIndex.build(videos, progress=False).select([1]).save(tmp_path / "one.arrow")
    assert open_kept(tmp_path / "one.arrow", tmp_path).column("path").to_pylist() == ["a/2.mp4"]


def test_the_store_has_an_index_for_other_runs(videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FrameStore(tmp_path / "store", (24, 32))
    assert open_data(videos, tmp_path / "one", store=store).read == 3
    assert store.stats["kept"] == 30
    assert open_data(videos, tmp_path / "two", store=store).read == 0
    assert open_data(videos, None, store=store).read == 0
    assert open_kept(videos, tmp_path / "three", store=store).read == 0
    make_clip(videos / "a" / "4.mp4", frames=12)
    assert open_data(videos, None, store=FrameStore(tmp_path / "store", (24, 32), limit=0)).read == 1
    assert open_data(videos, None, store=store).read == 1  # a limit of 0 writes nothing
    assert open_data(videos, None, store=store).read == 0
    assert store.stats["kept"] == 42
    (videos / "some.csv").write_text("path,label\na/1.mp4,x\n")
    assert open_data(videos / "some.csv", None, store=store).read == 1  # other data has another index
    assert len(indexes_in(tmp_path / "store")) == 2
    assert sorted(path for path in (tmp_path / "store").iterdir() if path.name[0] == ".") == []
    for path in indexes_in(tmp_path / "store"):
        path.write_bytes(path.read_bytes()[:100])
    assert open_data(videos, None, store=store).read == 4
    assert "the videos are read again" in caplog.text
    assert open_data(videos, None, store=store).read == 0
    with pytest.raises(VidsslError, match="no such folder"):
        open_data(tmp_path / "nowhere", None, store=store)


def test_an_interrupted_index_of_a_store_continues(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, save = FrameStore(tmp_path / "store", (24, 32)), VideoIndex.save

    def stop(index: VideoIndex, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoIndex, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        open_data(videos, None, store=store)
    monkeypatch.setattr(VideoIndex, "save", save)
    [journal] = [path for path in indexes_in(tmp_path / "store") if path.name[0] == "."]
    with hold_journal(journal), ThreadPoolExecutor(1) as other:  # who comes meanwhile reads all videos: nobody waits
        assert other.submit(open_data, videos, None, store=FrameStore(tmp_path / "store", (24, 32))).result().read == 3
    for path in indexes_in(tmp_path / "store"):
        if path.name[0] != ".":
            path.unlink()
    assert open_data(videos, None, store=store).read == 0
    assert len(indexes_in(tmp_path / "store")) == 1
