"""Kinetics' CSV: ids, seconds in six digits, parts by a column."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl import VidsslError
from vidssl.cli import main
from vidssl.datasets import kinetics

LINES = (
    "label,youtube_id,time_start,time_end,split",
    "riding a bike,-aB_c1,10,20,train",
    "riding a bike,-ab_C1,3,13,train",
    "abseiling,0wR5,28,38,validate",
    "abseiling,gone,1,11,validate",
)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in (
        "riding_a_bike/-aB_c1_000010_000020.mp4",
        "riding a bike/-ab_C1_000003_000013.mkv",
        "abseiling/0wR5_000028_000038.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "k.csv").write_text("\n".join(LINES))
    return tmp_path


def test_parts_labels_and_files(videos: Path) -> None:
    found = kinetics(videos)
    assert {part: [entry.name for entry in entries] for part, entries in found.parts.items()} == {
        "train": ["-aB_c1_000010_000020", "-ab_C1_000003_000013"],
        "validate": ["0wR5_000028_000038", "gone_000001_000011"],
    }
    assert found.missing == {"validate": ["gone_000001_000011"]}
    assert found.parts["train"][0].label == "riding a bike"
    assert found.parts["train"][0].group == "-aB_c1"  # ids differ by their case
    assert kinetics(videos, videos / "k.csv").parts == found.parts


def test_blanks_around_columns_do_not_count(videos: Path) -> None:
    found = kinetics(videos).parts
    (videos / "k.csv").unlink()
    (videos / "K.CSV").write_text("\n".join(line.replace(",", " , ") for line in LINES))
    assert kinetics(videos).parts == found


def test_wrong_lists_are_named(videos: Path) -> None:
    (videos / "k.csv").write_text("label,id\n")
    with pytest.raises(VidsslError, match="lacks the columns youtube_id, time_start, time_end, split"):
        kinetics(videos)
    (videos / "k.csv").write_text(LINES[0] + "\na,b,x,y,train\n")
    with pytest.raises(VidsslError, match=r"line 2: .*times are not numbers"):
        kinetics(videos)
    (videos / "k.csv").write_text(LINES[0] + '\n"riding, a,1,2,train\n')
    with pytest.raises(VidsslError, match=r"line 2: .* a quotation mark that is never closed"):
        kinetics(videos)
    (videos / "k.csv").unlink()
    with pytest.raises(VidsslError, match=r"no \.csv; name the release's list"):
        kinetics(videos)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(("mark", "end", "quotation"), [("", "\n", ""), ("\ufeff", "\r\n", '"'), ("", "\r", '"')])
def test_marks_line_ends_and_quotation_do_not_count(
    delimiter: str, mark: str, end: str, quotation: str, videos: Path
) -> None:
    found = kinetics(videos).parts
    rows = [delimiter.join(f"{quotation}{text}{quotation}" for text in line.split(",")) for line in LINES]
    (videos / "k.csv").write_bytes((mark + end.join(rows) + end).encode())
    assert kinetics(videos).parts == found


def test_a_test_list_has_no_labels_and_more_columns_do_not_count(videos: Path) -> None:
    (videos / "k.csv").write_text("youtube_id,time_start,time_end,split,is_cc\n0wR5,28,38,test,0\n")
    (entry,) = kinetics(videos).parts["test"]
    assert entry == ("0wR5_000028_000038", videos / "abseiling/0wR5_000028_000038.mp4", None, "0wR5", (), None)


@pytest.mark.parametrize("split", ["x/../../../escaped", "/etc/x", "..", ".", "a\0b"])
def test_a_split_that_is_no_file_name_is_refused(
    split: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "k.csv").write_text(f"{LINES[0]}\n{LINES[1]}\nabseiling,0wR5,28,38,{split}\n")
    out = tmp_path / "deep" / "lists"
    assert main(["datasets", "lists", "kinetics", str(videos), "--out", str(out)]) == 2
    said = f"annotations: {videos / 'k.csv'}: line 3: split={split!r}: a part's lists are named after it; give a word"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()
