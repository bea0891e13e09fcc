"""The script for a machine with a GPU: its pieces, and what it says where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_run.sh"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    about = {**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", **environment}
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=about, timeout=300)


def test_wrong_calls_are_named(tmp_path: Path) -> None:
    assert run("--help").returncode == 0
    assert "gpu_run.sh OUT [PIECE...]" in run().stdout
    found = run(str(tmp_path), "kernel")
    assert found.returncode == 2
    assert "kernel: no such piece; take some of build test sanitize kernels decoder loader train memory" in found.stderr
    assert "DEVICE=gpu: take cuda or cpu" in run(str(tmp_path), DEVICE="gpu").stderr


def test_pieces_run_by_name_and_what_fails_is_counted(tmp_path: Path) -> None:
    found = run(str(tmp_path), "sanitize", "kernels")
    assert found.returncode == 0, found.stdout
    assert "left out with DEVICE=cpu: compute-sanitizer" in found.stdout
    lines = (tmp_path / "gpu_run.jsonl").read_text().splitlines()
    assert len(lines) == 6  # assemble and motion, of planes and of RGB
    assert "share of the copy bandwidth" in lines[0]
    broken = run(str(tmp_path), "sanitize", "kernels", DEVICE="cuda", QUICK="1", CUDA_VISIBLE_DEVICES="", PATH="/usr/bin:/bin")
    assert broken.returncode == 1
    assert "kernels (exit code" in broken.stderr
