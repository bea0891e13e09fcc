"""What a wheel costs: seconds to install and megabytes, beside a torch that is there, and how long it takes to import.

    make wheel && python -m benchmarks.bench_install dist/*.whl --torch torch==2.13.0 --out benchmarks/results

Each wheel is installed into a fresh virtual environment of its Python, alone and with each extra. Without --torch, only
what needs no torch is tried: the compiled module.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro

from benchmarks.harness import append, circumstances, spread
from vidssl.types import VidsslError

MEGABYTE = 1e6
# Starts a Python that imports nothing of ours, and one that does: their difference is the import.
IMPORTS = {"vidssl": "import vidssl", "vidssl.Loader": "import torch, vidssl; vidssl.Loader"}
BASE = {"vidssl": "pass", "vidssl.Loader": "import torch"}
SMOKE = (
    "from vidssl import _native; i = _native.build_info(); assert i['cuda'] and i['dali'], i; "
    "print('compiled for', i['cuda_archs'])"
)


def python_of(wheel: Path) -> str:
    """Returns the command of the Python that a wheel is for, such as python3.12.

    Raises:
        VidsslError: The name is not that of a wheel for CPython.
    """
    found = re.search(r"-cp3(\d+)-cp3\1-", wheel.name)
    if found is None:
        raise VidsslError(f"wheel={str(wheel)!r}: take a file that `make wheel` wrote, such as *-cp312-cp312-*.whl")
    return f"python3.{found[1]}"


def size(folder: Path) -> int:
    """Returns the bytes of all files in a folder, each counted once."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


class Environment:
    """A fresh virtual environment."""

    def __init__(self, folder: Path, python: str) -> None:
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        self.folder, self.python = folder, str(folder / "bin/python")

    def pip(self, *arguments: str) -> None:
        """Calls pip. Raises VidsslError if it fails."""
        command = [self.python, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise VidsslError(f"pip {' '.join(arguments)}: {done.stderr.strip()[-500:]}")

    def install(self, *requirements: str) -> dict[str, float]:
        """Installs requirements; returns the seconds this took and the megabytes it added."""
        before, start = size(self.folder), time.perf_counter()
        self.pip("install", *requirements)
        return {
            "seconds": round(time.perf_counter() - start, 1),
            "megabytes": round((size(self.folder) - before) / MEGABYTE, 1),
        }

    def download(self, requirement: str, to: Path) -> float:
        """Returns the megabytes of the packages that `requirement` adds to what is installed here."""
        self.pip("install", "--dry-run", "--report", str(to / "report.json"), requirement)
        found = json.loads((to / "report.json").read_text())["install"]
        names = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found]
        self.pip("download", "--no-deps", "-d", str(to), *(name for name in names if not name.startswith("vidssl==")))
        return sum(path.stat().st_size for path in to.glob("*.whl")) / MEGABYTE

    def seconds(self, code: str) -> float:
        start = time.perf_counter()
        subprocess.run([self.python, "-c", code], check=True, cwd=self.folder)
        return time.perf_counter() - start


def measured(
    wheel: Path, torch: str, extras: Sequence[str], folder: Path, *, demo: bool, rounds: int
) -> dict[str, Any]:
    """Installs one wheel and returns what was seen."""
    python = python_of(wheel)
    if shutil.which(python) is None:
        return {"python": python, "skipped": f"{python} is not on PATH"}
    environment = Environment(folder / "env", python)
    found: dict[str, Any] = {"python": python, "wheel_megabytes": round(wheel.stat().st_size / MEGABYTE, 2)}
    if not torch:
        environment.install("--no-deps", str(wheel))
        done = subprocess.run([environment.python, "-c", SMOKE], cwd=folder, capture_output=True, text=True, check=True)
        return {**found, "without_torch": done.stdout.strip()}
    environment.install(torch)
    (folder / "packages").mkdir()
    found["download_megabytes"] = round(
        environment.download(str(wheel), folder / "packages") + found["wheel_megabytes"], 1
    )
    found["installed"] = environment.install(str(wheel))
    subprocess.run([environment.python, "-c", SMOKE], cwd=folder, capture_output=True, check=True)
    found["import_seconds"] = {  # in turn, so that other load on the machine hits both alike
        name: asdict(spread(environment.seconds(code) - environment.seconds(BASE[name]) for _ in range(rounds)))
        for name, code in IMPORTS.items()
    }
    if demo:
        start = time.perf_counter()
        subprocess.run(
            [str(folder / "env/bin/vidssl"), "demo", "--out", str(folder / "demo")],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        found["demo_seconds"] = round(time.perf_counter() - start, 1)
    found["extras"] = {extra: environment.install(f"{wheel}[{extra}]") for extra in extras}
    return found


def main(
    wheels: tyro.conf.Positional[tuple[Path, ...]],
    *,
    torch: str = "",
    extras: tuple[str, ...] = ("dali", "duplicates", "onnx", "transformers"),
    demo: bool = False,
    rounds: int = 5,
    out: Path | None = None,
) -> None:
    """Measure the installation of wheels.

    Args:
        wheels: Files that `make wheel` wrote.
        torch: The torch that is there before, as a requirement, such as torch==2.13.0. Empty: without torch.
        extras: Extras to install, one after the other, into the same environment.
        demo: Also run `vidssl demo` there.
        rounds: How often an import is measured.
        out: Folder of the results file. None prints only.
    """
    for wheel in wheels:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(wheel.resolve(), torch, extras, Path(folder), demo=demo, rounds=rounds)
        line = {
            "bench": "install",
            "workload": f"{wheel.name}, torch: {torch}",
            "wheel": wheel.name,
            "torch": torch,
            **found,
            **circumstances(),
        }
        print(json.dumps({key: line[key] for key in ("wheel", *found)}, indent=1))
        append(line, out)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except VidsslError as error:
        sys.exit(str(error))
