"""Several data sets in one run: how they are named, recorded, resumed, and refused if they changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.clips import make_clip
from tests.train.processes import SMALL, lines
from vidssl.cli import main
from vidssl.remote import as_path
from vidssl.train import checkpoint
from vidssl.train.data_sets import DataSet, names_of, parse_data
from vidssl.types import VidsslError


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.arrow", "a.arrow", 1),
        ("a.arrow:2", "a.arrow", 2),
        ("x/a:0.25", "x/a", 0.25),
        ("a:1e3", "a", 1000),
        ("a:b", "a:b", 1),
        ("a:2/b", "a:2/b", 1),
        ("a:3:2", "a:3", 2),
        ("http://host:80", "http://host:80", 1),
        ("http://host:80:2", "http://host:80", 2),
        ("s3://bucket/a:2", "s3://bucket/a", 2),
    ],
)
def test_a_weight_follows_the_path(text: str, path: str, weight: float) -> None:
    assert parse_data([text]) == (DataSet(as_path(path), weight),)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "1e999"])
def test_a_weight_is_finite_and_positive(weight: str) -> None:
    with pytest.raises(VidsslError, match=f"weight {weight}: take a finite number > 0"):
        parse_data([f"a:{weight}"])


def test_a_file_of_the_whole_name_wins(tmp_path: Path) -> None:
    (tmp_path / "a:2").mkdir()
    assert parse_data([f"{tmp_path}/a:2"]) == (DataSet(tmp_path / "a:2"),)
    (tmp_path / "a").mkdir()
    with pytest.raises(VidsslError, match=r"are both there; write '.*a:2:1' for the second"):
        parse_data([f"{tmp_path}/a:2"])
    assert parse_data([f"{tmp_path}/a:2:1"]) == (DataSet(tmp_path / "a:2", 1.0),)


def test_a_set_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="named twice"):
        parse_data([f"{tmp_path}/a", f"{tmp_path}/b/../a:2"])


def test_short_names_if_they_differ() -> None:
    assert names_of([DataSet(Path("x/a.arrow")), DataSet(Path("x/b.csv"))]) == ["a", "b"]
    assert names_of([DataSet(Path("x/a.arrow")), DataSet(Path("y/a.arrow"))]) == ["x/a.arrow", "y/a.arrow"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of videos of other sizes and frame rates."""
    root = tmp_path_factory.mktemp("sets")
    for number in range(10):
        path = root / ("few" if number < 4 else "many") / f"{number}.avi"
        path.parent.mkdir(exist_ok=True)
        make_clip(path, "mpeg4", frames=36, size=(48, 64) if number < 4 else (40, 72), rate=25 if number < 4 else 12)
    return root


def train(out: Path, *options: str) -> int:
    return main(["train", "vcop_r3d_tiny", "--out", str(out), *SMALL, "--log-every", "2", *options])


def test_a_mixed_run_is_recorded_resumed_and_compared(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ("--data", f"{root}/few:2", "--data", f"{root}/many")
    assert train(tmp_path / "whole", *sets, "--steps", "7") == 0
    said = capsys.readouterr().out
    assert "  few: 3 videos, 5 of 8 windows in an epoch (62.5%), so each 1.67 times" in said
    assert "8 videos to train on, 2 held out" in said
    about = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert about["sources"] == {f"{root}/few": 2.0, f"{root}/many": 1.0}
    assert [text.split(",")[:2] for text in about["data_sets"].values()] == [
        ["weight 2", " 4 videos"],
        ["weight 1", " 6 videos"],
    ]
    shown = {line["step"]: line for line in lines(tmp_path / "whole") if "train/windows/few" in line}
    assert (shown[6]["train/windows/few"], shown[6]["train/windows/many"]) == (8, 4)  # 4 windows after an epoch of 8
    assert train(tmp_path / "parts", *sets, "--steps", "3") == 0
    assert main(["train", "vcop_r3d_tiny", "--out", str(tmp_path / "parts"), "--resume", "--steps", "7"]) == 0
    weights = [checkpoint.load_weights(checkpoint.find(tmp_path / name), "encoder") for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert main(["report", str(tmp_path / "whole"), "--out", str(tmp_path / "report.html")]) == 0
    capsys.readouterr()
    other = ("--data", f"{root}/few:3", "--data", f"{root}/many")
    assert train(tmp_path / "parts", *other, "--resume", "--steps", "9") == 2
    error = capsys.readouterr().err
    assert "data few: 'weight 2, 4 videos" in error
    assert "data many" not in error


def test_a_changed_set_is_named(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("few", "many"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"many/{number}.avi\n" for number in range(4, 10)))
    sets = ("--data", f"{tmp_path}/few", "--data", f"{tmp_path}/list.csv:2")
    assert train(tmp_path / "run", *sets, "--steps", "1") == 0
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"many/{number}.avi\n" for number in range(5, 10)))
    assert train(tmp_path / "run", "--resume", "--steps", "2") == 2
    error = capsys.readouterr().err
    assert "data list: 'weight 2, 6 videos" in error
    assert "weight 2, 5 videos" in error
    assert "data few" not in error


def test_other_commands_take_one_set(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = ("--data", f"{root}/few", f"--data={root}/many")
    assert main(["features", str(tmp_path), *twice, "--out", str(tmp_path / "f.npy")]) == 2
    assert "data: given 2 times; only `vidssl train` and `vidssl audit` mix data sets" in capsys.readouterr().err
    assert main(["evaluate", "probe", str(tmp_path), "--train", "a", "--train", "b"]) == 2
    assert "train: given 2 times" in capsys.readouterr().err
