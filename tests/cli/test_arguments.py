"""Paths on the command line."""

from pathlib import Path

import pytest

from vidssl.cli import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says of wrong arguments, on one line."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return " ".join(capsys.readouterr().err.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["store", "fill", "", "s", "--store-size", "24x32"], "PATH"),
        (["store", "fill", "v", "", "--store-size", "24x32"], "PATH"),
        (["store", "rm", ""], "PATH"),
        (["store", "rm", "s", "--keep", ""], "--keep"),
        (["store", "rm", "s", "--keep", "v", ""], "--keep"),
        (["index", "", "--out", "x.arrow"], "PATH"),
        (["index", "v", "--out", ""], "--out"),
        (["index", "v", "--out", "x.arrow", "--store", ""], "--store"),
        (["train", "vcop_r3d_tiny", "--data", "", "--out", "x"], "--data"),
        (["evaluate", "retrieval", "", "--train", "x"], "PATH"),
        (["evaluate", "retrieval", "x", "--train", ""], "--train"),
        (["report", ""], "[PATH [PATH ...]]"),
    ],
)
def test_an_empty_path_is_refused(
    arguments: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Path makes the current folder of it."""
    monkeypatch.chdir(tmp_path)
    error = refused(arguments, capsys)
    assert f"Error parsing {name}: " in error
    assert "the path is empty; name a file or folder, or `.` for the current folder" in error
    assert list(tmp_path.iterdir()) == []


def test_keep_needs_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one it would delete the whole store."""
    (tmp_path / f"{'0' * 16}.frames.arrow").write_text("a shard")
    assert "Error parsing --keep: it needs a data set" in refused(["store", "rm", str(tmp_path), "--keep"], capsys)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a shard"]
