"""The log holds what was written, drops what will be made again, prints what matters, and takes names as text."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.text.text_plugin import plugin_util

from vidssl.train.log import MOST_CLASSES, Log, logdir

HOSTILE = "<script>alert(1)</script>\n![x](http://example.com/y)\t\x1b[2J"


def steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_lines_of_later_steps_are_removed(tmp_path: Path) -> None:
    with Log(tmp_path, step=0, total=9, classes=["a"], quiet=True) as log:
        for step in (1, 2, 3):
            log.write(step, 0, {"train/loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "tra')  # cut short by a crash
    with Log(tmp_path, step=2, total=9, classes=["a"], quiet=True) as log:
        assert steps(tmp_path) == [1, 2]
        log.write(3, 0, {"train/loss": 0.5})
    assert steps(tmp_path) == [1, 2, 3]


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    with Log(tmp_path, step=0, total=9, classes=["a"], quiet=True) as log:
        log.write(1, 0, {"train/loss": math.nan, "train/grad_norm": math.inf, "train/accuracy": 0.5})
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (line["train/loss"], line["train/grad_norm"], line["train/accuracy"]) == (None, None, 0.5)


def test_a_line_names_what_is_not_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"train/loss": 0.5, "train/rejected": 0.0, "train/replaced_windows": 3.0, "train/queue_depth": 2.0}
    with Log(tmp_path, step=0, total=9, classes=["a"]) as log:
        log.write(4, 0, values)
    assert capsys.readouterr().out == "step 4/9: loss 0.5000, replaced windows 3\n"


def test_a_confusion_matrix_is_kept_for_few_classes(tmp_path: Path) -> None:
    for count in (MOST_CLASSES, MOST_CLASSES + 1):
        out = tmp_path / str(count)
        out.mkdir()
        matrix = torch.eye(count, dtype=torch.int64)
        with Log(out, step=0, total=9, classes=[str(number) for number in range(count)], quiet=True) as log:
            log.write(1, 0, {"val/loss": 1.0}, matrix)
        line = json.loads((out / "metrics.jsonl").read_text())
        assert ("val/confusion" in line) == (count == MOST_CLASSES)
        assert count > MOST_CLASSES or line["val/confusion"] == matrix.tolist()


def test_a_mute_log_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path, step=0, total=9, classes=["a"], mute=True) as log:
        log.write(1, 0, {"train/loss": 1.0})
        log.say("nothing")
        log.text("run", "nothing")
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def shown(out: Path) -> EventAccumulator:
    board = EventAccumulator(str(out))
    board.Reload()
    return board


def test_names_are_text_in_tensorboard(tmp_path: Path) -> None:
    with Log(tmp_path, step=0, total=2, classes=[HOSTILE, "b"], quiet=True) as log:
        log.text("run", f"skipped: {HOSTILE}\nnext: *b*")
        log.write(1, 0, {"val/loss": 1.0}, torch.eye(2, dtype=torch.int64))
        log.settings({"group": HOSTILE}, {"val/loss": 1.0})
        log.embedding(
            torch.eye(3),
            [("a", HOSTILE, "0..9"), (HOSTILE, "b", "1..9"), ("c", "d", "2..9")],
            ("class", "video", "frames"),
            torch.zeros(3, 3, 8, 8),
            1,
        )
    board = shown(tmp_path)
    text = board.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    page = plugin_util.markdown_to_safe_html(text)
    assert "<img" not in page
    assert "<script" not in page
    assert "<em>" not in page
    assert "next: *b*" in page
    assert "\x1b" not in text
    names = [tag for tags in board.Tags().values() if isinstance(tags, list) for tag in tags]
    assert any("&lt;script" in name for name in names)
    assert not any("<" in name or "\n" in name for name in names)
    (table,) = tmp_path.rglob("metadata.tsv")
    rows = [line.split("\t") for line in table.read_text().split("\n")]
    assert [len(row) for row in rows[:-1]] == [3, 3, 3, 3]
    assert rows[-1] == [""]
    assert "<" not in table.read_text()
    events = list(tmp_path.glob("*tfevents*"))
    assert events
    for event in events:
        assert b"<script" not in event.read_bytes().replace(text.encode(), b"")


def test_tensorboard_names_a_run_as_its_folder(tmp_path: Path) -> None:
    for name in ("first", "group/second", "old"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "old" / "tensorboard").mkdir()  # of an earlier version, whose runs are continued where they were
    for name in ("first", "group/second", "old"):
        with Log(tmp_path / name, step=0, total=2, classes=["a"], quiet=True) as log:
            log.write(1, 0, {"train/loss": 1.0})
    board = EventMultiplexer().AddRunsFromDirectory(str(logdir(tmp_path / "first"))).Reload()
    assert set(board.Runs()) == {"first", "group/second", "old/tensorboard"}
    assert all(len(board.Tensors(name, "train/loss")) == 1 for name in board.Runs())


def test_tensorboard_is_not_pointed_at_all_files_of_a_machine() -> None:
    for run, folder in (("runs/first", "runs"), ("/data/runs/first", "/data/runs"), ("RUN", "RUN"), ("/out", "/out")):
        assert logdir(Path(run)) == Path(folder)


@pytest.mark.parametrize("folder", [".", "tensorboard"])
def test_a_link_in_the_folder_of_tensorboard_is_not_written_through(folder: str, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("a source")
    out = tmp_path / "run"
    (out / folder).mkdir(parents=True)
    (out / folder / "projector_config.pbtxt").symlink_to(tmp_path / "source")
    (out / "metrics.jsonl").symlink_to(tmp_path / "source")
    with Log(out, step=0, total=2, classes=["a", "b"], quiet=True) as log:
        log.write(1, 0, {"val/loss": 1.0})
        log.embedding(torch.eye(2), [("a",), ("b",)], ("class",), torch.zeros(2, 3, 8, 8), 1)
    assert (tmp_path / "source").read_text() == "a source"
