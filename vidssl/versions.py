"""Versions of vidssl and of the packages it uses, for `vidssl info` and for checkpoints."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "vidssl",
    "torch",
    "nvidia-dali-cuda130",
    "nvidia-dali-cuda120",
    "av",
    "numpy",
    "pyarrow",
    "transformers",
    "timm",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of every installed package of PACKAGES, by name.

    The entry "commit" is the commit of the checkout. For a copy without .git, it is the environment variable
    VIDSSL_COMMIT, if set.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    commit = _commit(Path(__file__).resolve().parents[1])
    return found | ({"commit": commit} if commit else {})


def _commit(folder: Path) -> str:
    if not (folder / ".git").exists():
        return os.environ.get("VIDSSL_COMMIT", "")
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # git is missing or hangs; a run does not need it
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
