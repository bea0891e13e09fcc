"""Lists that are carried over name each new file as they named its source, and no file that is not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl.files import TEXT_BYTES
from vidssl.index.lists import read_list, write_list
from vidssl.prepare import Encoding
from vidssl.prepare.journal import Journal
from vidssl.prepare.names import targets
from vidssl.prepare.splits import copy_lists

NAMES = {
    "run/b.avi": "run/b.mp4",
    "my clips/a b, c.avi": "my clips/a b, c.mp4",
    'the "best" one.avi': 'the "best" one.mp4',
    "it's.mkv": "it's.mp4",
    "b.avi": "b.avi~12345678.mp4",
    "two\nlines.avi": "two\nlines.mp4",
    "bad.avi": None,
}


def carried(text: str, tmp_path: Path, name: str = "l.txt") -> tuple[str, int] | None:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "in" / name).write_bytes(text.encode())
    with Journal(tmp_path / "out", Encoding()) as journal:
        found = copy_lists(tmp_path / "in", tmp_path / "in", tmp_path / "out", NAMES, journal).copied
    return ((tmp_path / "out" / name).read_bytes().decode(), found[name]) if found else None


@pytest.mark.parametrize(
    ("text", "expected", "lost"),
    [
        ("my clips/a b, c.avi 3\nrun/b.avi 1\n", "my clips/a b, c.mp4 3\nrun/b.mp4 1\n", 0),
        ("my clips/a b, c.avi\r\nit's.mkv\r\n", "my clips/a b, c.mp4\r\nit's.mp4\r\n", 0),
        ("run/b.avi b.avi 1", "run/b.mp4 b.avi~12345678.mp4 1", 0),
        ('path,label\n"my clips/a b, c.avi",x\n', 'path,label\n"my clips/a b, c.mp4",x\n', 0),
        ('path;label\n"the ""best"" one.avi";y\n', 'path;label\n"the ""best"" one.mp4";y\n', 0),
        ('path,label\n"two\nlines.avi","x"\nrun/b.avi,y\n', 'path,label\n"two\nlines.mp4","x"\nrun/b.mp4,y\n', 0),
        ('"my clips/a b, c.avi","x"\n', '"my clips/a b, c.mp4","x"\n', 0),
        ('file,note\n"my clips/a b, c.avi","see it\'s.mkv"\n', 'file,note\n"my clips/a b, c.mp4","see it\'s.mp4"\n', 0),
        ("name,class\nbad.avi,1\nrun/b.avi,2\ngone.avi,3\n", "name,class\nrun/b.mp4,2\n", 2),
        ("missing/b.webm 1\nother/run/b.avi 2\nelse/b.avi 1\n", "other/run/b.mp4 2\nelse/b.avi~12345678.mp4 1\n", 1),
        ("1 run\n2 walk\nrun/b.avi\n", "1 run\n2 walk\nrun/b.mp4\n", 0),
        ('an unbalanced " mark\nrun/b.avi 1\n', 'an unbalanced " mark\nrun/b.mp4 1\n', 0),
        ("x\0/it's.mkv 1\nrun/b.avi 1\n", "run/b.mp4 1\n", 1),
    ],
)
def test_names_are_replaced_where_they_stand(text: str, expected: str, lost: int, tmp_path: Path) -> None:
    assert carried(text, tmp_path) == (expected, lost)


@pytest.mark.parametrize("text", ["nothing here\n", "bad.avi 1\n", "", '"'])
def test_a_list_without_a_new_file_is_not_copied(text: str, tmp_path: Path) -> None:
    assert carried(text, tmp_path) is None


def test_folders_are_no_places_for_lists(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "l.txt").mkdir(parents=True)
    (tmp_path / "in" / "l.txt").write_text("run/b.avi\n")
    with Journal(tmp_path / "out", Encoding()) as journal:
        found = copy_lists(tmp_path / "in", tmp_path / "in", tmp_path / "out", NAMES, journal, taken=["l.txt"])
    assert found.copied == {"source_l.txt": 0}


def test_a_list_may_be_as_long_as_anywhere_and_is_named_if_it_is_not_copied(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    (source / "long.txt").write_text("run/b.avi 1\n" + "#" * 11_000_000)
    (source / "latin.txt").write_bytes(b"run/b.avi 1\n\xe9.avi 2\n")
    (source / "notes.txt").write_text("no video\n")
    (source / "lost.txt").write_text("bad.avi 1\n")
    with (source / "huge.csv").open("wb") as file:
        file.truncate(TEXT_BYTES + 1)
    with Journal(out, Encoding()) as journal:
        found = copy_lists(source, source, out, NAMES, journal)
    assert found.copied == {"long.txt": 0}
    assert found.places == ["huge.csv", "latin.txt", "lost.txt"]
    reasons = dict(found.failed)
    assert list(reasons) == ["huge.csv", "latin.txt"]
    assert f"{TEXT_BYTES + 1} bytes, but the limit is {TEXT_BYTES}" in reasons["huge.csv"]
    assert reasons["latin.txt"] == "cannot be read as text: line 2 is not UTF-8; save it as UTF-8"


class Counted(dict[str, str | None]):
    """Names that count how often they are looked up."""

    asked = 0

    def __getitem__(self, name: str) -> str | None:
        self.asked += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("line", ["gone/{}/front.avi", "/gone/{}/front.avi", "front.avi"])
def test_videos_of_one_name_cost_no_more_for_each_line(line: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    names = Counted({f"{drive}/front.avi": f"{drive}/front.mp4" for drive in range(300)})
    (source / "l.txt").write_text("0/front.avi\n" + "".join(f"{line.format(one)} 1\n" for one in range(300)))
    with Journal(out, Encoding()) as journal:
        copy_lists(source, source, out, names, journal)
    assert names.asked < 2000  # 90,000 if each line looks at each video


FILES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.lists(FILES, min_size=1, max_size=2), unique_by=str, min_size=1, max_size=5))
def test_a_list_of_any_names_is_carried_over(parts: list[list[str]]) -> None:
    """The carried list, read again, has the new names in the order of the old ones."""
    old = list(dict.fromkeys(f"{'/'.join(path)}.avi" for path in parts if not {".", ".."} & set(path)))
    names = dict(zip(old, targets(old), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, "out")
        os.mkdir(source)
        os.mkdir(out)
        write_list(source / "l.csv", [(path, "x", None) for path in old])
        with Journal(out, Encoding()) as journal:
            found = copy_lists(source, source, out, names, journal).copied
        assert found == ({"l.csv": 0} if old else {})
        if old:
            assert [entry.path for entry in read_list(out / "l.csv", "l").entries] == list(names.values())
