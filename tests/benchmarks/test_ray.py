"""The table of bench_ray says what Ray adds, and where its bytes differ."""

from __future__ import annotations

from benchmarks.ray_table import table


def test_rows() -> None:
    about = {"bench": "ray", "files": 2000, "outputs": 1, "commit": "0123456789", "changed": False}
    text = table(
        [
            {**about, "workload": "index", "seconds": {"local": 10.0, "ray": 12.0}, "same bytes": True},
            {**about, "workload": "prepare", "seconds": {"local": 10.0, "ray": 5.0}, "same bytes": False},
        ]
    )
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[2:]]
    assert rows == [
        ["index", "2,000", "10.0", "12.0", "1.20", "1.0", "yes", "0123456"],
        ["prepare", "2,000", "10.0", "5.0", "0.50", "-2.5", "**no**", "0123456"],
    ]
