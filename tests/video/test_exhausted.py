"""A lack of file descriptors is not taken for a damaged video."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import Loader, VideoIndex
from vidssl.loader.processes import Processes
from vidssl.pretext import Vcop
from vidssl.video.decode import decode
from vidssl.video.exhausted import ExhaustedError, exhausted
from vidssl.video.packets import DecodeError


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_clip(root / f"{number}.mp4", frames=70)
    return VideoIndex.build(root, progress=False)


@contextmanager
def no_more_files(process: int = 0) -> Iterator[None]:
    """While it lasts, a process can open no file. 0: this one."""
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))  # those that are open stay open
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)


def test_a_loader_says_so_and_blames_no_video(index: VideoIndex) -> None:
    def loader() -> Loader:
        return Loader(index, Vcop(), batch_size=2, device="cpu", workers=1, engine="eager")

    wanted = [batch.clips.numpy().copy() for batch in loader()]
    lacking = loader()
    with no_more_files(), pytest.raises(ExhaustedError, match=r"mp4: too many open files; .*`ulimit -n`"):
        list(lacking)
    assert lacking.stats["corrupt_videos"] == 0
    again = loader()
    again.load_state_dict(lacking.state_dict())
    for batch, right in zip(again, wanted, strict=True):
        np.testing.assert_array_equal(batch.clips.numpy(), right)


def test_so_does_a_process_that_decodes(index: VideoIndex) -> None:
    video, numbers = index.video(0), np.arange(9)
    processes = Processes()
    with no_more_files(), pytest.raises(ExhaustedError, match="too many open files"):
        processes.decode(video, numbers)
    processes.decode(video, numbers[:1])
    child = int(Path("/proc/self/task", str(os.getpid()), "children").read_text().split()[-1])
    with no_more_files(child), pytest.raises(ExhaustedError, match="too many open files"):
        processes.decode(video, numbers[:1])
    right = decode(video, numbers)
    np.testing.assert_array_equal(processes.decode(video, numbers).data, right.data)


def test_it_is_found_among_the_causes() -> None:
    damaged = DecodeError("damaged")
    assert exhausted(damaged, "a.mp4") is None
    damaged.__cause__ = OSError(errno.EIO, "")
    assert exhausted(damaged, "a.mp4") is None
    damaged.__cause__.__cause__ = OSError(errno.ENFILE, "")
    assert str(exhausted(damaged, "a.mp4")).startswith("a.mp4: too many open files")
