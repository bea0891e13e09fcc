"""bench_shortcuts turns each switch on by itself, leaves out those that change nothing, and says what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.bench_shortcuts import TINY, main, none, variants
from benchmarks.shortcuts_table import CUES
from tests.clips import make_clip
from vidssl.pretext import METHODS
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError

SLOTS = ["crop_scope", "color_scope", "level_luma"]
ONE_SLOT = ["color_scope", "level_luma"]
SWITCHED = {
    "vcop_r3d_tiny": [*SLOTS, "interval_max"],
    "pace_r3d_tiny": ONE_SLOT,
    "arrow_r3d_tiny": ONE_SLOT,
}


def test_every_method_is_audited() -> None:
    assert {RECIPES[name]().pretext.name for name in TINY} == set(METHODS)


@pytest.mark.parametrize("name", TINY)
def test_each_switch_changes_the_task_by_itself(name: str) -> None:
    found = variants(RECIPES[name]().pretext)
    assert list(found) == ["none", *SWITCHED.get(name, SLOTS), "all"]
    assert found["none"] == none(RECIPES[name]().pretext)
    shown = {(one.plan.text, one.augment) for one in found.values()}
    assert len(shown) == len(found)
    for switch, one in found.items():
        assert (one.plan.classes, one.plan.times) == (found["none"].plan.classes, found["none"].plan.times)
        assert (one.augment.level_luma is not None) == (switch in ("level_luma", "all"))
        assert (one.augment.brightness > 0) == (switch in ("color_scope", "all"))


def test_a_run_writes_a_line_for_each_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(8):
        make_clip(tmp_path / "videos" / f"{number}.avi", "mpeg4", frames=20, size=(36, 48))
    out = tmp_path / "found.jsonl"
    main(data=tmp_path / "videos", recipes=("arrow_r3d_tiny",), out=out, tuples=60)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["workload"], line["chance"]) == ("arrow_r3d_tiny, videos", 0.5)
    assert list(line["variants"]) == ["none", *ONE_SLOT, "all"]
    assert "Shortcut audit of arrow_r3d_tiny, level_luma" in capsys.readouterr().out
    score = line["variants"]["all"]["scores"]["luma"]
    assert score["low"] <= score["accuracy"] <= score["high"]
    text = report.section("shortcuts", [line])
    head, _, *rows = text.splitlines()[2:]
    assert {row.count("|") for row in rows} == {head.count("|")}
    assert [row.split(" | ")[1] for row in rows] == list(line["variants"])
    with pytest.raises(VidsslError, match=r"recipes=\['arrow'\]: take some of"):
        main(data=tmp_path / "videos", recipes=("arrow",))


def test_what_is_above_chance_is_bold() -> None:
    scores = {name: {"accuracy": 0.5, "low": 0.4, "high": 0.6} for name in CUES}
    scores["gop"] = {"accuracy": 0.9, "low": 0.8, "high": 0.95}
    line = {
        "workload": "some, videos",
        "chance": 0.5,
        "videos": [7, 3],
        "variants": {"none": {"scores": scores}},
        "commit": "0123456789",
        "changed": False,
    }
    (row,) = report.TABLES["shortcuts"]([line]).splitlines()[2:]
    assert "| 50 [40, 60] |" in row
    assert "| **90 [80, 95]** |" in row
    assert row.count("**") == 2
