"""A folder of frames gives the batches, kept frames and copies that the same pictures give as a video file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.clips import make_frames
from tests.loader.test_loader import MOTION, PLAIN
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.kernels.plan import PlanSpec
from vidssl.prepare import Encoding, prepare
from vidssl.pretext import Vcop
from vidssl.types import Batch
from vidssl.video.decode import decode
from vidssl.video.segment import cut_segment

FRAMES = {"a": 40, "b": 35, "c": 52}


def file_of(folder: Path, out: Path) -> Path:
    """The pictures of a folder as the packets of one MOV file, not encoded again."""
    with av.open(str(folder / "img_%05d.jpg"), format="image2") as source, av.open(str(out), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return out


@pytest.fixture(scope="module")
def indices(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoIndex, VideoIndex]:
    """(of folders of frames, of files with the same packets)."""
    root = tmp_path_factory.mktemp("both")
    for number, (name, frames) in enumerate(FRAMES.items()):
        options: dict[str, Any] = {"subsampling": 0} if name == "b" else {}
        folder = make_frames(root / "folders" / "x" / name, frames=frames, first=1 + 7 * number, **options)
        for path in sorted(folder.iterdir()):
            if number:  # FFmpeg finds the first number itself only if it is small
                (root / "plain" / name).mkdir(parents=True, exist_ok=True)
                place = int(path.stem[-5:]) - 7 * number
                (root / "plain" / name / f"img_{place:05d}.jpg").symlink_to(path)
        (root / "files" / "x").mkdir(parents=True, exist_ok=True)
        file_of(root / "plain" / name if number else folder, root / "files" / "x" / f"{name}.mov")
    folders, files = (VideoIndex.build(root / kind, workers=2, progress=False) for kind in ("folders", "files"))
    assert folders.column("path").to_pylist() == [f"x/{name}" for name in FRAMES]
    return folders, files


def test_rows_differ_only_in_their_container(indices: tuple[VideoIndex, VideoIndex]) -> None:
    folders, files = indices
    one, other = (index.table.drop(["bytes", "mtime_ns", "archive", "points"]).to_pylist() for index in indices)
    assert len(one) == len(other) == len(FRAMES)
    for left, right in zip(one, other, strict=True):
        assert {name for name in left if left[name] != right[name]} <= {"path", "container", "header_checksum"}
        assert left["container"] == "image2"
    assert folders.classes == files.classes == ("x",)


@pytest.mark.parametrize("plan", [PLAIN, MOTION], ids=["plain", "motion"])
def test_batches_are_those_of_a_file(plan: PlanSpec, indices: tuple[VideoIndex, VideoIndex]) -> None:
    of = [
        [Batch(*(part.clone() for part in batch)) for batch in Loader(index, plan, batch_size=2, seed=3, workers=2)]
        for index in indices
    ]
    assert len(of[0]) == len(of[1]) > 0
    for left, right in zip(*of, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_kept_frames_are_those_of_each_folder(indices: tuple[VideoIndex, VideoIndex], tmp_path: Path) -> None:
    """Also of two folders whose pictures have one name, size and time: their frames are not mixed up."""
    folders, _ = indices
    twins = [make_frames(tmp_path / "twins" / name, frames=6, name="{}.bmp") for name in ("a", "b")]
    for path in twins[1].iterdir():
        data = bytearray(path.read_bytes())
        data[-1000:] = bytes(1000)
        path.write_bytes(data)
    for folder in twins:
        for path in folder.iterdir():
            os.utime(path, ns=(10**18, 10**18))
    for index in (folders, VideoIndex.build(tmp_path / "twins", workers=2, progress=False)):
        store = FrameStore(tmp_path / "store", size=(24, 32))
        store.fill(index, workers=2)
        assert len(set(store.keys(index))) == len(index)
        for row in range(len(index)):
            video = index.video(row)
            assert [*store.keys(index)][row] == store.key(video)
            kept = store.read(video, 0, 6)
            assert kept is not None
            expected = FrameStore(tmp_path / "empty", size=(24, 32)).decode(video, np.arange(6))
            assert (kept.data == expected.data).all()


def test_a_segment_has_the_frames_of_the_folder(indices: tuple[VideoIndex, VideoIndex], tmp_path: Path) -> None:
    video, numbers = indices[0].video(0), np.asarray([15, 16, 30])
    segment = cut_segment(video, numbers)
    (tmp_path / "s.mp4").write_bytes(segment.data.tobytes())
    index = VideoIndex.build(tmp_path, workers=1, progress=False)
    assert (decode(index.video(0), segment.position.astype(np.int64)).data == decode(video, numbers).data).all()


def test_prepare_makes_videos_of_them(tmp_path: Path) -> None:
    for name in ("v1", "1420"):
        make_frames(tmp_path / "in" / "x" / name, frames=40)
    (tmp_path / "in" / "numbers.txt").write_text("v1 1420 40\n")  # names without an ending could be any word
    index = VideoIndex.build(tmp_path / "in", workers=2, progress=False, frame_rate=12.5)
    report = prepare(
        index, tmp_path / "out", Encoding(crf=4, multiple=2), Vcop(clip_length=4, interval=2), workers=2, progress=False
    )
    assert (report.made, report.skipped, report.lists) == (2, [], {})
    after = VideoIndex.build(tmp_path / "out", workers=2, progress=False)
    assert after.column("path").to_pylist() == ["x/1420.mp4", "x/v1.mp4"]
    assert after.column("frame_rate").to_pylist() == [12.5, 12.5]
    shown, source = (decode(one.video(0), np.arange(40)).data[:, :48].astype(np.float32) for one in (after, index))
    distance = np.abs(shown[:, None, ::4, ::4] - source[None, :, ::4, ::4]).mean(axis=(2, 3))
    assert (distance.argmin(axis=1) == np.arange(40)).all()
