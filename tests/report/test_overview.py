"""The tables and curves of all runs show every result, with what it is measured against."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidssl import VideoIndex
from vidssl.report import write_report
from vidssl.report.charts import ABOUT
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.log import METRICS
from vidssl.train.train import train


def test_chance_is_shown_of_a_run_of_any_code(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from torch import nn\n\n\ndef net(channels=3):\n"
        "    return nn.Sequential(nn.Conv3d(channels, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())\n"
    )
    run = tmp_path / "run"
    train(replace(recipe, encoder=f"{code}:net"), index, run, steps=1, device="cpu", quiet=True)
    code.write_text("raise RuntimeError")  # a report imports no code of a run
    log = run / "metrics.jsonl"
    *_, chance = re.findall(r'"val/chance": ([0-9.]+)', log.read_text())  # of the held-out tuples
    assert f"tuples, chance {100 * float(chance):.1f}<" in write_report([run], tmp_path / "r.html").read_text()
    log.write_text(re.sub(r'"val/chance": [0-9.]+, ', "", log.read_text()))  # as an earlier version wrote it
    assert "tuples, chance 16.7<" in write_report([run], tmp_path / "r.html").read_text()
    change_meta(run, chance={"accuracy": 0.25})
    assert "tuples, chance 25.0<" in write_report([run], tmp_path / "r.html").read_text()
    change_meta(run, chance=None)  # as an earlier version wrote it
    assert "tuples, chance 16.7<" in write_report([run], tmp_path / "r.html").read_text()


def change_meta(run: Path, **changes: Any) -> None:
    """Change what the run's checkpoint says of it; None removes a key."""
    path = checkpoint.find(run) / "meta.json"
    about = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in about.items() if value is not None}))


NUMBERS: dict[str, dict[str, dict[str, float]]] = {  # of made results: row, column and value in percent
    "time": {
        "trained": {
            "direction": 61.1,
            "order": 62.2,
            "speed": 63.3,
            "class, forward": 64.4,
            "class, reversed": 65.5,
            "class, shuffled": 66.6,
            "sit:stand": 67.7,
        },
        "low level": {"direction": 68.8},
        "chance": {"direction": 50.0},
    },
    "pretext": {"trained": {"accuracy/vcop": 91.1, "balanced/vcop": 92.2, "accuracy/pace": 93.3}},
    "attentive": {"trained": {"attentive": 71.1}, "untrained": {"attentive": 72.2}, "chance": {"attentive": 11.1}},
    "finetune": {
        "fine-tuned, split 1": {"accuracy": 81.1},
        "fine-tuned, mean": {"accuracy": 82.2},
        "fine-tuned, standard deviation": {"accuracy": 1.3},
    },
}


def make_result(run: Path, kind: str) -> None:
    """Write a result of NUMBERS beside the run's own."""
    about = json.loads((run / "retrieval.json").read_text())
    numbers = {
        row: {
            column: {"value": value / 100, "low": value / 100 - 0.04, "high": value / 100 + 0.04}
            for column, value in cells.items()
        }
        for row, cells in NUMBERS[kind].items()
    }
    changes = {
        "kind": kind,
        "numbers": numbers,
        "counts": {"tuples": 231, "videos": 77},
        "weights": "ema",
        "settings": {"clips": 3},
    }
    (run / f"{kind}.json").write_text(json.dumps({**about, **changes, "images": {}, "detail": {}}))


def test_every_figure_of_every_result_is_shown(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run", symlinks=True))
    for kind in NUMBERS:
        make_result(run, kind)
    text = write_report([run], tmp_path / "r.html").read_text()
    overview, results = text.split("<h2>Training</h2>")
    values = [value for rows in NUMBERS.values() for cells in rows.values() for value in cells.values()]
    for value in values:
        assert f"<td>{value:.1f} <small>[{value - 4:.1f}, {value + 4:.1f}]</small></td>" in results
    low_level = [name for name in json.loads((run / "probe.json").read_text())["numbers"] if name != "chance"]
    assert set(low_level) >= {"trained", "untrained", "frame difference", "colour histogram"}
    assert all(f"<th>{name}</th>" in overview for name in (*low_level, "low level", "chance"))
    assert {value for value in values if f"<td>{value:.1f} <small>" in overview} == {
        *(61.1, 62.2, 63.3, 68.8, 50.0),  # time: direction, order, speed
        *(71.1, 72.2, 11.1),  # attentive probe
        *(91.1, 93.3),  # the run's own tasks
        82.2,  # the mean over splits
    }
    assert "<td>77 videos</td>" in overview
    assert "231" not in overview  # the tuples of all tasks together
    assert "<td>own task: pace</td>" in overview
    assert results.count("seed 5, ema weights") == len(NUMBERS)
    assert results.count("seed 5, raw weights") == 2
    assert results.count("<td>clips</td><td>3</td>") == len(NUMBERS)
    shown = re.findall(r"<h3>([^<]*)</h3>\n<p>[^<]+</p>", results)  # each with what it asks
    assert shown == ["pretext", "time", "retrieval", "probe", "attentive", "finetune"]


def log_line(run: Path, **values: float) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, **{name.replace("__", "/"): value for name, value in values.items()}}) + "\n")


def test_a_task_at_chance_and_a_collapse_are_warned_of(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run", symlinks=True))
    log_line(run, val__accuracy=0.5, val__chance=1 / 6, val__tuples=100, watch__spread=0.5)
    text = write_report([run], tmp_path / "r.html").read_text()
    assert 'class="warning"' not in text
    log_line(run, val__accuracy=0.31, val__chance=0.29, val__tuples=100, watch__spread=0.5)
    assert (
        "31.0 % of 100 held-out tuples is no more than chance (29.0 %)"
        in write_report([run], tmp_path / "r.html").read_text()
    )
    log_line(run, val__accuracy=0.17, val__chance=1 / 6, val__tuples=100, watch__spread=1e-5)
    text = write_report([run], tmp_path / "r.html").read_text()
    warned = re.findall(r'class="warning">([^<]*)<', text)
    of_task = "he task vcop is not learnt at step 4: 17.0 % of 100 held-out tuples is no more than chance (16.7 %)."
    collapse = "he features of all held-out clips are nearly the same: the encoder has collapsed."
    assert warned == [f"run: t{of_task}", f"run: t{collapse}", f"T{of_task}", f"T{collapse}"]


def test_charts_show_chance_and_say_what_they_show(runs: list[Path], tmp_path: Path) -> None:
    assert list(ABOUT) == list(METRICS)
    run = Path(shutil.copytree(runs[0], tmp_path / "run", symlinks=True))
    log_line(run, watch__knn=0.25)
    text = write_report([run], tmp_path / "r.html").read_text()
    charts = dict(re.findall(r'class="title"[^>]*>([^<]+)</text>(.*?)</svg>', text))
    assert {"val/accuracy", "train/loss", "watch/rank", "watch/spread", "watch/knn"} <= charts.keys()
    assert not {"train/replaced_windows", "train/skipped_steps"} & charts.keys()  # they are always 0
    assert [name for name, chart in charts.items() if "stroke-dasharray" in chart] == ["val/accuracy", "train/accuracy"]
    assert all(ABOUT[name] in chart for name, chart in charts.items() if name in ABOUT)
