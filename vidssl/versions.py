"""What this is: versions of vidssl and of what it stands on, for `vidssl info` and for checkpoints."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("vidssl", "torch", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "av", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Name to version of every package of PACKAGES that is installed, of Python, and the commit where this is a
    checkout.

    For a copy without .git, VIDSSL_COMMIT is the commit.
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
        asked = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or it hangs: a run does not depend on it
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
