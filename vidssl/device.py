"""The device that a name means, for loader, trainer and evaluation."""

from __future__ import annotations

import torch

from vidssl.types import VidsslError


def pick_device(device: str | torch.device) -> torch.device:
    """The device of "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N". Raises VidsslError where it is not
    there.

    A GPU comes with its index: "cuda" alone is the current device to torch, and GPU 0 to DALI.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        picked = torch.device(device)
    except RuntimeError:
        picked = torch.device("meta")
    if picked.type not in ("cpu", "cuda"):
        raise VidsslError(f"device={device!r}: take auto, cpu, cuda or cuda:N")
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise VidsslError(
            f"device={device!r}: this machine shows {torch.cuda.device_count()} CUDA device(s) to torch; take cpu or "
            "auto"
        )
    return (
        torch.device("cuda", torch.cuda.current_device()) if picked.type == "cuda" and picked.index is None else picked
    )
