"""The journal of OUT has no longest length, as it grows with the number of videos; only its lines have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl import VidsslError, files
from vidssl.prepare import Encoding
from vidssl.prepare.journal import JOURNAL, Journal

_VIDEOS = 100


def about(number: int) -> dict[str, object]:
    return {"path": f"{number}.avi", "bytes": 5, "mtime_ns": number}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """OUT with copies, and a journal that ends in a line which was cut off."""
    with Journal(tmp_path, Encoding()) as journal:
        for number in range(_VIDEOS):
            with journal.writing(f"{number}.mp4") as aside:
                aside.write_bytes(b"copy")
            journal.add(about(number), f"{number}.mp4", "")
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"path": "100.a')
    return tmp_path


def test_a_journal_may_be_longer_than_a_text(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.read_bytes, "__defaults__", (1000,))
    monkeypatch.setattr(files.read_text, "__defaults__", ("utf-8", 1000))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read at once"))
    assert (out / JOURNAL).stat().st_size > 1000
    with Journal(out, Encoding()) as journal:
        assert journal.names() == {f"{number}.avi": f"{number}.mp4" for number in range(_VIDEOS)}
        journal.add(about(_VIDEOS), "0.mp4", "")
    later = Journal(out, None)
    assert all(later.has(about(number), f"{number}.mp4") for number in range(_VIDEOS))
    assert later.has(about(_VIDEOS), "0.mp4")  # its line was not joined to the one that was cut off
    assert all(later.unchanged(f"{number}.mp4") for number in range(_VIDEOS))


def test_a_line_without_an_end_is_named(out: Path) -> None:
    with (out / JOURNAL).open("ab") as file:
        file.truncate(2**25)
    with pytest.raises(
        VidsslError, match=rf"{JOURNAL}: cannot be read \(.*line \d+ is longer than .*\); take another folder"
    ):
        Journal(out, Encoding())


def test_damaged_lines_are_ignored(out: Path) -> None:
    with (out / JOURNAL).open("ab") as file:
        file.write(b'\n\xff\xfe\0\n{"path": "\xff"}\n[[[\n' + b"[" * 100_000 + b"\n")
    assert len(Journal(out, Encoding()).names()) == _VIDEOS


def test_an_empty_journal_begins_with_its_settings(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).touch()
    with Journal(tmp_path, Encoding()):
        pass
    assert (tmp_path / JOURNAL).read_text().startswith('{"settings": ')
    with pytest.raises(VidsslError, match="made with other settings"):
        Journal(tmp_path, Encoding(crf=5))
