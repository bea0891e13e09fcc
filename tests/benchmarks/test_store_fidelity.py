"""The difference that a store makes is that of the frames that it reduces, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report
from benchmarks.bench_store_fidelity import Case, Counts, cases, difference, facts, main
from tests.clips import make_clip
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError, as_frames

SIZE = (48, 64)


def test_a_store_of_the_size_of_a_grey_video_changes_nothing() -> None:
    data = np.full((5, SIZE[0] * 3 // 2, SIZE[1]), 128, np.uint8)
    data[:, : SIZE[0]] = np.random.default_rng(0).integers(0, 256, (5, *SIZE))
    frames = as_frames(data, "frames")
    case = Case(resize=(24, 32), crop=(16, 16), store=SIZE)
    assert not difference(frames, case, 0).any()
    assert difference(frames, case._replace(store=(24, 32)), 0).any()


def test_facts_are_of_the_differences() -> None:
    signed = np.zeros((1, 3, 1, 100, 100), np.float32)
    signed[:, 0] = -10  # red alone
    signed[:, :, :, 0, :50] = 40  # 0.5 % of the pixels
    found = facts(Counts.of(signed).plus(Counts.of(signed)))
    assert found["rgb mean"] == pytest.approx(0.995 * 10 / 3 + 0.005 * 40, abs=0.02)
    assert found["grey mean"] == pytest.approx(0.995 * 2.99 + 0.005 * 40, abs=0.02)
    assert found["rgb 99.9 %"] == found["grey 99.9 %"] == 40


def test_every_recipe_is_a_case() -> None:
    assert {name for names in cases().values() for name in names} == set(RECIPES)
    assert Case((128, 171), (112, 112), (128, 171)) in cases()


def test_a_run_writes_a_line_for_each_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for family in ("one", "two"):
        (tmp_path / family).mkdir()
        for number in range(2):
            make_clip(tmp_path / family / f"{number}.avi", "mpeg4", frames=16, size=(36, 48))
    main(data=(tmp_path / "one", tmp_path / "two"), out=tmp_path / "found.jsonl", most=1)
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert len(lines) == len(cases())
    for line in lines:
        assert list(line["grey levels"]) == ["one, 1 videos", "two, 1 videos", "all"]
    assert "store 128x171, resize 128x171, crop 112x112" in capsys.readouterr().out
    head, _, *rows = report.section("store_fidelity", lines).splitlines()[2:]
    assert head.startswith("| workload | one, 1 videos | two, 1 videos | all | all, in grey |")
    assert {row.count("|") for row in rows} == {head.count("|")}
    (tmp_path / "empty").mkdir()
    make_clip(tmp_path / "empty" / "short.avi", "mpeg4", frames=9, size=(36, 48))
    with pytest.raises(VidsslError, match="no video of at least 16 frames"):
        main(data=(tmp_path / "empty",))
