"""Official splits: which videos each has, and their mean over several evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev

import pytest

from tests.clips import make_clip
from vidssl import VidsslError
from vidssl.cli import main
from vidssl.datasets import ucf101
from vidssl.evaluate.confidence import Estimate
from vidssl.evaluate.over_splits import check_splits, mean_rows, official_splits
from vidssl.evaluate.run import load_run
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import train

CLASSES = ("Archery", "Biking")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, three groups of two clips; split N tests on group N. One clip is in no folder of its class."""
    root = tmp_path_factory.mktemp("ucf") / "UCF-101"
    lists = root.parent / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("".join(f"{at} {name}\n" for at, name in enumerate(CLASSES, start=1)))
    clips = [
        (name, group, f"v_{name}_g{group:02d}_c{clip:02d}.avi")
        for name in CLASSES
        for group in (1, 2, 3)
        for clip in (1, 2)
    ]
    for at, (name, _, file) in enumerate(clips):
        folder = root / ("elsewhere" if at == 0 else name)
        folder.mkdir(parents=True, exist_ok=True)
        make_clip(folder / file, "mpeg4", frames=36, size=(48 + 2 * at, 64))
    for split in (1, 2, 3):
        (lists / f"trainlist{split:02d}.txt").write_text(
            "".join(f"{name}/{file} {CLASSES.index(name) + 1}\n" for name, group, file in clips if group != split)
        )
        (lists / f"testlist{split:02d}.txt").write_text(
            "".join(f"{name}/{file}\n" for name, group, file in clips if group == split)
        )
    return root


@pytest.fixture
def run(videos: Path, recipe: Recipe, tmp_path: Path) -> Path:
    train(recipe, VideoIndex.build(videos, progress=False), tmp_path / "run", steps=1, device="cpu", quiet=True)
    return tmp_path / "run"


def test_each_split_has_the_videos_labels_and_groups_of_its_lists(videos: Path) -> None:
    found = official_splits(ucf101(videos), VideoIndex.build(videos, progress=False), (3, 1))
    assert [one.number for one in found] == [1, 3]
    for one in found:
        assert one.missing == 0
        assert (len(one.train), len(one.test)) == (8, 4)
        assert {name[-2:] for name in one.test.column("group").to_pylist()} == {f"0{one.number}"}
        both = set(one.train.column("path").to_pylist()) | set(one.test.column("path").to_pylist())
        assert len(both) == 12
    for part in (found[0].train, found[0].test):  # the folder of one clip is not its class
        for path, label in zip(part.column("path").to_pylist(), part.column("label").to_pylist(), strict=True):
            assert f"v_{label}_" in path


def test_videos_that_are_missing_are_counted(videos: Path, tmp_path: Path) -> None:
    dataset = ucf101(videos)
    dataset.parts["test_1"][0] = dataset.parts["test_1"][0]._replace(path=None)
    (found,) = official_splits(dataset, VideoIndex.build(videos, progress=False), (1,))
    assert (found.missing, len(found.test)) == (1, 3)
    assert found.notes(3, found.train.column("label").to_pylist()) == (
        "How many of the test videos were among the run's pretraining videos is not known.",
        "1 videos of the official lists are missing.",
    )


@pytest.mark.parametrize("numbers", [(), (0,), (4,), (1, 1), (1, 4)])
def test_splits_that_do_not_exist_are_named(videos: Path, numbers: tuple[int, ...]) -> None:
    with pytest.raises(VidsslError, match=r"splits=\(.*\): take one or more of 1, 2, 3, each once"):
        check_splits(ucf101(videos), numbers)


def test_another_folder_has_none_of_the_videos(videos: Path, index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="none of the 8 videos of train_1 are there"):
        official_splits(ucf101(videos), index, (1,))


def test_mean_and_standard_deviation_of_the_splits() -> None:
    tables = {
        number: {"trained": {"R@1": Estimate(value, 0.0, 1.0)}, "chance": {"R@1": Estimate(value / 2)}}
        for number, value in ((1, 0.5), (2, 0.6), (3, 0.4))
    }
    found = mean_rows(tables)
    rows = ["trained, split 1", "trained, split 2", "trained, split 3", "trained, mean", "trained, standard deviation"]
    assert list(found) == [*rows, "chance"]
    assert found["trained, split 2"] == tables[2]["trained"]
    assert found["trained, mean"]["R@1"].value == pytest.approx(0.5)
    assert found["trained, standard deviation"]["R@1"].value == pytest.approx(0.1)
    assert found["chance"]["R@1"].value == pytest.approx(0.25)
    assert list(mean_rows({1: tables[1]})) == ["trained, split 1", "trained, mean", "chance"]


def test_retrieval_over_all_splits(run: Path, videos: Path) -> None:
    options = ["--dataset", "ucf101", "--clips", "1", "--ks", "1", "3", "--device", "cpu"]
    assert main(["evaluate", "retrieval", str(run), "--train", str(videos), *options]) == 0
    every = [json.loads((run / f"retrieval_split{number}.json").read_text()) for number in (1, 2, 3)]
    mean = json.loads((run / "retrieval.json").read_text())
    for name in ("trained", "untrained"):
        for column in ("R@1", "R@3"):
            values = [one["numbers"][name][column]["value"] for one in every]
            assert [mean["numbers"][f"{name}, split {n}"][column]["value"] for n in (1, 2, 3)] == values
            assert mean["numbers"][f"{name}, mean"][column]["value"] == pytest.approx(fmean(values))
            spread = mean["numbers"][f"{name}, standard deviation"][column]["value"]
            assert spread == pytest.approx(stdev(values))
    assert (mean["kind"], mean["counts"]) == ("retrieval", {"splits": 3})
    assert mean["split"] == "split 1 of ucf101, split 2 of ucf101, split 3 of ucf101"
    assert mean["data"]["test_videos"] == 12
    assert all((run / f"retrieval_split{number}.png").is_file() for number in (1, 2, 3))
    assert main(["report", str(run), "--out", str(run.parent / "report.html")]) == 0
    assert "trained, mean" in (run.parent / "report.html").read_text()


def test_finetuning_over_splits_goes_on_with_the_split_that_was_stopped(
    run: Path, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--batch-size", "2", "--holdout", "0", "--amp", "off", "--clips", "1", "--device", "cpu", "--workers", "1"]
    command = ["evaluate", "finetune", str(run), "--train", str(videos), "--dataset", "ucf101", *small]
    assert main([*command, "--splits", "1", "--steps", "2"]) == 0  # as if it was stopped in split 2
    assert main([*command, "--splits", "1", "2", "--steps", "2"]) == 2
    assert "not empty; --resume" in capsys.readouterr().err
    again = ["evaluate", "finetune", str(run), "--dataset", "ucf101", "--device", "cpu", "--resume"]
    assert main([*again, "--splits", "1", "2"]) == 0
    assert main(again) == 0  # of the same splits; where their videos are is recorded too
    mean = json.loads((run / "finetune.json").read_text())
    assert list(mean["numbers"]) == [
        "fine-tuned, split 1",
        "fine-tuned, split 2",
        "fine-tuned, mean",
        "fine-tuned, standard deviation",
        "chance",
    ]
    folders = [run / "finetune" / f"checkpoint_split{number}" for number in (1, 2)]
    assert [checkpoint.load_meta(checkpoint.find(folder))["step"] for folder in folders] == [2, 2]
    log = [json.loads(line) for line in (folders[0] / "metrics.jsonl").read_text().splitlines()]
    assert load_run(folders[1]).recipe.encoder == "r3d_tiny"
    assert [line["step"] for line in log].count(2) <= 1  # the first split was not trained again


def test_with_out_the_splits_are_in_that_file_alone(run: Path, videos: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    options = ["--dataset", "ucf101", "--splits", "1", "3", "--clips", "1", "--ks", "1", "--device", "cpu"]
    out = tmp_path / "o.json"
    assert main(["evaluate", "retrieval", str(run), "--train", str(videos), *options, "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    mean = json.loads(out.read_text())
    assert list(mean["detail"]["splits"]) == ["1", "3"]
    for number, one in mean["detail"]["splits"].items():
        assert one["kind"] == f"retrieval_split{number}"
        assert one["numbers"]["trained"]["R@1"] == mean["numbers"][f"trained, split {number}"]["R@1"]
