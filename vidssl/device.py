"""Picks the device for the loader, the trainer and the evaluation."""

from __future__ import annotations

import torch

from vidssl.types import VidsslError


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device for a name.

    A GPU is returned with its index, because "cuda" alone means the current device to torch and GPU 0 to DALI.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        VidsslError: The name is not one of these, or the device does not exist.
    """
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        picked = torch.device(device)
    except (RuntimeError, TypeError):
        picked = torch.device("meta")
    if picked.type not in ("cpu", "cuda"):
        raise VidsslError(f"device={device!r}: pass auto, cpu, cuda or cuda:N")
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise VidsslError(
            f"device={device!r}: torch finds {torch.cuda.device_count()} CUDA device(s) on this machine; "
            "pass cpu or auto"
        )
    return (
        torch.device("cuda", torch.cuda.current_device()) if picked.type == "cuda" and picked.index is None else picked
    )
