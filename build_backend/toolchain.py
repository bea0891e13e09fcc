"""The PEP 517 build backend: setuptools, and a search for the C++ compiler, nvcc, CUDA's headers and DALI.

    python build_backend/toolchain.py             prints what a build would use
    python build_backend/toolchain.py requires    prints the packages that a build needs, one a line

The needed packages depend on the machine: the CUDA compiler comes from PyPI only where the machine has none.

Environment variables:
    CXX: the C++ compiler.
    NVCC, CUDA_HOME: the CUDA compiler; the home of a CUDA toolkit.
    VIDSSL_CUDA: 0 leaves the CUDA twins out, 1 fails without them.
    VIDSSL_DALI: cuda130 (default), or cuda120 for CUDA 12 drivers, which needs the nvcc of a CUDA 12 toolkit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (all hooks of setuptools; two of them are overridden below)

DALI_VERSION = "2.4"  # the operator API may change between minors
CUDA_VERSION = "13.0"  # the compiler from PyPI, for a machine without one


@dataclass(frozen=True)
class Toolkit:
    """CUDA's headers and static runtime. `nvcc` is None if there is no compiler beside them."""

    nvcc: str | None
    version: str
    root: Path

    @property
    def includes(self) -> list[Path]:
        return [path for path in (self.root / "include", self.root / "include/cccl") if path.is_dir()]

    @property
    def libraries(self) -> list[Path]:
        return [path for path in (self.root / "lib64", self.root / "lib") if (path / "libcudart_static.a").is_file()]


def option(name: str, default: str, *choices: str) -> str:
    """Returns the environment variable `name`, which must be one of `choices`."""
    value = os.environ.get(name) or default
    if value not in choices:
        raise SystemExit(f"{name}={value}: take one of {', '.join(filter(None, choices))}")
    return value


def dali_flavor() -> str:
    return option("VIDSSL_DALI", "cuda130", "cuda130", "cuda120")


def cuda_wanted() -> str:
    """Returns "0", "1", or "" (build the CUDA twins if there is a compiler)."""
    return option("VIDSSL_CUDA", "", "", "0", "1")


def find_cxx() -> str:
    """Returns the path of the C++ compiler."""
    asked = os.environ.get("CXX")
    found = next(filter(None, map(shutil.which, [asked] if asked else ["c++", "g++", "clang++"])), None)
    if found is None:
        raise SystemExit(
            f"CXX={asked or ''}: no C++ compiler; install one (Debian, Ubuntu: apt-get install g++) or set CXX"
        )
    return found


def _site(relative: str) -> Path | None:
    """Returns the path of `relative` in the first folder of sys.path that contains it."""
    return next((Path(folder) / relative for folder in sys.path if (Path(folder) / relative).exists()), None)


def find_dali() -> tuple[Path, str]:
    """Returns DALI's folder and version."""
    folder, name = _site("nvidia/dali/include/dali"), f"nvidia-dali-{dali_flavor()}"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        folder, version = None, "none"
    if folder is None or not version.startswith(DALI_VERSION + "."):
        raise SystemExit(
            f"{name}: version {version} is installed, the build needs {DALI_VERSION}.*; "
            f"run: pip install '{name}=={DALI_VERSION}.*'"
        )
    return folder.parent.parent, version


def _probe(nvcc: str) -> Toolkit:
    """Asks nvcc for its version and home, which its path does not tell: it may be a wrapper or a link."""
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    steps = subprocess.run(
        [nvcc, "--dryrun", "-x", "cu", "-c", os.devnull], capture_output=True, text=True, check=True
    ).stderr
    found, top = re.search(r"release [\d.]+, V([\d.]+)", version), re.search(r"^#\$ TOP=(.+?)\s*$", steps, re.MULTILINE)
    if found is None or top is None:
        raise OSError("it names no version or no home")
    return Toolkit(nvcc=nvcc, version=found[1], root=Path(top[1]).resolve())


def find_toolkit(site: bool = True) -> tuple[Toolkit | None, list[str]]:
    """Finds the CUDA toolkit to build with.

    Args:
        site: Also consider the packages from PyPI.

    Returns:
        The toolkit, or None; and a note on each toolkit that was rejected.
    """
    major, notes = dali_flavor()[4:6], []
    home, pip = os.environ.get("CUDA_HOME"), _site("nvidia/cu13") if site and major == "13" else None
    places = [os.environ.get("NVCC"), home and f"{home}/bin/nvcc", shutil.which("nvcc"), pip and str(pip / "bin/nvcc")]
    for nvcc in filter(None, places):
        try:
            toolkit = _probe(nvcc)
        except (OSError, subprocess.CalledProcessError) as error:
            if pip is None or not nvcc.startswith(str(pip)):
                notes.append(f"{nvcc}: ignored, it does not run ({error})")
            continue
        if toolkit.version.split(".")[0] == major and toolkit.includes:
            return toolkit, notes
        notes.append(
            f"{nvcc}: ignored, it is CUDA {toolkit.version} and DALI is built for CUDA {major} (see VIDSSL_DALI)"
        )
    if pip is not None and (pip / "include/cuda_runtime.h").is_file():
        return Toolkit(nvcc=None, version="", root=pip), notes
    return None, notes


def requires() -> list[str]:
    """Returns the packages that pip must install before the build.

    CUDA's headers are needed even without the CUDA twins, because DALI's headers include them.
    """
    names = ["setuptools>=69", "pybind11>=3", "ninja>=1.11", f"nvidia-dali-{dali_flavor()}=={DALI_VERSION}.*"]
    if find_toolkit(site=False)[0] is not None:
        return names
    if dali_flavor() != "cuda130":
        raise SystemExit(
            "VIDSSL_DALI=cuda120: found no nvcc of CUDA 12 in NVCC, CUDA_HOME/bin or PATH; install a CUDA 12 toolkit"
        )
    try:  # PyTorch for CUDA brings its own runtime package, whose version must stay
        version = ".".join(metadata.version("nvidia-cuda-runtime").split(".")[:2])
    except metadata.PackageNotFoundError:
        version = CUDA_VERSION
    parts = ["nvidia-cuda-runtime", "nvidia-cuda-crt", "nvidia-cuda-cccl"]
    if cuda_wanted() != "0":
        parts += ["nvidia-cuda-nvcc", "nvidia-nvvm"]
    return names + [f"{part}=={version}.*" for part in parts]


def get_requires_for_build_wheel(config_settings: dict[str, str] | None = None) -> list[str]:
    return build_meta.get_requires_for_build_wheel(config_settings) + requires()


def get_requires_for_build_editable(config_settings: dict[str, str] | None = None) -> list[str]:
    return build_meta.get_requires_for_build_editable(config_settings) + requires()


def report() -> str:
    """Returns what a build would use, as text."""
    toolkit, notes = find_toolkit()
    if cuda_wanted() == "0":
        twins = "left out (VIDSSL_CUDA=0)"
    elif toolkit is None or toolkit.nvcc is None:
        twins = "LEFT OUT: no CUDA compiler; this build runs on the CPU only"
    else:
        twins = f"nvcc {toolkit.version} ({toolkit.nvcc})"
    return "\n".join([*notes, f"C++ compiler: {find_cxx()}", f"DALI headers: {find_dali()[1]}", f"CUDA twins: {twins}"])


if __name__ == "__main__":
    print(*requires(), sep="\n") if sys.argv[1:] == ["requires"] else print(report())
