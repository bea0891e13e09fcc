"""Lists: three layouts are read, every other line is refused by its number, and what is written is read back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cli.data import open_data
from vidssl.datasets import Dataset, Entry, plain, write_lists
from vidssl.evaluate.splits import with_labels
from vidssl.index.lists import _texts, join_fields, read_list, read_table, split_records, write_list
from vidssl.index.sources import find_videos

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"

# Names that a file may have: anything but a slash and NUL, as text. The examples hold what lists treat specially.
NAMES = st.text(
    st.one_of(
        st.sampled_from(" \t\n\r\x0b\x0c\x1c\x85\u2028\u2029\xa0\ufeff\\\"',;#=.-"),
        st.characters(exclude_categories=["Cs"], exclude_characters="/\0"),
    ),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in (".", ".."))
LABELS = st.one_of(st.none(), NAMES)


def rows_of(text: str, path: Path) -> list[tuple[str, str | None, str | None]]:
    path.write_bytes(text.encode())
    return [entry[1:4] for entry in read_list(path, "root").entries]


def clean(label: str | None) -> str | None:
    return (label or "").strip() or None


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, LABELS, LABELS), min_size=1, max_size=4))
@example([("path", "label", "group"), ("\ufeff", None, None), (" a.mp4 ", " run ", "\u2028"), ("#", '"', ",")])
@example([("a\nb.mp4,run", "x\ny,z", None), ("n" * 100_000, None, "g"), ("a\r", "\r", "\r\n"), ('"', '""', '"a"')])
def test_what_is_written_is_read_back(tmp_path: Path, rows: list[tuple[str, str | None, str | None]]) -> None:
    write_list(tmp_path / "l.csv", rows)
    read = [entry[1:4] for entry in read_list(tmp_path / "l.csv", "root").entries]
    assert read == [(name, clean(label), clean(group)) for name, label, group in rows]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4, unique=True), LABELS)
@example([("a\nb", "c\rd.mp4"), (" ", ' "x".mp4 '), ("\x85", "\u2028.mp4")], "run ")
def test_lists_of_a_data_set_name_the_same_files(
    tmp_path: Path, places: list[tuple[str, str]], label: str | None
) -> None:
    root = tmp_path.resolve()
    entries = [Entry(name, root / folder / name, label, None) for folder, name in places]
    for out in (root, root / "lists"):
        (written,) = write_lists(Dataset(name="d", parts={"all": entries}), out)
        found = find_videos(written)
        assert {found.root / one.path: one.label for one in found.videos} == {
            root / folder / name: clean(label) for folder, name in places
        }


@settings(max_examples=200)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=4), st.sampled_from(",;\t"))
def test_fields_lie_where_they_are_said_to(rows: list[list[str]], delimiter: str) -> None:
    """A list is copied with other names by replacing what lies between `start` and `end`."""
    text = "\n".join(join_fields(row, delimiter) for row in rows)
    records = list(split_records(text, "list:", delimiter))
    assert [[field.text for field in record.fields] for record in records] == rows
    for row, record in zip(rows, records, strict=True):
        for name, field in zip(row, record.fields, strict=True):
            assert text[field.start : field.end] == (
                f'"{name.replace(chr(34), chr(34) * 2)}"' if field.quoted else name
            )


def test_blanks_around_columns_and_labels_do_not_count(tmp_path: Path) -> None:
    text = '\ufeff path, Label ,group\r\n run/a.mp4, jump , g1\r\n\r\n,,\r\nrun/b.mp4,\tjump,\r\n" c.mp4 ",jump,g2\r\n'
    assert rows_of(text, tmp_path / "l.csv") == [
        ("run/a.mp4", "jump", "g1"),
        ("run/b.mp4", "jump", None),
        (" c.mp4 ", "jump", "g2"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["l.csv", "l.TXT", "l.tsv"])
def test_columns_may_be_in_any_order_with_any_delimiter(delimiter: str, name: str, tmp_path: Path) -> None:
    lines = (("group", "path", "seconds", "label"), ("g", "a b.mp4", "3", "riding a bike"))
    text = "\n".join(map(delimiter.join, lines))
    assert rows_of(text, tmp_path / name) == [("a b.mp4", "riding a bike", "g")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.mp4 0\nb.mp4 12\n", [("a.mp4", "0"), ("b.mp4", "12")]),
        ("\ufeffa.mp4\t0\r\nb.MKV \t run\r\n", [("a.mp4", "0"), ("b.MKV", "run")]),
        ("riding a bike/b c.mp4 ride\n", [("riding a bike/b c.mp4", "ride")]),
        ("x.mp4 y.mp4  1\n", [("x.mp4 y.mp4", "1")]),
        ("a.mp4\triding a bike\n", [("a.mp4", "riding a bike")]),
        ("a.mp4,0\nb c.mp4, 1\n", [("a.mp4", "0"), ("b c.mp4", "1")]),
        ("a b.mp4\nc.mp4\n", [("a b.mp4", None), ("c.mp4", None)]),
        ("a\x85b.mp4\n\u2028c.mp4 x.mp4\n", [("a\x85b.mp4", None), ("c.mp4 x.mp4", None)]),
    ],
)
@pytest.mark.parametrize("name", ["l.csv", "l.txt", "l.tsv"])
def test_paths_and_pairs(text: str, expected: list[tuple[str, str | None]], name: str, tmp_path: Path) -> None:
    assert [row[:2] for row in rows_of(text, tmp_path / name)] == expected


# Paths and labels as lists of PySlowFast, VideoMAE and mmaction2 have them, and odder ones.
PATHS = ("a.mp4", "riding a bike/b c.MKV", "k,omma/d;e.avi", 'say "hi".webm')
LABEL_NAMES = ("0", "12", "run", "riding a bike", "lift, then drop", 'say "hi"')
SEPARATORS = (" ", "  ", "\t", ",", ", ", ";")


def marked(text: str, *, when: bool) -> str:
    return '"' + text.replace('"', '""') + '"' if when else text


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("name", ["l.csv", "l.txt", "l.tsv"])
def test_every_combination_of_separator_header_mark_line_end_and_quotes(
    separator: str, header: bool, mark: str, end: str, quotes: bool, name: str, tmp_path: Path
) -> None:
    pairs = [(path, label) for path in PATHS for label in LABEL_NAMES]
    lines = [separator.join(marked(text, when=quotes) for text in ("path", "label"))] if header else []
    table = header and separator.strip(" ") != ""  # in a table, paths with delimiters need marks too
    for path, label in pairs:
        special, named = (bool(set(text) & set(',;\t"')) for text in (path, label))
        first = marked(path, when=quotes or (table and special))
        second = marked(label, when=quotes or named or (separator.isspace() and " " in label))
        lines.append(f"{first}{separator}{second}")
    assert [row[:2] for row in rows_of(mark + end.join(lines) + end, tmp_path / name)] == pairs


ONE_LINE = NAMES.map(lambda name: re.sub("[\r\n]", "_", name))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ONE_LINE, ONE_LINE.filter(str.strip)), min_size=1, max_size=4), st.sampled_from(SEPARATORS))
@example([('" 1', '","'), ("a.mp4 0 -1", "0 -1"), ("path", "label")], " ")
def test_any_name_in_quotation_marks_is_read(tmp_path: Path, pairs: list[tuple[str, str]], separator: str) -> None:
    lines = [f"{marked(f'{path}.mp4', when=True)}{separator}{marked(label, when=True)}" for path, label in pairs]
    assert rows_of("\n".join(lines), tmp_path / "l.csv") == [
        (f"{path}.mp4", label.strip(), None) for path, label in pairs
    ]


def test_a_pretraining_list_of_videomae_has_no_labels(tmp_path: Path) -> None:
    text = "k400/a b.mp4 0 -1\nk400/c.mp4 0 -1\n"
    assert rows_of(text, tmp_path / "l.csv") == [("k400/a b.mp4", None, None), ("k400/c.mp4", None, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a b.mp4"\n"c""d.mp4"\n', [("a b.mp4", None), ('c"d.mp4', None)]),
        ('"clips/0001"\n"clips 2/0002"\n', [("clips/0001", None), ("clips 2/0002", None)]),
        ('" a.mp4 " 1\n', [(" a.mp4 ", "1")]),
        ('a.mp4,"b.mp4 c"\n', [("a.mp4", "b.mp4 c")]),
    ],
)
def test_quotation_marks_are_no_part_of_a_name(
    text: str, expected: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    assert [row[:2] for row in rows_of(text, tmp_path / "l.txt")] == expected


def test_a_path_of_another_kind_stands_alone_in_a_txt(tmp_path: Path) -> None:
    assert rows_of("clips/0001\nclips/0002.bin\n", tmp_path / "l.txt") == [
        ("clips/0001", None, None),
        ("clips/0002.bin", None, None),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'path,label\na.mp4,"run\nb.mp4,run\n',
            r"line 2: 'a.mp4,\"run': a quotation mark that is never closed; close or remove it",
        ),
        ('path,label\na.mp4,"run\nb.mp4,run"\n', r"line 2: 'a.mp4,\"run': .* over 2 lines; close its quotation mark"),
        ('path,label\na.mp4,run\nb".mp4,run\n', r"line 3: .*: a quotation mark inside a text"),
        ('path,label\n"a.mp4,run"\nb.mp4,run\n', r"line 2: it has 1 fields, but the first line has 2"),
        ('path,label\n"a\nb.mp4","x"\n"a.mp4"x,run\n', r"line 4: .*: text after a closing quotation mark"),
        ("path,label\na,b.mp4,run\nc.mp4\n", r"line 2: it has 3 fields.*; line 3: it has 1 fields"),
        ("path,label\na.mp4,run\n,run\n", r"line 3: it has no path"),
        ("path,label,label\na.mp4,run,x\n", r"names the column 'label' twice"),
        ("path,label\na\0.mp4,run\n", r"line 2: its path holds a NUL"),
        (
            "file,label\nx.mp4,run\n",
            r"first line is 'file,label'; write it as one of these: .*path.*; a path.*; PATH",
        ),
        ("frames/v1 0 120 3\n", r"line 1 is 'frames/v1 0 120 3': .*with_offset.*multi_class.*path,label,start_frame"),
        ("a.mp4 1\nb.mp4 12 163 3\n", r"line 2 is 'b.mp4 12 163 3': .*with_offset"),
        ("a.mp4,12,163,3\n", r"line 1 is 'a.mp4,12,163,3': .*or start, end and label"),
        ("a.mp4 1\nb.mp4 1 5\nc 3\n", r"line 2: 'b.mp4 1 5' is neither .*; line 3: 'c 3' is neither"),
        ('"a.mp4 1\n', r"first line is '\"a.mp4 1'; write it .*; put a whole text into quotation marks"),
        ('a.mp4 1\nb.mp4 "run\n', r"line 2: 'b.mp4 \"run' is neither .*; put a whole text into quotation marks"),
        ('a.mp4 1\n"b" 1\n"" 1\n', r"line 2: '\"b\" 1' is neither .*; line 3: '\"\" 1' is neither"),
        ("a.mp4 run fast\n", r"first line is 'a.mp4 run fast'; write it"),
        ("label,youtube_id,time_start\n", r"first line is 'label,.*`vidssl datasets check --help` names the data sets"),
        ("a.mp4 1\nb.mp4\n", r"line 2: 'b.mp4' has no label, but line 1 has one"),
        ("a.mp4\n\nb.mp4 1\n", r"line 3: 'b.mp4 1' has a label, but line 1 has none"),
        ("a.mp4 1\n" * 2 + "b 1\n" * 12, r"line 12: .*; and 2 more lines$"),
    ],
)
def test_other_lines_are_refused_by_their_number(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(VidsslError, match=f"^list=.*l.csv': .*{said}"):
        find_videos(tmp_path / "l.csv")


def test_what_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"path,label\na.mp4,run\ncaf\xe9.mp4,run\n")
    with pytest.raises(VidsslError, match="line 3 is not UTF-8; save it as UTF-8"):
        find_videos(tmp_path / "l.csv")
    (tmp_path / "l.csv").write_bytes("path,label\na.mp4,run\n".encode("utf-16"))
    with pytest.raises(VidsslError, match="it is UTF-16; save it as UTF-8"):
        find_videos(tmp_path / "l.csv")
    with pytest.raises(VidsslError, match=r"caf\\udce9\.mp4.* is not UTF-8, so a list cannot name it; rename it"):
        write_list(tmp_path / "o.csv", [("caf\udce9.mp4", None, None)])
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]


def test_a_line_may_be_repeated_but_not_contradicted(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label\na.mp4,run\nb.mp4,run\n./a.mp4,run \n")
    found = find_videos(tmp_path / "l.csv")
    assert [(one.path, one.label) for one in found.videos] == [("a.mp4", "run"), ("b.mp4", "run")]
    assert found.notes == ["line 4: ./a.mp4 is named in line 2 already"]
    assert "note: line 4" in VideoIndex.build(tmp_path / "l.csv", progress=False).summary()
    (tmp_path / "l.csv").write_text("path,label\na.mp4,run\nb.mp4,run\na.mp4,walk\n")
    with pytest.raises(VidsslError, match=r"line 4: a\.mp4 has another label or group in line 2; keep one of"):
        find_videos(tmp_path / "l.csv")
    (tmp_path / "l.txt").write_text("a.mp4\n" * 30)
    assert find_videos(tmp_path / "l.txt").notes[-1] == "19 more lines name a video again"


def test_folders_that_differ_by_blanks_are_one_class(tmp_path: Path) -> None:
    for name in ("run/a.mp4", "run /b.mp4", " /c.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert {one.path: one.label for one in find_videos(tmp_path).videos} == {
        "run/a.mp4": "run",
        "run /b.mp4": "run",
        " /c.mp4": None,
    }


def test_every_command_takes_every_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / name, frames=6)
    index = VideoIndex.build(tmp_path, progress=False)
    for name in ("l.CSV", "l.txt", "l.TSV"):
        (tmp_path / name).write_text("a.mp4 run\nb.mp4 walk\n")
        assert with_labels(index, tmp_path / name).classes == ("run", "walk")
        assert open_data(tmp_path / name, None).classes == ("run", "walk")
        assert main(["datasets", "check", "csv", str(tmp_path / name)]) == 0
    capsys.readouterr()


def test_a_source_without_a_usable_video_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "l.txt").write_text("gone.mp4\ngone too.mp4\n")
    assert main(["index", str(tmp_path / "l.txt"), "--out", str(tmp_path / "i.arrow")]) == 2
    said = capsys.readouterr().err
    assert "no video can be used, so no index is written" in said
    assert "left out: gone too.mp4: cannot be read: No such file or directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["l.txt"]


def test_lists_are_named_after_what_they_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("set/run/a.mp4", "set/walk/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        make_clip(tmp_path / name, frames=6)
    (tmp_path / "all.csv").write_text("path,label,group\nset/run/a.mp4,run,\nset/walk/b.mp4,walk,\n")
    monkeypatch.chdir(tmp_path / "set")
    out = tmp_path / "out"
    made = write_lists(plain(Path(".")), out) + write_lists(plain(tmp_path / "all.csv"), out)
    made += write_lists(plain(tmp_path / "all.csv", fraction=0.5), out)
    made += write_lists(plain(tmp_path / "all.csv"), tmp_path / "index", index=True, progress=False)
    assert [path.name for path in made] == [
        "set.csv",
        "all.csv",
        "all_train.csv",
        "all_test.csv",
        "all.csv",
        "all.arrow",
    ]
    before = (tmp_path / "all.csv").read_text()
    with pytest.raises(VidsslError, match=r"all\.csv is the list that is read; name another folder"):
        write_lists(plain(tmp_path / "all.csv"), tmp_path)
    assert (tmp_path / "all.csv").read_text() == before


def test_a_table_names_its_rows() -> None:
    header, rows = read_table('ID, Start\nx, 1\n\n"y\n", "2"\r\nz,3', "list:", ",")
    assert header == ["id", "start"]
    assert rows == [(2, {"id": "x", "start": "1"}), (4, {"id": "y\n", "start": "2"}), (6, {"id": "z", "start": "3"})]


@given(text=st.text("ab,;\t \r\n\u2028\xa0", max_size=40), delimiter=st.sampled_from(",;\t"))
@example(text="a, b\r\n,\n\r a,b", delimiter=",")
def test_rows_without_quotation_marks_are_split_alike(text: str, delimiter: str) -> None:
    """A shorter way takes them, for long lists: it gives what the way for all rows gives."""
    found = [(record.line, [field.text for field in record.fields]) for record in split_records(text, "", delimiter)]
    assert list(_texts(text, "", delimiter)) == found
