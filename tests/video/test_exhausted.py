"""What the machine lacks is not taken for a damaged video."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import Loader, VideoIndex, VidsslError
from vidssl.loader import processes as module
from vidssl.loader.processes import Processes
from vidssl.pretext import Vcop
from vidssl.video.decode import decode
from vidssl.video.exhausted import ExhaustedError, exhausted, lacking
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
    kept = processes.decode(video, numbers[:1])  # so that the next one needs memory of its own
    with no_more_files(child), pytest.raises(ExhaustedError, match="too many open files"):
        processes.decode(video, numbers[:1])
    assert kept.number[0] == 0
    right = decode(video, numbers)
    np.testing.assert_array_equal(processes.decode(video, numbers).data, right.data)


def fails(error: Exception) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


NO_MEMORY, FULL = OSError(errno.ENOMEM, "Cannot allocate memory"), OSError(errno.ENOSPC, "No space left on device")
BUSY = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
REFUSED = VidsslError("the driver cannot pin 1048576 bytes")
LACKS: dict[str, tuple[str, Any, str]] = {
    "file": ("os", SimpleNamespace(**vars(os) | {"memfd_create": fails(NO_MEMORY)}), "memory.*Cannot allocate memory"),
    "length": ("os", SimpleNamespace(**vars(os) | {"ftruncate": fails(FULL)}), "memory.*No space left"),
    "map": ("mmap", SimpleNamespace(**vars(mmap) | {"mmap": fails(NO_MEMORY)}), "memory.*Cannot allocate memory"),
    "process": (
        "subprocess",
        SimpleNamespace(**vars(subprocess) | {"Popen": fails(BUSY)}),
        r"no process can be started.*temporarily unavailable.*`ulimit -u`",
    ),
    "pin": ("", None, "memory.*the driver cannot pin"),
}


@pytest.mark.parametrize("what", LACKS)
def test_no_video_is_blamed_for_what_a_process_lacks(
    what: str, index: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, lacks, said = LACKS[what]
    processes = Processes(None if name else fails(REFUSED))
    monkeypatch.setattr("vidssl.loader.engines.decode", processes.decode)
    with Loader(index, Vcop(), batch_size=1, device="cpu", workers=1, engine="eager") as loader:
        if name:
            monkeypatch.setattr(module, name, lacks)
        with pytest.raises(ExhaustedError, match=rf"mp4: .*{said}"):
            list(loader)
        assert loader.stats["corrupt_videos"] == 0


def test_a_process_lives_on_if_there_is_no_memory_for_a_window(
    index: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, numbers, processes = index.video(0), np.arange(9), Processes()
    kept = processes.decode(video, numbers)
    before = processes._own.process
    with monkeypatch.context() as patch:
        patch.setattr(module, *LACKS["map"][:2])
        with pytest.raises(ExhaustedError, match="take fewer workers"):
            processes.decode(video, numbers)
    assert before is processes._own.process
    np.testing.assert_array_equal(processes.decode(video, numbers).data, kept.data)


def test_what_was_lacking_is_said_as_it_is() -> None:
    said = r"a\.mp4: no room \(No space left on device\); .*: buy a disk, and go on"
    room = partial(lacking, "a.mp4", "no room", "buy a disk")
    with pytest.raises(ExhaustedError, match=said), room():
        raise FULL
    with pytest.raises(ExhaustedError, match="too many open files"), room():
        raise OSError(errno.EMFILE, "")
    with pytest.raises(KeyError), room():
        raise KeyError


def test_it_is_found_among_the_causes() -> None:
    damaged = DecodeError("damaged")
    assert exhausted(damaged, "a.mp4") is None
    damaged.__cause__ = OSError(errno.EIO, "")
    assert exhausted(damaged, "a.mp4") is None
    damaged.__cause__.__cause__ = OSError(errno.ENFILE, "")
    assert str(exhausted(damaged, "a.mp4")).startswith("a.mp4: too many open files")
