"""One process at a time writes to a folder: a second one is refused, and a lock left behind never blocks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vidssl import lock as module
from vidssl.lock import LOCK, hold
from vidssl.types import VidsslError

HOLDER = """
import sys, time
from pathlib import Path
from vidssl.lock import hold
with hold(Path(sys.argv[1]), "test"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / LOCK


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def left_by_another_machine(path: Path) -> None:
    path.parent.mkdir()
    about = {"host": "node7", "pid": 4242, "since": "2026-01-02 03:04:05", "boot": "another", "began": "1"}
    path.write_text(json.dumps(about))


def test_a_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    process = holder(path)
    begins = re.escape(f"train: out='x': process {process.pid} on {os.uname().nodename} (since ")
    with pytest.raises(VidsslError, match=begins), hold(path, "train: out='x'"):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.exists()
    with hold(path, "test"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


def test_a_thread_may_hold_its_lock_again_and_another_thread_may_not(path: Path) -> None:
    refused = []

    def other() -> None:
        try:
            with hold(path, "test"):
                pass
        except VidsslError as error:
            refused.append(str(error))

    with hold(path, "test") as first:
        with hold(path, "test") as second:
            assert first is second
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert first.is_intact()
    assert len(refused) == 1
    assert not path.exists()


def test_a_deleted_folder_is_noticed(path: Path) -> None:
    with hold(path, "test") as lock:
        path.unlink()
        path.parent.rmdir()
        assert not lock.is_intact()
        path.parent.mkdir()
        path.touch()  # another file of this name
        assert not lock.is_intact()
    assert path.exists()


def test_a_living_holder_on_another_machine_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where flock does not reach across machines: the holder touches the file."""
    monkeypatch.setattr(module, "_WATCHED", 2.0)
    left_by_another_machine(path)
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        with pytest.raises(VidsslError, match=r"process 4242 on node7 .* delete "), hold(path, "test"):
            pass
    finally:
        ended.set()
        thread.join()
    began = time.monotonic()
    with hold(path, "test"):
        assert time.monotonic() - began >= 2
    assert not path.exists()


def test_a_holder_touches_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT", 0.05)
    with hold(path, "test"):
        os.utime(path, (1, 1))
        end = time.monotonic() + 10
        while path.stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_without_flock_a_living_process_is_refused_and_a_dead_one_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    process = holder(path)
    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(VidsslError, match=f"process {process.pid} "), hold(path, "test"):
        pass
    process.kill()
    process.communicate()
    with hold(path, "test"):
        pass


def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    with hold(path, "test"):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
    try:
        with hold(path, "test"):
            assert path.exists()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("content", ["", "{", "[" * 4000, '{"pid": []}', '{"host": "", "pid": 1e999}', "\0" * 200])
def test_a_damaged_lock_does_not_block(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with hold(path, "test"):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").touch()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for path in (tmp_path / "file" / LOCK, tmp_path / "link"):
        with pytest.raises(VidsslError, match=r"test: .*; name a folder that can be written"), hold(path, "test"):
            pass
    assert (tmp_path / "other").read_text() == ""


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    there, full = tmp_path / "there", tmp_path / "full"
    there.mkdir()
    for folder in (there, full, tmp_path / "a/b"):
        with pytest.raises(VidsslError, match="refused"), hold(folder / LOCK, "train"):  # noqa: PT012 - in the block
            if folder == full:
                (folder / "index.arrow").touch()
            raise VidsslError("refused")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "there",
        "full",
        "full/index.arrow",
    }
    with hold(tmp_path / "c" / LOCK, "train"):
        pass
    assert (tmp_path / "c").is_dir()
