"""log: what TensorBoard is given is text, whatever a file or a class is called."""

from __future__ import annotations

from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.text.text_plugin import plugin_util

from vidssl.train.log import Log

HOSTILE = "<script>alert(1)</script>\n![x](http://example.com/y)\t\x1b[2J"


def shown(out: Path) -> EventAccumulator:
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    return board


def test_names_are_text_in_tensorboard(tmp_path: Path) -> None:
    with Log(tmp_path, step=0, total=2, classes=[HOSTILE, "b"], quiet=True) as log:
        log.text("run", f"skipped: {HOSTILE}\nnext: *b*")
        log.write(1, 0, {"val/loss": 1.0}, torch.eye(2, dtype=torch.int64))
        log.settings({"group": HOSTILE}, {"val/loss": 1.0})
        log.embedding(torch.eye(3), [("a", HOSTILE, "0..9"), (HOSTILE, "b", "1..9"), ("c", "d", "2..9")], ("class", "video", "frames"),
                      torch.zeros(3, 3, 8, 8), 1)  # fmt: skip
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
    for event in (tmp_path / "tensorboard").glob("*tfevents*"):
        assert b"<script" not in event.read_bytes().replace(text.encode(), b"")


def test_a_link_in_the_folder_of_tensorboard_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("a source")
    out = tmp_path / "run"
    (out / "tensorboard").mkdir(parents=True)
    (out / "tensorboard" / "projector_config.pbtxt").symlink_to(tmp_path / "source")
    (out / "metrics.jsonl").symlink_to(tmp_path / "source")
    with Log(out, step=0, total=2, classes=["a", "b"], quiet=True) as log:
        log.write(1, 0, {"val/loss": 1.0})
        log.embedding(torch.eye(2), [("a",), ("b",)], ("class",), torch.zeros(2, 3, 8, 8), 1)
    assert (tmp_path / "source").read_text() == "a source"
