"""The compiled half: the Python module `vidssl._native` and the DALI plugin `libvidssl_dali.so`. Needs no torch."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from vidssl.types import VidsslError

try:
    from vidssl import _native as kernels
except ImportError as error:
    raise ImportError(
        f"vidssl._native: {error}; build it with `make build`, or install vidssl with `pip install .`"
    ) from error

__all__ = ["PLUGIN", "BuildInfo", "build_info", "dali_version", "kernels", "load_plugin"]

PLUGIN = Path(kernels.__file__).with_name("libvidssl_dali.so")


class BuildInfo(TypedDict):
    """cuda: whether the CUDA twins are in. cuda_archs, nvcc: what for and by which version, or "". dali: version of its
    headers.
    compiler: version of the C++ compiler. simd: the body of assemble that this processor runs: "plain", "avx2" or
    "avx512"."""

    cuda: bool
    cuda_archs: str
    nvcc: str
    dali: str
    compiler: str
    simd: str


def build_info() -> BuildInfo:
    """How the shared objects were built."""
    info: BuildInfo = kernels.build_info()
    return info


def dali_version() -> str:
    """Version of the DALI that is installed. Raises VidsslError where there is none."""
    for name in ("nvidia-dali-cuda130", "nvidia-dali-cuda120"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise VidsslError(
        f"nvidia-dali: it is not installed; run: pip install 'nvidia-dali-cuda130=={_minor(build_info()['dali'])}.*'"
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@cache
def load_plugin() -> None:
    """Registers the operators `fn.vidssl.motion / plan / assemble` with DALI, once a process.

    Raises VidsslError where DALI's minor version is another than the plugin was built for: its operator API may differ.
    """
    built, found = build_info()["dali"], dali_version()
    if _minor(built) != _minor(found):
        raise VidsslError(
            f"nvidia-dali: version {found} is installed, {PLUGIN.name} was built for {_minor(built)}; "
            f"install {_minor(built)}.* or build vidssl again with the one that is installed"
        )
    from nvidia.dali import plugin_manager  # slow to import: only who runs a graph pays for it

    plugin_manager.load_library(str(PLUGIN))
