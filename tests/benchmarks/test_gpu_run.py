"""The script for a machine with a GPU: its pieces, all of them tried on a CPU, and what it says where there is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu_run.sh"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    about = {**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", **environment}
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=about, timeout=600)


def test_wrong_calls_are_named(tmp_path: Path) -> None:
    assert run("--help").returncode == 0
    assert "gpu_run.sh OUT [PIECE...]" in run().stdout
    assert "results go to OUT/quick.jsonl" in run().stdout
    found = run(str(tmp_path), "kernel")
    assert found.returncode == 2
    assert (
        "kernel: no such piece; take some of facts build test-kernels kernels test-loader loader store decoder train"
        in found.stderr
    )
    assert "DEVICE=gpu: take cuda or cpu" in run(str(tmp_path), DEVICE="gpu").stderr


def test_every_piece_runs_on_a_cpu(tmp_path: Path) -> None:
    found = run(str(tmp_path), QUICK="1")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "left out: compute-sanitizer needs a GPU" in found.stdout
    ended = re.findall(r"^==== (\S+): \d+ s, exit code 0$", found.stdout, re.MULTILINE)
    assert ended == [
        "facts",
        "build",
        "test-kernels",
        "kernels",
        "test-loader",
        "loader",
        "store",
        "decoder",
        "train",
        "memory",
        "sanitize",
    ]
    lines = [json.loads(text) for text in (tmp_path / "quick.jsonl").read_text().splitlines()]
    counts = {
        bench: sum(line["bench"] == bench for line in lines)
        for bench in ("cuda", "loader", "store_epochs", "decoder", "train", "memory")
    }
    assert counts == {"cuda": 6, "loader": 1, "store_epochs": 4, "decoder": 2, "train": 1, "memory": 2}
    assert "share of the copy bandwidth" in lines[0]["facts"]
    about = json.loads((tmp_path / "facts.json").read_text())
    assert about["packages"]["av"]
    assert about["libnvcuvid.so.1"]


def test_what_fails_is_counted_and_does_not_keep_the_next_from_running(tmp_path: Path) -> None:
    broken = run(
        str(tmp_path),
        "kernels",
        "sanitize",
        "facts",
        DEVICE="cuda",
        QUICK="1",
        CUDA_VISIBLE_DEVICES="",
        PATH="/usr/bin:/bin",
    )
    assert broken.returncode == 1
    assert "kernels (exit code 1) sanitize (exit code 1)" in broken.stderr
    assert "==== facts" in broken.stdout
    assert "compute-sanitizer: not found; it comes with the CUDA toolkit" in broken.stdout


def test_every_kernel_is_sanitized_and_what_passed_is_not_tried_again(tmp_path: Path) -> None:
    """With a stand-in for compute-sanitizer, which says what it was asked for and fails on one kernel."""
    sanitizer = tmp_path / "bin" / "compute-sanitizer"
    sanitizer.parent.mkdir()
    sanitizer.write_text('#!/bin/sh\necho "asked $2 $6"\n[ "$1" = --help ] || [ "$6" != kns=plan_kernel ]\n')
    sanitizer.chmod(0o755)
    how = {"DEVICE": "cuda", "PATH": f"{sanitizer.parent}:{os.environ['PATH']}"}
    kernels = {
        name
        for path in (ROOT / "csrc/kernels").glob("*.cu")
        for name in re.findall(r"\b(\w+_kernel)\(", path.read_text())
    }
    first = run(str(tmp_path), "sanitize", **how)
    assert first.returncode == 1
    asked = re.findall(r"^asked (\w+check) kns=(\w+)$", first.stdout, re.MULTILINE)
    assert set(asked) == {(tool, kernel) for tool in ("memcheck", "racecheck", "initcheck") for kernel in kernels}
    second = run(str(tmp_path), "sanitize", **how)
    assert set(re.findall(r"^asked (\w+check) kns=(\w+)$", second.stdout, re.MULTILINE)) == {
        pair for pair in asked if pair[1] == "plan_kernel"
    }


def test_it_names_every_module_with_tests_for_a_gpu() -> None:
    text = SCRIPT.read_text()
    modules = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^@?(pytestmark = )?pytest\.mark\.gpu", path.read_text(), re.M)
    ]
    assert len(modules) > 2
    assert [name for name in (str(path.relative_to(ROOT)) for path in modules) if name not in text] == []
