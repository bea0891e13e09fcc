"""The compiled part: the Python module `vidssl._native` and the DALI plugin `libvidssl_dali.so`. Needs no torch."""

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
    """How the shared objects were built.

    Attributes:
        cuda: True if the CUDA kernels are included.
        cuda_archs: CUDA architectures of the kernels, or "".
        nvcc: Version of the CUDA compiler, or "".
        dali: Version of the DALI headers.
        compiler: Version of the C++ compiler.
        simd: The variant of assemble that this processor runs: "plain", "avx2" or "avx512".
    """

    cuda: bool
    cuda_archs: str
    nvcc: str
    dali: str
    compiler: str
    simd: str


def build_info() -> BuildInfo:
    """Return how the shared objects were built."""
    info: BuildInfo = kernels.build_info()
    return info


def dali_version() -> str:
    """Return the version of the installed DALI.

    Raises:
        VidsslError: DALI is not installed.
    """
    for name in ("nvidia-dali-cuda130", "nvidia-dali-cuda120"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise VidsslError(
        f"nvidia-dali: not installed; run: pip install 'nvidia-dali-cuda130=={_minor(build_info()['dali'])}.*'"
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@cache
def load_plugin() -> None:
    """Register the operators `fn.vidssl.motion / plan / assemble` with DALI, once per process.

    Raises:
        VidsslError: The minor version of the installed DALI differs from the one that the plugin was built for. The
            operator API may differ between minor versions.
    """
    built, found = build_info()["dali"], dali_version()
    if _minor(built) != _minor(found):
        raise VidsslError(
            f"nvidia-dali: version {found} is installed, but {PLUGIN.name} was built for {_minor(built)}; "
            f"install {_minor(built)}.* or build vidssl again with the installed version"
        )
    from nvidia.dali import plugin_manager  # slow to import, so only graphs import it

    plugin_manager.load_library(str(PLUGIN))
