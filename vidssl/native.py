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

__all__ = ["PLUGIN", "BuildInfo", "build_info", "dali_version", "kernels", "load_plugin", "need_dali"]

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


def dali_version() -> str | None:
    """Return the version of the installed DALI, or None without DALI, which is an extra."""
    for name in ("nvidia-dali-cuda130", "nvidia-dali-cuda120"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def need_dali(setting: str) -> None:
    """Check that the installed DALI is the one that the plugin was built for.

    Args:
        setting: What needs DALI, such as 'engine="dali"', for the error.

    Raises:
        VidsslError: DALI is not installed, or its minor version is another one. The operator API may differ between
            minor versions.
    """
    built, found = build_info()["dali"], dali_version()
    if found is None:
        raise VidsslError(
            f"{setting}: DALI is not installed; run: pip install 'nvidia-dali-cuda130=={_minor(built)}.*'"
        )
    if _minor(built) != _minor(found):
        raise VidsslError(
            f"{setting}: nvidia-dali {found} is installed, but {PLUGIN.name} was built for {_minor(built)}; "
            f"install {_minor(built)}.* or build vidssl again with the installed version"
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@cache
def load_plugin() -> None:
    """Register the operators `fn.vidssl.motion / plan / assemble` with DALI, once per process.

    Raises:
        VidsslError: As `need_dali`.
    """
    need_dali("fn.vidssl")
    from nvidia.dali import plugin_manager  # slow to import, so only graphs import it

    plugin_manager.load_library(str(PLUGIN))
