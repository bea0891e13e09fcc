"""A URL behaves as a path, is read as one, and is never written to as if it were local."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from vidssl.cli import main
from vidssl.remote import RemotePath, as_path
from vidssl.remote.path import common_folder
from vidssl.types import VidsslError


@pytest.mark.parametrize("url", ["s3://bucket/a/b.mp4", "https://host:80/a/b.mp4"])
def test_a_url_is_joined_and_printed_as_one(url: str) -> None:
    path = as_path(url)
    assert isinstance(path, RemotePath)
    assert str(path) == f"{path}" == url
    assert (path.name, path.suffix) == ("b.mp4", ".mp4")
    assert str(path.parent) == url.rpartition("/")[0]
    assert path.parent / "b.mp4" == path
    assert str(path.parent / "c" / "d.mp4") == f"{path.parent}/c/d.mp4"
    assert path.relative_to(path.parent).as_posix() == "b.mp4"
    assert pickle.loads(pickle.dumps(path)) == path
    assert isinstance(pickle.loads(pickle.dumps(path)), RemotePath)
    assert path.resolve() == path.absolute() == path


def test_a_url_that_was_made_a_path_is_one_again() -> None:
    assert str(as_path(Path("s3://bucket/a"))) == "s3://bucket/a"


@pytest.mark.parametrize("text", ["a/b", "/a/b", "C:/x", "s3:/b", "a b://c"])
def test_other_texts_are_local(text: str) -> None:
    assert not isinstance(as_path(text), RemotePath)


def test_names_tell_files_from_folders() -> None:
    files = ["l.csv", "l.txt", "s.tar", "s.tar.gz", "s.tgz", "i.arrow"]
    assert [RemotePath(f"s3://b/{name}").is_dir() for name in [*files, "v", "v.2"]] == [False] * 6 + [True] * 2


def test_nothing_is_written_to_a_local_path_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = RemotePath("s3://bucket/run")
    for write in (lambda: path.mkdir(parents=True), lambda: path.open("w"), lambda: path.write_text("")):
        with pytest.raises(VidsslError, match=r"path='s3://bucket/run': a URL, which can only be read here"):
            write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["fill", "VIDEOS"], ["ls"], ["verify"], ["rm"]])
def test_a_store_is_not_made_in_a_local_folder_of_its_name(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ["--store-size", "8x8"] if command[0] == "fill" else []
    assert main(["store", *command, "s3://bucket/store", *size]) == 2
    said = capsys.readouterr().err
    assert "folder='s3://bucket/store': a store lies on a disk; fill one in a folder there, and copy its files" in said
    assert list(tmp_path.iterdir()) == []


def test_files_of_several_places_have_no_folder() -> None:
    assert str(common_folder(["s3://b/x/1", "s3://b/y"], "")) == "s3://b"
    assert common_folder(["/a/b", "/a/c"], "") == Path("/a")
    for other in ("s3://c/x", "https://b/x", "/x"):
        with pytest.raises(VidsslError, match="are in different places"):
            common_folder(["s3://b/x", other], "root='l.txt'")
