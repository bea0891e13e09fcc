"""The CUDA twins' own bodies, run on the host (emulated/cuda_runtime.h), give the bits of the CPU twins. On a GPU:
test_cuda.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernels.workload import SPECS

HERE = Path(__file__).parent / "emulated"
CSRC = Path(__file__).parents[2] / "csrc"
KERNELS = CSRC / "kernels"
SOURCES = [
    HERE / "compare.cpp",
    KERNELS / "spec.cpp",
    *sorted(KERNELS.glob("*_cpu.cpp")),
    *sorted(KERNELS.glob("*_cuda.cu")),
]


@pytest.fixture(scope="module")
def compiler() -> str:
    backend = str(CSRC.parent / "build_backend")
    sys.path.insert(0, backend)
    try:
        import toolchain

        return toolchain.find_cxx()
    except SystemExit as missing:
        pytest.skip(f"no C++ compiler to build the emulation with: {missing}")
    finally:
        sys.path.remove(backend)


def test_cuda_bodies_equal_the_cpu_twins(compiler: str, tmp_path: Path) -> None:
    # A GPU refuses an address that is no multiple of what is read there, which the host's processor would take.
    aligned = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-fopenmp-simd", "-w", *aligned, f"-I{HERE}", f"-I{CSRC}"]

    def compiled(source: Path) -> str:
        target = tmp_path / f"{source.stem}.o"
        subprocess.run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(target)], check=True)
        return str(target)

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, SOURCES))
    subprocess.run([compiler, "-pthread", *aligned, *objects, "-o", str(tmp_path / "compare")], check=True)
    lines = []
    for spec in SPECS.values():
        lines += [
            spec.text,
            " ".join(map(str, spec.arrangements.ravel())),
            " ".join(map(str, spec.labels)),
            str(spec.frames),
        ]
    (tmp_path / "specs.txt").write_text("\n".join(lines) + "\n")
    ran = subprocess.run(
        [str(tmp_path / "compare"), str(tmp_path / "specs.txt")], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    found = re.fullmatch(r"(\d+) plans, (\d+) motions, (\d+) reductions, (\d+) pictures\n", ran.stdout)
    assert found is not None, ran.stdout
    assert [int(number) for number in found.groups()] == [
        2 * 24 * len(SPECS),
        2 * 2 * 40,
        2 * 32,
        2 * (4 * 2 * 2 * 14 + 1),
    ]
