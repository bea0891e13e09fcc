"""What the benchmarks say must follow from what was measured; how fast anything is, is nobody's business here."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import harness, workloads
from benchmarks.harness import Spent, compare, interleave, spread
from vidssl import versions
from vidssl.loader import graph_decoder as nvdec
from vidssl.types import VidsslError


def test_cases_take_turns_and_warmup_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def case(name: str) -> harness.Case:
        def run(turn: int) -> Spent:
            calls.append((name, turn))
            return Spent(turn + 1.0, 0.5)

        return run

    spent = interleave({"a": case("a"), "b": case("b")}, repeats=2, warmup=1)
    assert calls == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert spent["a"] == [Spent(1.0, 0.5), Spent(2.0, 0.5)]


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is three times slower in the second round: the ratio of either round is 2, and so is their median.
    spent = {
        "ours": [Spent(1.0, 1.0), Spent(3.0, 1.0), Spent(1.0, 1.0)],
        "theirs": [Spent(2.0, 4.0), Spent(6.0, 4.0), Spent(2.0, 4.0)],
    }
    result = compare("kernels", "x", spent, subject="ours", item="tuple")
    assert result.speedup["theirs"].median == result.speedup["theirs"].low == result.speedup["theirs"].high == 2.0
    assert result.cpu_saving["theirs"].median == 4.0
    assert result.wall["theirs"].median == 2000.0  # milliseconds
    assert "2.00x" in result.text()


def test_spread_is_median_and_quartiles() -> None:
    found = spread([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)


def test_processor_time_that_was_not_seen_gives_no_ratio() -> None:
    result = compare(
        "loader", "x", {"ours": [Spent(1.0, 1.0)], "theirs": [Spent(1.0, 0.0)]}, subject="ours", item="sample"
    )
    assert result.cpu_saving == {}


def test_stopwatch_sees_waiting_as_wall_time_only() -> None:
    with harness.Stopwatch() as watch:
        time.sleep(0.05)
    assert watch.per(1).wall >= 0.05
    assert watch.per(5).wall == watch.wall / 5


def test_no_rounds_are_refused() -> None:
    with pytest.raises(VidsslError, match="repeats=0"):
        interleave({}, repeats=0)


def test_a_line_carries_its_circumstances(tmp_path: Path) -> None:
    result = compare(
        "kernels", "x", {"ours": [Spent(1.0, 1.0)], "theirs": [Spent(2.0, 2.0)]}, subject="ours", item="tuple"
    )
    harness.report(result, tmp_path)
    harness.report(result, tmp_path / "named.jsonl")
    (named,) = [path for path in tmp_path.iterdir() if path.name != "named.jsonl"]
    line = json.loads(named.read_text())
    assert named.name.startswith("kernels_")
    assert line["date"][:10] in named.name
    assert {"command", "machine", "versions", "commit", "changed"} <= line.keys()
    assert {"torch", "av", "python"} <= line["versions"].keys()
    assert line["machine"]["simd"] in ("plain", "avx2", "avx512")
    assert json.loads((tmp_path / "named.jsonl").read_text())["speedup"]["theirs"]["median"] == 2.0


def test_a_workload_counts_as_measured_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {**harness.circumstances(), "commit": "abc", "changed": False}
    monkeypatch.setattr(harness, "circumstances", lambda: about)
    out = tmp_path / "out.jsonl"
    assert not harness.measured("kernels", "x", out)
    harness.append({"bench": "kernels", "workload": "x", **about}, out)
    assert harness.measured("kernels", "x", out)
    assert not harness.measured("kernels", "y", out)
    for other in ({"commit": "def"}, {"changed": True}, {"commit": ""}):
        monkeypatch.setattr(harness, "circumstances", lambda other=other: {**about, **other})
        assert not harness.measured("kernels", "x", out)


def test_a_clip_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = workloads.Clip(name="tiny", kilobits=90, size=(48, 64), frames=5)
    path = workloads.made(clip, tmp_path)
    monkeypatch.setattr(workloads, "encode", None)
    assert workloads.made(clip, tmp_path) == path
    assert [item.name for item in path.parent.iterdir()] == ["tiny.mp4"]
    with pytest.raises(TypeError):  # encode is called: other settings are another clip
        workloads.made(replace(clip, frames=6), tmp_path)


def test_nvdec_that_cannot_be_had_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvdec, "_LIBRARY", "libnone.so.1")
    assert workloads.nvdec() is None
    assert 'left out, what NVDEC decodes: decode="nvdec": libnone.so.1 is not there' in capsys.readouterr().out


def test_a_copy_without_git_is_told_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDSSL_COMMIT", raising=False)
    assert versions._commit(tmp_path) == ""
    monkeypatch.setenv("VIDSSL_COMMIT", "abc")
    assert versions._commit(tmp_path) == "abc"
    monkeypatch.setattr(harness, "versions", lambda: {"commit": "abc"})
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    assert harness.circumstances()["changed"] is False
