"""A folder is uploaded once, and again as far as it has changed or is gone."""

from __future__ import annotations

import os
from pathlib import Path

from vidssl.remote import RemotePath, fetch
from vidssl.remote.upload import upload


def test_only_what_is_not_there_is_uploaded(s3: str, tmp_path: Path) -> None:
    names, target = ["a.txt", "sub/b.txt"], RemotePath("s3://bucket/x")
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_text(name)
    assert upload(tmp_path, target, names) == 2
    assert upload(tmp_path, target, names) == 0
    assert list(fetch.find(str(target))) == ["s3://bucket/x/a.txt", "s3://bucket/x/sub/b.txt"]
    (tmp_path / "a.txt").write_text("A.txt")  # of the same size
    os.utime(tmp_path / "a.txt", ns=(0, 1))
    assert upload(tmp_path, target, names) == 1
    assert (target / "a.txt").open("rb").read() == b"A.txt"
    fetch.call(str(target), "rm_file", "s3://bucket/x/sub/b.txt")
    with (tmp_path / ".uploaded.jsonl").open("a") as record:
        record.write('null\n["s3://bucket/x/sub')  # damaged, and of a call that was killed
    assert upload(tmp_path, target, names) == 1
    assert upload(tmp_path, RemotePath("s3://bucket/y"), names) == 2
