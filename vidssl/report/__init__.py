"""One HTML page about runs: how they were trained, and what was found of them. It opens from disk, without a network."""

from __future__ import annotations

from vidssl.report.page import write_report

__all__ = ["write_report"]
