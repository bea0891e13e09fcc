"""paths: nothing is written outside of its folder or into a file that is there, and a name cannot steer a terminal."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from vidssl.paths import (
    SYNC_SECONDS,
    atomic_write,
    check_output,
    is_plain,
    leads_outside,
    open_append,
    output_path,
    printable,
    unfinished,
)
from vidssl.types import VidsslError

PACKAGE = Path(__file__).resolve().parents[1] / "vidssl"


def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    for name in ("../x", "a/../../x", "/etc/x", ".."):
        assert leads_outside(name)
        with pytest.raises(VidsslError, match="it leads out of"):
            output_path(tmp_path, name)
    for name in ("x", "a/b..c", "...", "a/..b/c"):
        assert not leads_outside(name)
        assert output_path(tmp_path, name) == tmp_path / name


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    (out / "in").mkdir(parents=True)
    other.mkdir()
    (out / "link").symlink_to(other)
    (out / "stays").symlink_to(out / "in")
    for name in ("link", "link/x", "link/deep/x"):
        with pytest.raises(VidsslError, match="a link leads out of"):
            output_path(out, name)
    assert output_path(out, "stays/x") == out / "stays" / "x"
    (tmp_path / "alias").symlink_to(out)  # the folder that is named may be a link itself
    assert output_path(tmp_path / "alias", "in/x") == tmp_path / "alias" / "in" / "x"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_a_file_is_a_link_to_stays(link: object, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("written", "appended"):
        source.write_text("a source\n")
        link(source, tmp_path / name)  # type: ignore[operator]
    with atomic_write(tmp_path / "written") as aside:
        aside.write_text("new\n")
    with open_append(tmp_path / "appended") as file:
        file.write("more\n")
    assert source.read_text() == "a source\n"
    assert (tmp_path / "written").read_text() == "new\n"
    assert (tmp_path / "appended").read_text() == "a source\nmore\n"


def test_a_link_to_nothing_makes_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with open_append(tmp_path / "x") as file:
        file.write("more\n")
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "x").read_text() == "more\n"


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def fails() -> None:
        with atomic_write(tmp_path / "x") as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "old")]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order, a power cut leaves the old file or the new one, and never an empty one."""
    calls: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def spy_sync(handle: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    def spy_replace(old: Path, new: Path) -> None:
        calls.append(("rename", str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with atomic_write(tmp_path / "x") as aside:
        aside.write_text("new")
    assert calls == [("fsync", str(aside)), ("rename", str(tmp_path / "x")), ("fsync", str(tmp_path))]


def test_a_growing_file_is_flushed_at_a_bounded_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    now = [100.0]
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((tmp_path / "x").read_text()))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with open_append(tmp_path / "x") as file:
        for line in "abc":
            file.write(line)
            assert (tmp_path / "x").read_text().endswith(line)
        assert synced == ["a"]
        now[0] += SYNC_SECONDS
        file.write("d")
        file.write("e")
        assert synced == ["a", "abcd"]
    assert synced == ["a", "abcd", "abcde"]


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(OSError, match="No space"), open_append(Path("/dev/full")) as file:
        file.write("x")


def test_a_device_is_written_to_and_stays_one() -> None:
    with atomic_write(Path(os.devnull)) as aside:
        aside.write_text("x")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("name", ["video.avi", "list.csv", "run.json", "link.json", "empty.json"])
def test_an_output_replaces_only_what_the_command_wrote(tmp_path: Path, name: str) -> None:
    begins = '{\n "kind": "'
    for other in ("video.avi", "list.csv"):
        (tmp_path / other).write_text(f"{begins}probe")
    (tmp_path / "run.json").write_text('{\n "recipe": {}}')
    (tmp_path / "link.json").symlink_to(tmp_path / "run.json")
    (tmp_path / "empty.json").touch()
    with pytest.raises(VidsslError, match=r"name another file|ends in \.json"):
        check_output(tmp_path / name, ".json", begins)
    check_output(None, ".json", begins)
    check_output(tmp_path / "new.json", ".json", begins)
    check_output(Path(os.devnull), ".json", begins)
    (tmp_path / "old.json").write_text(f"{begins}probe")
    check_output(tmp_path / "old.json", ".json", begins)


def test_control_characters_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\rc\x9bd\u202ee\nf\tg\udcff") == "a\\x1b[2Jb\\rc\\x9bd\\u202ee\\nf\\tg\\udcff"
    assert printable("a\nb\tc\x07", lines=True) == "a\nb\tc\\x07"
    assert printable("größe 走.mp4") == "größe 走.mp4"


def test_every_file_is_written_by_way_of_this_module() -> None:
    """Code that opens a file to write opens what `atomic_write` gives, named `aside`, or os.devnull; or it calls
    `open_append`.
    """
    direct = re.compile(
        r"(\S+?)\.(?:write_text|write_bytes|symlink_to)\("
        r"|(\S+?)\.open\(\s*\"[rwax+b]*[wax+]"
        r"|\bopen\([^()]*\"[wax]b?\""
    )
    found = []
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text().splitlines():
            if path.name != "paths.py" and direct.search(line) and not re.search(r"aside|memory|os\.devnull", line):
                found.append(f"{path.relative_to(PACKAGE)}: {line.strip()}")
    assert found == []


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """The temporary name is not longer than a file system takes."""
    for name in ("x" * 255, "é" * 127):
        with atomic_write(tmp_path / name) as aside:
            aside.write_text("whole")
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int) -> None:
    """Also one that a library writes for its owner alone, as safetensors does."""
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "weights") as aside:
            aside.touch(0o600)
            aside.chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("name", ["train", "..a", "a b", "a\n"])
def test_a_plain_name_names_no_folder(name: str) -> None:
    assert is_plain(name)
    assert not any(map(is_plain, ("", ".", "..", f"/{name}", f"{name}/", f"{name}/..", f"{name}\0")))


@pytest.mark.parametrize("name", ["x", "two\nlines", "y" * 200, "y" * 201, "é" * 127])
def test_what_a_killed_process_left_is_found_by_the_name_it_wrote(name: str, tmp_path: Path) -> None:
    with atomic_write(tmp_path / name) as aside:
        assert unfinished(tmp_path, {name, "z"}) == [aside]
        assert unfinished(tmp_path, {"z", f"{name}z", f".{name}", ""}) == []
    assert unfinished(tmp_path, {name}) == unfinished(tmp_path / "gone", {name}) == []
