"""What is read: all that the user names, wherever it lies; of an opened index, only what lies below its root."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cli.data import open_data
from vidssl.index.schema import SCHEMA
from vidssl.index.sources import find_videos


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name in ("set/videos/run/a.mp4", "set/videos/b.mp4", "set/other/c.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_clip(root / name, frames=6)
    (root / "set" / "lists").mkdir()
    return root


def listed(project: Path, *names: str) -> tuple[str, list[str]]:
    """Root, from the project, and paths of a list in set/lists."""
    path = project / "set" / "lists" / "l.txt"
    path.write_text("\n".join(names) + "\n")
    root, found, _ = find_videos(path)
    assert all((root / one.path).is_file() for one in found)
    return root.relative_to(project.resolve()).as_posix(), [one.path for one in found]


def test_the_root_of_a_list_holds_all_that_it_names(project: Path) -> None:
    assert listed(project, "../videos/run/a.mp4", "../videos/b.mp4") == ("set/videos", ["b.mp4", "run/a.mp4"])
    assert listed(project, "../videos/b.mp4", f"{project}/set/other/c.mp4") == ("set", ["other/c.mp4", "videos/b.mp4"])
    assert listed(project, f"{project}/set/other/c.mp4") == ("set/other", ["c.mp4"])
    make_clip(project / "set" / "lists" / "own.mp4", frames=6)
    assert listed(project, "../lists/own.mp4") == ("set/lists", ["own.mp4"])
    assert listed(project, "own.mp4", "../other/c.mp4") == ("set", ["lists/own.mp4", "other/c.mp4"])
    assert listed(project, "own.mp4", "../lists/own.mp4") == ("set/lists", ["own.mp4"])


def test_a_list_that_goes_up_behind_a_link_names_what_the_system_opens(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project / "set" / "videos" / "run")
    (tmp_path / "l.txt").write_text("link/../b.mp4\n")
    root, found, _ = find_videos(tmp_path / "l.txt")
    assert (root / found[0].path) == (project / "set" / "videos" / "b.mp4").resolve()


def test_links_in_a_root_are_followed(project: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").symlink_to(project / "set" / "videos" / "b.mp4")
    (tmp_path / "set" / "run").symlink_to(project / "set" / "videos" / "run")
    VideoIndex.build(tmp_path / "set", progress=False).save(tmp_path / "i.arrow")
    index = VideoIndex.load(tmp_path / "i.arrow")
    assert index.column("path").to_pylist() == ["a.mp4", "run/a.mp4"]
    assert len(index.usable()) == 2


def renamed(project: Path, column: str, name: str, out: Path) -> Path:
    """A saved index whose first row names another file."""
    index = VideoIndex.build(project / "set" / "videos", progress=False)
    index = VideoIndex(index.table, index.root)
    values = [name, *index.column(column).to_pylist()[1:]]
    place = SCHEMA.get_field_index(column)
    VideoIndex(index.table.set_column(place, column, pa.array(values, pa.string())), index.root).save(out)
    return out


@pytest.mark.parametrize("column", ["path", "archive"])
@pytest.mark.parametrize("name", ["../other/c.mp4", "/etc/passwd", "run/../../other/c.mp4", ".."])
def test_an_index_that_names_files_outside_is_refused(column: str, name: str, project: Path, tmp_path: Path) -> None:
    path = renamed(project, column, name, tmp_path / "i.arrow")
    with pytest.raises(
        VidsslError, match=r"it names .*, outside of its root .*; build it again with .* allow_outside=True"
    ):
        VideoIndex.load(path)
    with pytest.raises(VidsslError, match="outside of its root"):
        open_data(path, None)
    assert len(open_data(path, None, allow_outside=True)) == 2
    assert VideoIndex.load(path, allow_outside=True).column(column)[0].as_py() == name


@pytest.mark.parametrize("name", ["a..b/c.mp4", "...mp4", "..a/b.mp4", "a/.b..mp4"])
def test_dots_in_names_are_names(name: str, project: Path, tmp_path: Path) -> None:
    assert VideoIndex.load(renamed(project, "path", name, tmp_path / "i.arrow")).column("path")[0].as_py() == name


def test_commands_say_that_an_index_names_files_outside(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = renamed(project, "path", "../other/c.mp4", tmp_path / "i.arrow")
    for command in (
        ["prepare", str(path), str(tmp_path / "out"), "--dry-run"],
        ["bench", "loader", "--data", str(path)],
    ):
        assert main(command) == 2
        assert "--allow-outside" in capsys.readouterr().err
    assert main(["prepare", str(path), str(tmp_path / "out"), "--dry-run", "--allow-outside"]) == 0


def test_an_index_that_is_brought_up_to_date_may_be_an_old_one(project: Path, tmp_path: Path) -> None:
    """Of a list whose paths were kept as they stood: they are compared, not opened."""
    path = renamed(project, "path", "../other/c.mp4", tmp_path / "i.arrow")
    (tmp_path / "l.txt").write_text(f"{project}/set/other/c.mp4\n")
    assert main(["index", str(tmp_path / "l.txt"), "--out", str(path)]) == 0
    assert VideoIndex.load(path).column("path").to_pylist() == ["c.mp4"]


@pytest.mark.parametrize(
    "text",
    ["#EXTM3U\\n#EXT-X-TARGETDURATION:9\\n#EXTINF:9.0,\\n{}\\n#EXT-X-ENDLIST\\n", "ffconcat version 1.0\\nfile {}\\n"],
)
def test_a_video_that_is_a_list_of_others_is_refused(text: str, project: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "outside.ts", frames=6)
    (tmp_path / "set").mkdir()
    for name in ("a.mp4", "b.ts"):
        (tmp_path / "set" / name).write_text(text.format(tmp_path / "outside.ts"))
    assert len(VideoIndex.build(tmp_path / "set", progress=False).usable()) == 0


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").mkdir()
    make_clip(tmp_path / "set" / "a.mp4", frames=6)
    for name in ("x\x1b[2J.mp4", "y\nwrote z.mp4"):
        (tmp_path / "set" / name).touch()
    assert main(["index", str(tmp_path / "set"), "--out", str(tmp_path / "i.arrow")]) == 0
    said = capsys.readouterr().out
    assert "left out: x\\x1b[2J.mp4: empty file" in said
    assert "left out: y\\nwrote z.mp4: empty file" in said
    (tmp_path / "l.txt").write_text("a\x1b[2J.mp4 0\na\x1b[2J.mp4 1\n")
    assert main(["index", str(tmp_path / "l.txt"), "--out", str(tmp_path / "j.arrow")]) == 2
    assert "line 2: a\\x1b[2J.mp4 has another label" in capsys.readouterr().err
