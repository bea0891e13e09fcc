"""What runs left behind, side by side. The HTML page opens from disk, without a network.

| file | what it does |
|---|---|
| read.py | a run's folder: checkpoint, log, results |
| page.py | one HTML page about runs |
| overview.py, charts.py | its tables and curves of all runs |
| parts.py | what they share |
| table.py | a table and curves for the terminal's `vidssl runs` |
"""

from __future__ import annotations

from vidssl.report.page import write_report

__all__ = ["write_report"]
