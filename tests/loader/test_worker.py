"""What is shown in the place of windows that cannot be read does not depend on what a process read before."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import Loader, VideoIndex
from vidssl.deadline import FileTimeoutError
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import Batch
from vidssl.video.packets import DecodeError, PacketReader

SPEC = PlanSpec(
    arrangements=orders(2, 2),
    labels=np.arange(2),
    bases=2,
    length=2,
    gap=(0, 0),
    augment=Augment(resize=(32, 32), crop=(32, 32)),
)
X264 = "keyint=16:min-keyint=16:scenecut=0:bframes=0"
DAMAGED = 34  # packet of one.mp4; every 16th is a key frame


@pytest.fixture
def index(tmp_path: Path) -> VideoIndex:
    """Of two videos: after indexing, one packet of one.mp4 changed."""
    for name in ("one", "two"):
        make_clip(
            tmp_path / f"{name}.mp4", frames=64, options={"x264-params": "keyint=16:min-keyint=16:scenecut=0:bframes=0"}
        )
    index = VideoIndex.build(tmp_path, progress=False)
    with av.open(str(tmp_path / "one.mp4")) as file:
        place, size = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size][DAMAGED]
    assert place is not None
    changed = bytearray((tmp_path / "one.mp4").read_bytes())
    changed[place + size // 2] ^= 255
    replace_bytes(tmp_path / "one.mp4", bytes(changed))
    return index


def replace_bytes(path: Path, content: bytes) -> None:
    """Gives a file other bytes, and its old time."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def loader(index: VideoIndex, **options: Any) -> Loader:
    wanted = {"batch_size": 2, "device": "cpu", "seed": 3, "workers": 1, "max_corrupt": 1} | options
    return Loader(index, SPEC, **wanted)


def shown(batches: list[Batch]) -> list[tuple[int, int]]:
    """(video, first frame) of each tuple."""
    return [
        (int(video), int(frame.min()))
        for batch in batches
        for video, frame in zip(batch.video, batch.frame, strict=True)
    ]


def readable(window: Any) -> bool:
    """False if decoding reads the damaged packet: from the key frame before a window to its last frame."""
    return window.video == 1 or not window.first - window.first % 16 <= DAMAGED < window.first + window.span


def test_a_file_with_one_damaged_packet_is_replaced_by_the_window(index: VideoIndex) -> None:
    epochs = 8
    with loader(index) as whole:
        sampler = whole.sampler
        found, states = [], []
        for _ in range(epochs):
            found.append(shown(list(whole)))
            states.append(whole.state_dict())
        wanted = [
            [
                next(w for w in (sampler.window(epoch, at, attempt) for attempt in range(2)) if readable(w))[1:3]
                for at in range(2)
            ]
            for epoch in range(epochs)
        ]
        assert found == wanted
        videos = [{video for video, _ in epoch} for epoch in found]
        assert {0, 1} in videos[videos.index({1}) :], "a window of the file can be read after one that cannot"
        assert whole.stats["corrupt_videos"] == 1
        assert whole.stats["replaced"] == videos.count({1})
    for workers in (1, 4):
        with loader(index, workers=workers) as several:
            assert [shown(list(several)) for _ in range(epochs)] == wanted
    with (
        loader(index, batch_size=1, rank=0, world_size=2) as left,
        loader(index, batch_size=1, rank=1, world_size=2) as right,
    ):
        assert [shown(list(left)) + shown(list(right)) for _ in range(epochs)] == wanted
    for epoch, state in enumerate(states[:-1]):
        with loader(index) as resumed:
            resumed.load_state_dict(state)
            assert shown(list(resumed)) == wanted[epoch + 1]


def test_a_warning_names_a_file_once(index: VideoIndex, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "quarantine.jsonl"
    with caplog.at_level(logging.WARNING), loader(index, quarantine=path) as whole:
        for _ in range(8):
            list(whole)
        assert whole.stats["replaced"] > 1
        assert len(path.read_text().splitlines()) == whole.stats["replaced"]
    told = [record.getMessage() for record in caplog.records if "takes its place" in record.getMessage()]
    assert len(told) == 1
    assert "one.mp4" in told[0]


@pytest.mark.parametrize("late", [True, False])
def test_only_a_file_that_was_late_is_not_opened_again(
    index: VideoIndex, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, plain = list[str](), PacketReader.__init__

    def fails(self: PacketReader, path: Path, **options: Any) -> None:
        if path.name == "one.mp4":
            opened.append(path.name)
            raise FileTimeoutError(str(path), "too late") if late else DecodeError(f"{path}: damaged")
        plain(self, path, **options)

    monkeypatch.setattr(PacketReader, "__init__", fails)
    with loader(index) as whole:
        epochs = [shown(list(whole)) for _ in range(3)]
        assert {video for epoch in epochs for video, _ in epoch} == {1}
        assert whole.stats["corrupt_videos"] == 1
    assert len(opened) == 1 if late else len(opened) >= 3
