"""On a terminal there is a bar; in a pipe there are lines, the first of them when the work begins."""

from __future__ import annotations

import pytest

from vidssl import progress
from vidssl.progress import progress_bar


def test_a_pipe_gets_a_line_before_the_first_item(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=3, desc="features", unit="video", show=True) as bar:
        assert capsys.readouterr().err == "features: 0 of 3 videos, 00:00 elapsed\n"
        bar.update(2)
    assert capsys.readouterr().err == ""
    assert list(progress_bar([4, 5], desc="probe", unit="fit", show=True)) == [4, 5]
    assert capsys.readouterr().err == "probe: 0 of 2 fits, 00:00 elapsed\n"


def test_further_lines_follow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    for _ in progress_bar(range(2), desc="clips", unit="video", show=True):
        pass
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"clips: {done} of 2 videos" for done in (0, 1, 2)
    ]


def test_quiet_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar([1], desc="clips", unit="video", show=False)) == [1]
    assert capsys.readouterr().err == ""
