"""The tables say what the results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from vidssl.types import VidsslError


def line(date: str, ratio: float, **more: Any) -> str:
    figure = {"median": ratio, "low": ratio - 0.25, "high": ratio + 0.25}
    return json.dumps(
        {
            "bench": "kernels",
            "workload": "w",
            "subject": "ours",
            "item": "tuple",
            "rounds": 3,
            "wall": {"ours": figure, "theirs": figure},
            "cpu": {},
            "speedup": {"theirs": figure},
            "cpu_saving": {},
            "facts": {},
            "command": "",
            "date": date,
            "commit": "0123456789",
            "changed": False,
            "machine": {"cpu": "some", "cores": 2, "simd": "avx2", "load": 0},
            "versions": {"python": "3.11"},
            **more,
        }
    )


def test_the_newest_of_a_workload_counts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([line("2026-02-02T00:00:00", 4.0), line("2026-01-01T00:00:00", 3.0)]))
    (tmp_path / "b.jsonl").write_text(line("2026-02-02T00:00:00", 9.0, bench="loader"))
    text = report.section("kernels", report.read(tmp_path))
    assert "**4.00** [3.75, 4.25]" in text
    assert "3.00" not in text
    assert "9.00" not in text
    assert "0123456 |" in text


@pytest.mark.parametrize(("bench", "shown"), [("time", 1), ("loader", 2)])
def test_what_is_learnt_does_not_depend_on_the_number_of_cores(bench: str, shown: int, tmp_path: Path) -> None:
    one = {"cpu": "some", "cores": 1, "simd": "avx2", "load": 0}
    lines = line("2026-01-01T00:00:00", 3.0, bench=bench), line("2026-02-02T00:00:00", 4.0, bench=bench, machine=one)
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert len(report.read(tmp_path)) == shown


def test_only_what_stands_between_the_markers_changes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("2026-02-02T00:00:00", 4.0, changed=True))
    readme = tmp_path / "README.md"
    readme.write_text(
        "before\n<!-- results: kernels -->\nold\n<!-- end -->\nafter\n<!-- results: loader -->\n<!-- end -->\n"
    )
    (tmp_path / "page.md").write_text("<!-- results: kernels -->\n<!-- end -->\n")
    report.main(results=tmp_path, pages=(readme, tmp_path / "page.md"), chart=tmp_path / "peers.png")
    first = readme.read_text()
    report.main(results=tmp_path, pages=(readme, tmp_path / "page.md"), chart=tmp_path / "peers.png")
    assert readme.read_text() == first
    assert "0123456* |" in (tmp_path / "page.md").read_text()
    assert "old" not in first
    assert "0123456* |" in first
    assert first.startswith("before\n")
    assert "\nafter\n" in first
    assert "No results yet." in first


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line("2026-02-02T00:00:00", 4.0) + "\n{}\n")
    with pytest.raises(VidsslError, match=r"a\.jsonl, line 2"):
        report.read(tmp_path)


def test_the_committed_tables_are_those_of_the_committed_results() -> None:
    for page in report.PAGES:
        assert page.read_text() == report.rewrite(page.read_text(), report.read(report.HERE / "results"))


def test_every_committed_benchmark_has_a_table() -> None:
    lines = report.read(report.HERE / "results")
    for bench in {one["bench"] for one in lines} - report.TABLES.keys():  # the table of comparisons takes them
        assert "| --- |" in report.section(bench, lines)
    wheel = "vidssl-0.1.0-cp311-cp311-manylinux_2_35_x86_64.whl"
    assert f"| {wheel} | torch==2.13.0 | 2.95 | 139 | 23.7, 449 |" in report.section("install", lines)


def test_a_chart_shows_one_machine() -> None:
    """Every line of it has what the store is compared with, which is not measured everywhere."""
    lines = [line for line in report.read(report.HERE / "results") if line["bench"] == "store_epochs"]
    shown = report.of_one_machine(lines)
    assert len({line["machine"]["cpu"] for line in lines}) > 1
    assert len({line["machine"]["cpu"] for line in shown}) == 1
    assert all("decoding each epoch" in line["speedup"] for line in shown)
