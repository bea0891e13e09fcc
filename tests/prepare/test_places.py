"""prepare: all that it writes is below OUT, no source is touched, and no two sources become one file, however a list
names them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pytest

from tests.clips import make_clip
from tests.prepare.making import TASK
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.index.lists import read_list, write_list
from vidssl.index.sources import find_videos
from vidssl.prepare import Encoding, prepare
from vidssl.prepare.journal import JOURNAL
from vidssl.prepare.run import INDEX, LIST, new_names


def bytes_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """videos/ with two classes and a file of its own, lists/ with lists of them, and other/ with one more."""
    root = tmp_path / "p"
    for name in ("videos/a.mp4", "videos/run/b.avi", "other/run/b.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_clip(root / name, "mpeg4" if name.endswith("avi") else "libx264", frames=8 + len(name))
    (root / "lists").mkdir()
    return root


def index_of(paths: list[str], root: Path) -> VideoIndex:
    """An index whose rows name these paths, as a file from elsewhere may."""
    make_clip(root / "one.mp4", frames=5)
    table = VideoIndex.build(root, progress=False).table
    (root / "one.mp4").unlink()
    table = pa.concat_tables([table] * len(paths))
    return VideoIndex(table.set_column(0, "path", pa.array(paths)), root)


@pytest.mark.parametrize("name", ["l.txt", "l.csv"])
def test_a_list_that_goes_up_is_prepared_below_out(
    name: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["../videos/a.mp4", "../videos/run/b.avi", str(project / "other" / "run" / "b.avi")]
    (project / "lists" / name).write_text("\n".join((["path"] if name.endswith("csv") else []) + names) + "\n")
    before = bytes_below(tmp_path)
    assert main(["prepare", str(project / "lists" / name), str(project / "out"), "--short-side", "32"]) == 0
    assert "3 videos made" in capsys.readouterr().out
    after = bytes_below(tmp_path)
    assert {path: after.get(path) for path in before} == before
    assert all(path.startswith("p/out/") for path in after.keys() - before.keys())
    index = VideoIndex.load(project / "out" / INDEX)
    assert index.column("path").to_pylist() == ["other/run/b.mp4", "videos/a.mp4", "videos/run/b.mp4"]
    assert len(index.usable()) == 3
    root, found, _ = find_videos(project / "out" / name)  # the list, carried over
    assert sorted((root / one.path).resolve() for one in found) == sorted(index.video(row).path for row in range(3))
    assert main(["prepare", str(project / "lists" / name), str(project / "out"), "--short-side", "32"]) == 0
    assert "0 videos made, 3 already made by earlier calls" in capsys.readouterr().out


def test_lists_name_files_that_are_there(project: Path, tmp_path: Path) -> None:
    """By the place from the list's folder, from the root, by the end of the path, and by a path that was right
    elsewhere.
    """
    videos, out = project / "videos", tmp_path / "out"
    make_clip(videos / "run" / "b.mp4", frames=9)  # so that b.avi keeps its ending
    (videos / "run" / "own.txt").write_text("b.avi\n")
    (videos / "train.txt").write_text("run/b.avi 1\na.mp4 2\n")
    (videos / "moved.csv").write_text(
        f"name,class\n{videos}/run/b.avi,1\n/before/videos/run/b.mp4,1\n../videos/a.mp4,2\n"
    )
    (videos / LIST).write_text("path,split\na.mp4,train\n")
    report = prepare(VideoIndex.build(videos, progress=False), out, Encoding(), TASK, workers=1, progress=False)
    assert sorted(report.lists) == ["moved.csv", "run/own.txt", f"source_{LIST}", "train.txt"]
    assert (out / "train.txt").read_text() == "run/b.avi.mp4 1\na.mp4 2\n"
    assert (out / "run" / "own.txt").read_text() == "b.avi.mp4\n"
    assert (out / "moved.csv").read_text() == "name,class\nrun/b.avi.mp4,1\nrun/b.mp4.mp4,1\na.mp4,2\n"
    assert (out / f"source_{LIST}").read_text() == "path,split\na.mp4,train\n"
    assert (out / LIST).read_text().startswith("path,label,group\n")
    assert len(VideoIndex.load(out / INDEX)) == 3


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_source_that_out_has_a_link_to_stays(link: object, project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index = VideoIndex.build(project / "videos", progress=False)
    prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    (project / "notes").write_bytes((out / JOURNAL).read_bytes())
    before = bytes_below(project)
    for name, source in (("a.mp4", "videos/a.mp4"), (LIST, "videos/run/b.avi"), (JOURNAL, "notes")):
        (out / name).unlink()
        link(project / source, out / name)  # type: ignore[operator]
    with pytest.raises(VidsslError, match=r"a\.mp4 in it would be replaced"):
        prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    (out / "a.mp4").unlink()
    prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    assert bytes_below(project) == before
    assert (out / "a.mp4").read_bytes() != (project / "videos" / "a.mp4").read_bytes()


def test_a_folder_of_out_that_is_a_link_is_refused_before_work(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index = VideoIndex.build(project / "videos", progress=False)
    prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    (out / "run" / "b.mp4").unlink()
    (out / "run").rmdir()
    (out / "run").symlink_to(project / "videos" / "run")
    before = bytes_below(project)
    with pytest.raises(VidsslError, match=r"a link leads out of .*out"):
        prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    assert bytes_below(project) == before


def test_a_source_in_out_is_refused(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["prepare", str(project / "videos"), str(out)]) == 0
    (project / "lists" / "l.txt").write_text(f"{out}/a.mp4\n{out}/run/b.mp4\n")
    before = bytes_below(out)
    capsys.readouterr()
    assert main(["prepare", str(project / "lists" / "l.txt"), str(out)]) == 2
    assert "it lies in the folder of the videos" in capsys.readouterr().err
    assert bytes_below(out) == before


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.avi", "a.avi.mp4", "a.mp4"], ["a.avi.mp4", "a.avi.mp4.mp4", "a.mp4.mp4"]),
        (["/x/a.mp4", "x/b.avi", "../x/c.mp4"], ["x/a.mp4", "x/b.mp4", "x/c.mp4"]),
        (["a.avi", "a.mp4/b.avi"], ["a.avi.mp4", "a.mp4/b.mp4"]),
        (["t.tar/../../s.mp4", "t.tar//s.avi"], ["t.tar/s.mp4.mp4", "t.tar/s.avi.mp4"]),
        (["A.mp4", "a.mp4"], ["A.mp4", "a.mp4"]),
    ],
)
def test_every_source_has_a_target_of_its_own(paths: list[str], expected: list[str], tmp_path: Path) -> None:
    found = new_names(index_of(paths, tmp_path), tmp_path / "out")
    assert list(found.values()) == expected


@pytest.mark.parametrize("paths", [["/x/a.mp4", "x/a.mp4"], ["a.avi", "a.mp4/b.avi", "a.avi.mp4/c.avi"]])
def test_sources_that_endings_do_not_tell_apart_get_a_checksum(paths: list[str], tmp_path: Path) -> None:
    found = list(new_names(index_of(paths, tmp_path), tmp_path / "out").values())
    assert re.fullmatch(r"(x/a\.mp4|a\.avi)~[0-9a-f]{8}\.mp4", found[0])
    assert len(set(found)) == len(paths)
    assert list(new_names(index_of(paths[::-1], tmp_path), tmp_path / "out").values()) == found[::-1]


def test_a_source_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"a\.mp4 is one of the videos twice"):
        new_names(index_of(["a.mp4", "a.mp4"], tmp_path), tmp_path / "out")


NAMES = [
    "two\nlines.mp4",
    "cr\rname.mkv",
    "x" * 251 + ".mp4",
    "x" * 243 + ".mkv",
    "é" * 125 + ".avi",
    "a, b; c.mkv",
    '"q".mp4',
]


def test_any_name_is_prepared_and_listed(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for number, name in enumerate(NAMES):
        clip = make_clip(tmp_path / f"clip{Path(name).suffix}", "mpeg4", frames=5 + number)
        clip.rename(videos / name)
    write_list(videos / "train.csv", [(name, "x", None) for name in NAMES])
    index = VideoIndex.build(videos, progress=False)
    report = prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    assert (report.made, report.skipped, report.lists) == (len(NAMES), [], {"train.csv": 0})
    frames = {path: VideoIndex.load(out / INDEX).frames(row) for row, path in enumerate(index_paths(out))}
    carried = [entry.path for entry in read_list(out / "train.csv", "train").entries]
    assert [frames[path] for path in carried] == [5 + number for number in range(len(NAMES))]
    assert prepare(index, out, Encoding(), TASK, workers=1, progress=False).kept == len(NAMES)


def index_paths(out: Path) -> list[str]:
    return list(VideoIndex.load(out / INDEX).column("path").to_pylist())


def test_copies_keep_their_names_when_sources_come_and_go(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, out = project / "videos", tmp_path / "out"
    (videos / "train.txt").write_text("a.mp4 1\nrun/b.avi 2\n")
    (videos / "test.txt").write_text("a.mp4 1\n")
    assert main(["prepare", str(videos), str(out), "--short-side", "32"]) == 0
    made = (out / "a.mp4").stat().st_mtime_ns
    make_clip(videos / "a.mkv", frames=6)
    (videos / "run" / "b.avi").unlink()
    assert main(["prepare", str(videos), str(out), "--short-side", "32"]) == 0
    said = capsys.readouterr().out
    assert "1 videos made, 1 already made by earlier calls" in said
    assert "1 files of earlier calls belong to no source now (kept, but in no list and no index" in said
    assert "stale: run/b.mp4" in said
    assert "train.txt: 1 lines left out" in said
    assert (out / "a.mp4").stat().st_mtime_ns == made
    assert sorted(index_paths(out)) == ["a.mkv.mp4", "a.mp4"]
    assert (out / "train.txt").read_text() == "a.mp4 1\n"
    assert (out / "run" / "b.mp4").is_file()
    (videos / "test.txt").unlink()
    (out / "mine.mp4").write_bytes(b"not made by prepare")
    assert main(["prepare", str(videos), str(out), "--short-side", "32", "--remove-stale"]) == 0
    assert "2 files of earlier calls belong to no source now (deleted)" in capsys.readouterr().out
    left = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
    assert left == ["a.mkv.mp4", "a.mp4", INDEX, "mine.mp4", JOURNAL, "train.txt", LIST]


def test_a_forged_journal_deletes_nothing_elsewhere(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index = VideoIndex.build(project / "videos", progress=False)
    prepare(index, out, Encoding(), TASK, workers=1, progress=False)
    (tmp_path / "precious.mp4").touch()
    (out / "link").symlink_to(tmp_path)
    (out / "link.mp4").symlink_to(tmp_path / "precious.mp4")
    with (out / JOURNAL).open("a") as file:
        elsewhere = ("../precious.mp4", str(tmp_path / "precious.mp4"), "link/precious.mp4", "link.mp4")
        for name in (*elsewhere, "a\0b", "y" * 300, JOURNAL, LIST, INDEX):
            file.write(json.dumps({"path": f"gone {name}", "target": name, "size": 0, "reason": ""}) + "\n")
        file.write('{"path": 3}\n[]\n{"path": "a.mp4", "target": [1]}\n{"lists": [1, "../precious.mp4"]}\nnull\n')
    report = prepare(index, out, Encoding(), TASK, workers=1, progress=False, remove_stale=True)
    assert report.stale == []
    assert all(path.is_file() for path in (tmp_path / "precious.mp4", out / JOURNAL, out / LIST, out / INDEX))


def test_where_a_list_lies_does_not_matter(project: Path, tmp_path: Path) -> None:
    """OUT may lie beside the videos, not among them."""
    for place in (project / "videos" / "l.txt", project / "l.txt", tmp_path / "l.txt"):
        place.write_text(f"{project}/videos/a.mp4\n{project}/other/run/b.avi\n")
        index = VideoIndex.build(place, progress=False)
        with pytest.raises(VidsslError, match=r"lies in the folder of the videos, '.*/videos'"):
            prepare(index, project / "videos" / "out", Encoding(), TASK, progress=False)
        out = tmp_path / f"out_{place.parent.name}"
        assert prepare(index, project / "other" / out.name, Encoding(), TASK, workers=1, progress=False).made == 2
