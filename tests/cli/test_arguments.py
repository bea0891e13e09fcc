"""Paths on the command line."""

from pathlib import Path

import pytest

from vidssl.cli import main
from vidssl.cli.arguments import as_given


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says of wrong arguments, on one line."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return " ".join(capsys.readouterr().err.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["store", "fill", "", "s", "--store-size", "24x32"], "DATA"),
        (["store", "fill", "v", "", "--store-size", "24x32"], "STORE"),
        (["store", "rm", ""], "STORE"),
        (["store", "rm", "s", "--keep", ""], "--keep"),
        (["store", "rm", "s", "--keep", "v", ""], "--keep"),
        (["index", "", "--out", "x.arrow"], "DATA"),
        (["index", "v", "--out", ""], "--out"),
        (["index", "v", "--out", "x.arrow", "--store", ""], "--store"),
        (["train", "vcop_r3d_tiny", "--data", "", "--out", "x"], "--data"),
        (["evaluate", "retrieval", "", "--train", "x"], "RUN"),
        (["evaluate", "retrieval", "x", "--train", ""], "--train"),
        (["report", ""], "[RUN [RUN ...]]"),
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


def test_an_error_names_the_option_that_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the functions call `root`, the command line calls --data; and a folder is not answered by every ending."""
    (tmp_path / "empty").mkdir()
    for data, why in (("missing.csv", "no such folder or list"), ("empty", "no video in it")):
        path = str(tmp_path / data)
        out = str(tmp_path / "RUN")
        for given in (["--data", path], [f"--data={path}"], ["--data", f"{path}:2"]):
            assert main(["train", "vcop_r3d_tiny", *given, "--out", out]) == 2
            found = capsys.readouterr().err
            assert f"error: data={path!r}: {why}" in found
            assert "root=" not in found
            assert len(found) < 600


def test_only_what_functions_call_a_path_is_renamed() -> None:
    said = "root='a': run='b': layer='c': root='d'"
    assert as_given(said, ["--train", "a", "--layer", "c", "b"]) == "train='a': run='b': layer='c': root='d'"
    assert as_given("root='a'", ["--train", "a", "--test", "a"]) == "root='a'"  # either may be meant
    assert as_given("root='a-b/c'", ["index", "a-b/c/", "--out=x"]) == "data='a-b/c'"


def test_a_misspelt_recipe_is_answered_by_those_like_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "vcop_r3d_tyni", "--data", "x", "--out", "y"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: vidssl train: 'vcop_r3d_tyni': did you mean vcop_r3d_tiny")
    assert "jigsaw" not in found
    assert main(["trian"]) == 2
    assert "vidssl: 'trian': did you mean train?" in capsys.readouterr().err
    assert main(["evaluate", "zzz"]) == 2
    assert "take one of retrieval, probe, " in capsys.readouterr().err
