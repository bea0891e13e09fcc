"""Runs the tests of both faces and hostile arrays with the sanitized build of `make sanitize`: any read or write out of
bounds, and any undefined behaviour in csrc/, ends the process. Needs g++.

    python -m tests.sanitized BUILD    BUILD: the folder of the sanitized _native*.so and libvidssl_dali.so
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The emulation compiles kernels of its own, with its own checks, and needs no Python face.
TESTS = ("tests/kernels", "--deselect", "tests/kernels/test_emulated.py", "tests/faces")
PYTEST = ("-m", "pytest", "-x", "-p", "no:cacheprovider")
PARTS: dict[str, tuple[str, ...]] = {
    "kernels and faces": (*PYTEST, *TESTS),
    "hostile arrays": ("-X", "faulthandler", "-W", "ignore", "-m", "tests.fuzz.hostile", "0", "2000"),
}
_OVERRUN = "import ctypes; ctypes.string_at(ctypes.create_string_buffer(8), 4096)"


def library(name: str) -> str:
    """The path of a library of g++."""
    found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def environment(build: Path) -> dict[str, str]:
    # The plain Python does not link libasan, so it must be loaded before everything else; and libstdc++ with it, whose
    # __cxa_throw libasan looks up when it starts.
    return os.environ | {
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so')}",
        # Python keeps memory until its end. A hostile size ends in a MemoryError, as without the sanitizer.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # Python's own allocator hides the ends of small objects
        "PYTHONPATH": str(Path(__file__).parent),
        "VIDSSL_NATIVE": str(build.resolve()),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def check(build: Path, env: dict[str, str]) -> None:
    """The sanitizers notice faults, and both objects are built with both."""
    found = subprocess.run([sys.executable, "-c", _OVERRUN], env=env, capture_output=True, text=True)
    if "AddressSanitizer: heap-buffer-overflow" not in found.stderr:
        sys.exit(f"sanitized: a read beyond a buffer was not noticed: {found.stderr[-2000:]}")
    for path in build.glob("*.so"):
        data = path.read_bytes()
        if b"__asan_report_load" not in data or b"__ubsan_handle_" not in data:
            sys.exit(f"{path}: not built with both sanitizers; remove it and run `make sanitize` again")


def main(build: Path) -> int:
    env = environment(build)
    check(build, env)
    for name, command in PARTS.items():
        start = time.monotonic()
        code = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=env,
            stdout=subprocess.DEVNULL if name == "hostile arrays" else None,
        ).returncode
        print(
            f"sanitized {name}: {'passed' if not code else f'failed, exit code {code}'} in "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
        if code:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
