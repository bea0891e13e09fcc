"""What this machine is, in seconds and before anything is built: GPU, driver, CUDA, NVDEC, compilers, Python packages.

    python -m benchmarks.facts --out FILE.json

Everything is only read. What is not there is said to be not there: that is no error.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

GPU = (
    "name,driver_version,memory.total,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,clocks.sm,clocks.mem,clocks.max.sm,"
    "clocks.max.mem,power.limit,temperature.gpu,mig.mode.current,utilization.gpu"
)
TOOLS = ("nvcc", "c++", "ninja", "compute-sanitizer", "ncu", "git")
LIBRARIES = ("libcuda.so.1", "libnvcuvid.so.1")  # of the driver: CUDA, and NVDEC
DRIVERS = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")


def said(*command: str) -> str:
    """What a command prints, or why it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"none: {error}"
    return (
        (done.stdout.strip() or done.stderr.strip())
        if done.returncode == 0
        else f"none: exit code {done.returncode}: {done.stderr.strip()}"
    )


def gpus() -> list[dict[str, str]] | str:
    """Of each GPU what nvidia-smi says."""
    text = said("nvidia-smi", f"--query-gpu={GPU}", "--format=csv,noheader")
    return (
        text
        if text.startswith("none")
        else [dict(zip(GPU.split(","), line.split(", "), strict=False)) for line in text.splitlines()]
    )


def library(name: str) -> str:
    """Whether the dynamic loader finds it, and where it lies else."""
    lying = [folder for folder in DRIVERS if Path(folder, name).exists()]
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return f"none: {error}" + (f"; it is in {', '.join(lying)}: set LD_LIBRARY_PATH" if lying else "")
    return "found" + (f" ({', '.join(lying)})" if lying else "")


def torch_facts() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"torch": f"none: {error}"}
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "CUDA of torch": torch.version.cuda or "none",
        "GPU for torch": torch.cuda.is_available(),
    }
    if not torch.cuda.is_available():
        return found
    about, cudnn = torch.cuda.get_device_properties(0), torch.backends.cudnn
    return found | {
        "cuDNN": cudnn.version(),  # type: ignore[no-untyped-call]
        "arch": f"sm_{about.major}{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "L2, MB": about.L2_cache_size / 1e6,
        "memory, GiB": round(about.total_memory / 2**30, 1),
    }


def memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def facts() -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory(),
        "python": platform.python_version(),
        "GPUs": gpus(),
        **{name: library(name) for name in LIBRARIES},
        "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        **{tool: shutil.which(tool) or "none" for tool in TOOLS},
        "version of nvcc": said("nvcc", "--version").splitlines()[-1],
        **torch_facts(),
        "packages": dict(sorted({(dist.name, dist.version) for dist in metadata.distributions()})),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the same as JSON")
    out: Path | None = parser.parse_args().out
    found = facts()
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        shown = " ".join(f"{key}={version}" for key, version in value.items()) if isinstance(value, dict) else value
        print(f"{name:20s} {shown}")


if __name__ == "__main__":
    main()
