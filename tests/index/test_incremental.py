"""An index is updated by reading only what changed, survives an interrupted write, and is mapped rather than read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.clips import make_clip
from vidssl.cli import main
from vidssl.index import build as module
from vidssl.index.journal import Journal
from vidssl.index.scan import scan
from vidssl.index.schema import SCHEMA
from vidssl.index.table import VideoIndex


def test_only_new_and_changed_files_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = VideoIndex.build(folder, progress=False)
    make_clip(folder / "1.mp4", frames=20)
    make_clip(folder / "new.mp4", frames=8)
    (folder / "3.mp4").unlink()
    seen = []

    def spy(path: Path, *place: int | None) -> dict[str, object]:
        seen.append(path.name)
        return real(path, *place)

    real: Any = scan
    monkeypatch.setattr(module, "scan", spy)
    again = VideoIndex.build(folder, known=first, progress=False)
    assert sorted(seen) == ["1.mp4", "new.mp4"]
    assert again.read == 2
    monkeypatch.undo()
    assert again.table.equals(VideoIndex.build(folder, progress=False).table)


def test_the_command_brings_an_index_up_to_date(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index.arrow"
    assert main(["index", str(folder), "--out", str(out)]) == 0
    assert "4 videos read, 0 taken from the old index" in capsys.readouterr().out
    (folder / "0.mp4").unlink()
    make_clip(folder / "9.mp4", frames=7)
    assert main(["index", str(folder), "--out", str(out)]) == 0
    assert (
        "1 videos read, 3 taken from the old index; 1 rows of the old index are gone, changed or were not read"
        in capsys.readouterr().out
    )
    assert VideoIndex.load(out).column("path").to_pylist() == ["1.mp4", "2.mp4", "3.mp4", "9.mp4"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["index.arrow"]


KILLED = """
import sys, time
from vidssl.index import build, table
build._SAVED = 1
real = build.scan
def slow(path, *place):
    if path.name == "3.mp4":
        time.sleep(60)
    return real(path, *place)
build.scan = slow
table.VideoIndex.build(sys.argv[1], journal=sys.argv[2], workers=1, progress=False)
"""


def test_a_killed_build_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / ".index.partial"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(journal)])
    schema = SCHEMA.with_metadata({b"vidssl.index": str(folder.resolve()).encode()})
    deadline = time.monotonic() + 60
    while Journal(journal, schema).found.num_rows < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    index = VideoIndex.build(folder, journal=journal, progress=False)
    assert index.read == 1
    assert index.table.equals(VideoIndex.build(folder, progress=False).table)


def test_a_journal_that_is_cut_off_gives_what_was_whole(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAVED", 1)
    journal = tmp_path / "journal"
    VideoIndex.build(folder, journal=journal, progress=False)
    whole = journal.read_bytes()
    schema = SCHEMA.with_metadata({b"vidssl.index": str(folder.resolve()).encode()})
    counts = []
    for size in (*range(0, len(whole), 97), len(whole)):
        journal.write_bytes(whole[:size])
        counts.append(Journal(journal, schema).found.num_rows)
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 4)
    other = SCHEMA.with_metadata({b"vidssl.index": b"/elsewhere"})
    assert Journal(journal, other).found.num_rows == 0


def test_a_mapped_index_takes_no_memory(folder: Path, tmp_path: Path) -> None:
    one = VideoIndex.build(folder, progress=False)
    VideoIndex(pa.concat_tables([one.table] * 5000), one.root).save(tmp_path / "big.arrow")
    size, before = os.path.getsize(tmp_path / "big.arrow"), pa.total_allocated_bytes()
    index = VideoIndex.load(tmp_path / "big.arrow")
    assert len(index) == 20_000
    assert size > 2e6
    assert pa.total_allocated_bytes() - before < 0.2 * size
    chosen = index.select(np.arange(19_990, 20_000)).select([9, 0])
    assert pa.total_allocated_bytes() - before < 0.2 * size
    assert [chosen.frames(row) for row in range(2)] == [9, 8]
    assert not index.video(0).packet.flags.owndata
    assert chosen.video(1).path.name == index.video(19_990).path.name == "2.mp4"
