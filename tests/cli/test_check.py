"""`vidssl check` names every file that cannot be used, by the reasons that indexing gives, and compares an index."""

from __future__ import annotations

import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from tests.clips import make_clip, make_streams
from vidssl.cli import main
from vidssl.index import check as module
from vidssl.index.check import Check
from vidssl.index.scan import scan
from vidssl.index.table import VideoIndex

NOT_OK = {
    "broken.mp4": "FFmpeg cannot open it: Invalid data found when processing input",
    "empty.avi": "empty file",
    "pointer.mkv": "not a video: Git LFS pointer; fetch it with `git lfs pull`",
}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two good videos, one that is cut off, and three files that are no videos."""
    root = tmp_path / "videos"
    (root / "run").mkdir(parents=True)
    make_clip(root / "run" / "a.mp4", frames=20)
    make_clip(root / "run" / "b.avi", "mpeg4", frames=12)
    cut = make_clip(root / "cut.mkv", frames=40, gop=5, form="yuv444p")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (root / "broken.mp4").write_bytes(b"no video")
    (root / "empty.avi").touch()
    (root / "pointer.mkv").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    return root


def status(source: Path, **options: Any) -> dict[str, str]:
    return {one.path: one.status for one in Check(source, **options)}


def test_a_folder_a_list_and_a_shard_give_the_same_reasons(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"run/a.mp4": "ok", "run/b.avi": "ok", "cut.mkv": "ok"}
    assert status(videos) == good | NOT_OK
    (videos / "list.txt").write_text("run/a.mp4\nempty.avi\ngone.mp4\n")
    gone = {"gone.mp4": "cannot be read: No such file or directory"}
    assert status(videos / "list.txt") == {"run/a.mp4": "ok", "empty.avi": "empty file", **gone}
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in [*good, *NOT_OK]:
            tar.add(videos / path, path)
    assert status(tmp_path / "all.tar") == {f"all.tar/{path}": reason for path, reason in (good | NOT_OK).items()}
    assert main(["check", str(tmp_path / "all.tar")]) == 0
    assert "3 of 6 files ok, 3 not (only first frames were decoded" in capsys.readouterr().out
    assert VideoIndex.build(tmp_path / "all.tar", progress=False).root == tmp_path


def test_deep_finds_what_indexing_finds(videos: Path) -> None:
    index = VideoIndex.build(videos, progress=False)
    found = {one.path: one for one in Check(videos, deep=True)}
    for name in ("status", "note", "frames", "width", "codec", "bytes"):
        assert [getattr(found[path], name) for path in index.column("path").to_pylist()] == index.column(
            name
        ).to_pylist()
    assert 0 < (found["cut.mkv"].frames or 0) < 40
    assert {one.frames for one in Check(videos)} == {None}  # not all were decoded


def test_table_json_and_exit_codes(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        (videos / f"many{number:02d}.mp4").write_bytes(b"version https://git-lfs")
    report = tmp_path / "new" / "check.json"
    assert main(["check", str(videos), "--deep", "--json", str(report)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 of 36 files ok, 33 not (every frame was decoded)"
    assert lines[1:9] == [
        "not ok:",
        f"      31  {NOT_OK['pointer.mkv']}",
        *(f"            many{number:02d}.mp4" for number in range(5)),
        "            and 26 more; --json FILE lists all",
    ]
    assert lines[9].split() == ["1", *NOT_OK["broken.mp4"].split()]
    assert "ok, with a note:" in lines
    content = json.loads(report.read_text())
    assert (content["files"], content["checked"], content["ok"], content["deep"]) == (36, 36, 3, True)
    assert {one["path"]: one["status"] for one in content["videos"]}.items() >= NOT_OK.items()
    assert len(content["videos"]) == 36
    with pytest.raises(SystemExit) as ended:
        main(["check", str(videos), "--strict", "--json", str(report)])  # its own file is replaced
    assert ended.value.code == 1
    (tmp_path / "one.txt").write_text("videos/run/a.mp4\n")
    assert main(["check", str(tmp_path / "one.txt"), "--strict"]) == 0
    (tmp_path / "none.txt").write_text("videos/empty.avi\nvideos/broken.mp4\n")
    capsys.readouterr()
    assert main(["check", str(tmp_path / "none.txt")]) == 2
    said = capsys.readouterr()
    assert "videos/empty.avi" in said.out
    assert "none of its 2 files can be used" in said.err


def test_reasons_that_differ_in_numbers_are_one(
    videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def numbered(path: Path, *_: Any, **__: Any) -> dict[str, Any]:
        reason = "ok" if path.suffix == ".avi" else f"frame {len(path.name)} is damaged"
        return {"status": reason, "note": "", "frames": 1}

    monkeypatch.setattr(module, "scan", numbered)
    assert main(["check", str(videos)]) == 0
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        "not ok:",
        "4  frame N is damaged",
        "broken.mp4: frame 10 is damaged",
        "cut.mkv: frame 7 is damaged",
        "pointer.mkv: frame 11 is damaged",
        "run/a.mp4: frame 5 is damaged",
    ]


def test_a_json_file_is_refused_before_the_work(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.json").write_text('{"my": "labels"}')
    (tmp_path / "file").touch()
    for name, reason in (
        ("mine.json", "was not written by this command"),
        ("mine.txt", "ends in .json"),
        ("file/x.json", "cannot be written to"),
    ):
        assert main(["check", str(videos), "--json", str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert f"json='{tmp_path / name}'" in said.err
        assert reason in said.err
        assert said.out == ""
    assert (tmp_path / "mine.json").read_text() == '{"my": "labels"}'


def test_what_was_checked_before_ctrl_c_is_shown(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is raised where a signal would raise it most often; a real one may come in a callback, which drops it."""
    seen: list[Path] = []
    shown: list[str] = []

    def slow(path: Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        seen.append(path)
        if len(seen) > 5:
            time.sleep(0.1)
        return scan(path, *arguments, **options)

    def stopping(bar: object, text: str, **_: Any) -> None:
        shown.append(text)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "set_postfix_str", stopping)
    monkeypatch.setattr(module, "scan", slow)
    for number in range(200):
        (videos / f"x{number}.mp4").touch()
    report = tmp_path / "check.json"
    assert main(["check", str(videos), "--workers", "1", "--json", str(report)]) == 130
    said, content = capsys.readouterr(), json.loads(report.read_text())
    assert 0 < content["checked"] == len(content["videos"]) < content["files"] == 206
    assert f"{206 - content['checked']} not checked" in said.out
    assert f"stopped: {content['checked']} of 206 files were checked" in said.err


def test_an_index_is_compared_with_its_files(videos: Path, tmp_path: Path) -> None:
    for name in ("gone.mp4", "longer.mp4", "touched.mp4"):
        make_clip(videos / name, frames=5)
    saved = tmp_path / "index.arrow"
    VideoIndex.build(videos, progress=False).save(saved)
    same = {"run/a.mp4": "ok", "run/b.avi": "ok", "cut.mkv": "ok", **NOT_OK}
    for deep in (False, True):
        assert status(saved, deep=deep) == same | dict.fromkeys(("gone.mp4", "longer.mp4", "touched.mp4"), "ok")
    size = (videos / "longer.mp4").stat().st_size
    (videos / "gone.mp4").unlink()
    with (videos / "longer.mp4").open("ab") as file:
        file.write(b"more")
    now = (videos / "touched.mp4").stat()
    os.utime(videos / "touched.mp4", ns=(now.st_atime_ns, now.st_mtime_ns + 10**9))
    for deep in (False, True):
        assert status(saved, deep=deep) == same | {
            "gone.mp4": "missing: the index has it, but there is no such file",
            "longer.mp4": f"changed since it was indexed: {size + 4} bytes, formerly {size}",
            "touched.mp4": "changed since it was indexed: modified +1.0 s later",
        }


def test_only_deep_finds_frames_that_changed(videos: Path, tmp_path: Path) -> None:
    """The file changes, but not its size and time."""
    saved = tmp_path / "index.arrow"
    VideoIndex.build(videos, progress=False).save(saved)
    file = videos / "run" / "b.avi"
    other, before = make_clip(tmp_path / "b.avi", "mpeg4", frames=8).read_bytes(), file.stat()
    assert len(other) < before.st_size
    file.write_bytes(other + bytes(before.st_size - len(other)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert status(saved)["run/b.avi"] == "ok"
    assert "differs from its row in the index: frames 8, formerly 12" in status(saved, deep=True)["run/b.avi"]


def test_a_row_that_is_damaged_or_left_out_is_named(videos: Path, tmp_path: Path) -> None:
    saved = tmp_path / "index.arrow"
    index = VideoIndex.build(videos, progress=False)
    row = index.column("path").to_pylist().index("run/a.mp4")
    broken = "FFmpeg cannot open it: Cannot allocate memory"
    wrong = [broken if at == row else text for at, text in enumerate(index.column("status").to_pylist())]
    table = index.table.set_column(index.table.schema.get_field_index("status"), "status", [wrong])
    VideoIndex(table, index.root).save(saved)
    assert status(saved)["run/a.mp4"] == broken
    again = f"usable now, but the index leaves it out ({broken}); index the videos again"
    assert status(saved, deep=True)["run/a.mp4"] == again

    index.save(saved)
    data = saved.read_bytes()
    at = data.index(b"mpeg4")  # the codec of run/b.avi
    saved.write_bytes(data[:at] + b"MPEG4" + data[at + 5 :])
    found = status(saved)
    assert "is damaged; delete it and build it again" in found["run/b.avi"]
    assert found["run/a.mp4"] == "ok"


def test_what_listing_a_source_refuses_has_the_same_reason_in_an_index(videos: Path, tmp_path: Path) -> None:
    """A name that is not UTF-8 cannot be written in an index, and a compressed tar or a sparse member is no video."""
    (videos / "caf\udce9.avi").write_bytes((videos / "run" / "b.avi").read_bytes())
    with tarfile.open(videos / "packed.tar.gz", "w:gz") as tar:
        tar.add(videos / "run" / "b.avi", "b.avi")
    with tarfile.open(videos / "cut.tar", "w") as tar:
        tar.add(videos / "run" / "b.avi", "b.avi")
    (videos / "cut.tar").write_bytes((videos / "cut.tar").read_bytes()[:700])
    member = tarfile.TarInfo("s.mp4")
    member.size, member.type = 4, tarfile.GNUTYPE_SPARSE
    sparse = member.tobuf(tarfile.GNU_FORMAT) + b"some".ljust(512, b"\0") + bytes(1024)
    (videos / "sparse.tar").write_bytes(sparse)
    saved = tmp_path / "index.arrow"
    VideoIndex.build(videos, progress=False).save(saved)
    for deep in (False, True):
        found = status(saved, deep=deep)
        assert found == status(videos, deep=deep)
        assert "is not UTF-8; rename it" in found["caf\\udce9.avi"]
        assert found["packed.tar.gz"].startswith("compressed with gzip, but members are read in place")
        assert "a sparse member of a tar" in found["sparse.tar/s.mp4"]
    (videos / "packed.tar.gz").unlink()
    assert status(saved)["packed.tar.gz"] == "missing: the index has it, but there is no such file"
    with tarfile.open(videos / "packed.tar.gz", "w") as tar:
        tar.add(videos / "run" / "b.avi", "b.avi")
    assert "it can be read now, but the index leaves it out" in status(saved)["packed.tar.gz"]


def test_wrong_arguments_are_named(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, named in (
        ([str(videos), "--workers", "0"], "workers=0"),
        ([str(videos), "--file-timeout", "0"], "file_timeout=0"),
        ([str(tmp_path / "none")], "no such folder"),
        ([str(tmp_path / "none.arrow")], "no such file"),
    ):
        assert main(["check", *arguments]) == 2
        assert named in capsys.readouterr().err


def test_a_chosen_stream_and_a_later_part_are_compared_with_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    small, large = make_clip(tmp_path / "s.mp4", frames=9), make_clip(tmp_path / "l.mp4", frames=9, size=(96, 128))
    make_streams(folder / "a.mp4", large, small, default=1)
    parts = [
        make_clip(tmp_path / f"{count}.m2v", "mpeg2video", frames=count, size=(count, 64), gop=5) for count in (16, 32)
    ]
    (folder / "b.m2v").write_bytes(b"".join(part.read_bytes() for part in parts))
    index = VideoIndex.build(folder, stream=0, progress=False)
    assert [index.row(0)["width"], bool(index.row(1)["start"])] == [128, True]
    index.save(tmp_path / "index.arrow")
    for deep in (False, True):
        assert status(tmp_path / "index.arrow", deep=deep) == {"a.mp4": "ok", "b.m2v": "ok"}
