"""A build that Ctrl-C stops ends at once and keeps its rows; what the machine did not let us read is read again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clips import make_clip
from vidssl.cli import main
from vidssl.deadline import Deadline
from vidssl.index import build as module
from vidssl.index.journal import Journal, journal_of
from vidssl.index.scan import scan
from vidssl.index.schema import SCHEMA
from vidssl.index.table import VideoIndex
from vidssl.index.transient import MACHINE, NOT_READ

ROOT = Path(__file__).resolve().parents[2]
# Files named slow are inside a call that nothing ends, such as FFmpeg in an hour-long file.
SLOW = """
import os, signal, sys, time
from vidssl.cli import main
from vidssl.deadline import Deadline
from vidssl.index import build
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
real = build.scan
def slow(path, *place):
    if path.name.startswith("slow"):
        os.write(1, b"slow\\n")
        time.sleep(60)
    return real(path, *place)
build.scan = slow
sys.exit(main())
"""


def rows_in(journal: Path, folder: Path) -> int:
    schema = SCHEMA.with_metadata({b"vidssl.index": str(folder.resolve()).encode()})
    return Journal(journal, schema).found.num_rows if journal.exists() else 0


@pytest.mark.parametrize("command", ["index", "train"])
def test_ctrl_c_ends_it_within_two_seconds_and_keeps_every_row(folder: Path, tmp_path: Path, command: str) -> None:
    for name in ("slow a.mp4", "slow b.mp4"):
        make_clip(folder / name, frames=8)
    out, run = tmp_path / "index.arrow", tmp_path / "run"
    arguments = {
        "index": ["index", str(folder), "--out", str(out), "--workers", "3"],
        "train": ["train", "vcop_r3d_tiny", "--data", str(folder), "--out", str(run), "--device", "cpu"],
    }[command]
    journal = journal_of(out if command == "index" else run / "index.arrow")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "slow\n"
    if command == "index":  # with three threads, two of them in slow files
        end = time.monotonic() + 60
        while rows_in(journal, folder) < 4:  # these are fewer than a record holds
            assert time.monotonic() < end
            time.sleep(0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # impatience changes nothing
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - began < 4  # 2 on a machine that does nothing else
    assert process.returncode == 130
    assert "Traceback" not in error
    if command == "index":
        said = "stopped: 4 of 6 files are read; they are kept, and the same command continues"
        assert error.splitlines()[-1] == said
        assert rows_in(journal, folder) == 4
        for name in ("slow a.mp4", "slow b.mp4"):
            (folder / name).unlink()
        assert main(arguments) == 0
        assert not journal.exists()
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["index.arrow"]


def test_two_builds_with_one_journal_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(folder / "slow.mp4", frames=8)
    arguments = ["index", str(folder), "--out", str(tmp_path / "index.arrow")]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "slow\n"
    assert main(arguments) == 2
    assert f"process {process.pid} on " in capsys.readouterr().err
    process.kill()
    process.communicate()
    (folder / "slow.mp4").unlink()
    assert main(arguments) == 0


def failing(path: Path, times: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Reading `path` fails that often. Returns all files that are scanned, as they are scanned."""
    seen: list[Path] = []
    left = [times]
    real = Path.open

    def opened(self: Path, *arguments: Any, **named: Any) -> Any:
        if self == path and left[0]:
            left[0] -= 1
            raise error
        return real(self, *arguments, **named)

    def spy(one: Path, *place: Any) -> dict[str, Any]:
        seen.append(one)
        return scan(one, *place)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(module, "scan", spy)
    return seen


@pytest.mark.parametrize("error", [*(OSError(number, os.strerror(number)) for number in MACHINE), MemoryError()])
def test_what_the_machine_did_not_read_is_read_again_at_once(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = failing(folder.resolve() / "1.mp4", 1, error, monkeypatch)
    index = VideoIndex.build(folder, progress=False)
    assert index.column("status").to_pylist() == ["ok"] * 4
    assert [path.name for path in seen].count("1.mp4") == 2
    assert len(seen) == 5


def test_it_is_never_taken_from_an_index_or_a_journal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal"
    with monkeypatch.context() as patch:
        failing(folder.resolve() / "1.mp4", 2, OSError(errno.EMFILE, "Too many open files"), patch)
        index = VideoIndex.build(folder, journal=journal, workers=1, progress=False)
    assert index.column("status").to_pylist() == ["ok", f"{NOT_READ}too many open files", "ok", "ok"]
    assert "1 of these could not be read" in index.summary()
    assert "the same command tries them again" in index.summary()
    for again in (
        VideoIndex.build(folder, known=index, progress=False),
        VideoIndex.build(folder, journal=journal, progress=False),
    ):
        assert again.read == 1
        assert again.column("status").to_pylist() == ["ok"] * 4


def test_a_time_limit_is_not_kept_and_not_tried_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        seen = failing(folder / "none", 0, OSError(), patch)
        patch.setattr(Deadline, "left", -1.0)
        index = VideoIndex.build(folder, progress=False)
    assert len(seen) == 4
    assert all(status.startswith(f"{NOT_READ}it took longer") for status in index.column("status").to_pylist())
    assert len(VideoIndex.build(folder, known=index, progress=False).usable()) == 4


def test_an_error_in_mid_file_does_not_cut_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with the frames before the error would be usable, and kept for good."""
    from vidssl.video.packets import PacketReader

    real, left = PacketReader.frames, [1]

    def frames(self: PacketReader, packet: Any, **named: Any) -> Any:
        if left[0] and packet is not None and packet.opaque == [3]:
            left[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self, packet, **named)

    monkeypatch.setattr(PacketReader, "frames", frames)
    index = VideoIndex.build(folder, workers=1, progress=False)
    assert not left[0]
    assert index.column("frames").to_pylist() == [6, 7, 8, 9]
    assert index.column("note").to_pylist() == [""] * 4
