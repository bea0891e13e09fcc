"""A process that ends while a thread is in a kernel ends as it should."""

import subprocess
import sys

PROGRAM = """
import threading, time
import numpy as np
from vidssl.native import kernels

plane, entered = np.zeros((4096, 4096), np.uint8), threading.Event()

def work():
    while True:
        entered.set()
        kernels.plane_checksum(plane, 4096, 4096, 4096, 0)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
entered.wait()
time.sleep(0.05)
"""


def test_threads_in_a_kernel_do_not_abort_a_process_that_ends() -> None:
    """Without `WithoutLock`, one exit in four ended with "terminate called without an active exception"."""
    for _ in range(12):
        found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
        assert (found.returncode, found.stderr) == (0, "")
