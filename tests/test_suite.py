"""How `make test` runs the tests: in as many processes as the machine has cores; one that dies hides nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import conftest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
TESTS = """
import os, signal

def test_before():
    pass

def test_kills():
    os.kill(os.getpid(), signal.SIGBUS)

def test_after():
    pass
"""


def test_a_test_that_kills_its_process_is_named_and_the_others_run(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "test_one.py").write_text(TESTS)
    (options,) = re.findall(r"-m pytest (.+) \$\(ARGS\)", MAKEFILE.read_text())
    command = [sys.executable, "-m", "pytest", *options.split(), "-p", "no:cacheprovider"]
    about = os.environ | {"PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}
    found = subprocess.run(command, cwd=tmp_path, env=about, capture_output=True, text=True, timeout=240)
    assert found.returncode == 1, found.stdout + found.stderr
    assert re.search(r"worker '\w+' crashed while running 'test_one.py::test_kills'", found.stdout)
    assert "1 failed, 2 passed" in found.stdout


@pytest.mark.parametrize(("cores", "gpu", "processes"), [(1, False, 1), (3, False, 3), (64, False, 8), (64, True, 0)])
def test_number_of_processes(cores: int, gpu: bool, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "cpus", lambda: cores)
    monkeypatch.setattr(conftest, "build_info", lambda: {"cuda": "13.0"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert conftest.pytest_xdist_auto_num_workers() == processes
