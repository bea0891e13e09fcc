"""Checks that the convolutions of this machine are correct in bfloat16.

Libraries give wrong results for some of them, and no error. Known are cuDNN 9.10.2 for large inputs of conv3d
(https://github.com/pytorch/pytorch/issues/163539), and oneDNN 3.12 (PyTorch 2.13 on a CPU) for the gradient of conv3d's
weights where clips are two frames long, as in the last stage of R3D: it holds memory that was never written. So before
a run trains in bfloat16, each convolution of its encoder computes one step in both precisions, forward and backward.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import nn

from vidssl.models import Encoder
from vidssl.train.step import channels_last
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
_Conv = nn.Conv2d | nn.Conv3d

# bfloat16 has 8 significant bits: rounding moves a number by 0.2 % of it at most. A convolution rounds what it is
# given, its weights and its result, and adds up in float32; so the norm of the difference is about 0.3 % of the norm,
# and was 0.3 to 3 % in the worst row of all encoders. A row that is wrong differs by its whole size.
TOLERANCE = 0.1
_ON_CPU = 2  # clips, which take a CPU long enough: its kernels do not depend on their number


class Difference(NamedTuple):
    """How far one part of a convolution's step in bfloat16 is from float32.

    Attributes:
        error: Norm of the difference divided by the norm, for the worst clip or channel.
        layer: Name of the convolution in the encoder.
        part: The output, or one of the gradients.
    """

    error: float
    layer: str
    part: str


def trains_in_bf16(
    encoder: Encoder, size: tuple[int, int, int, int], device: torch.device, *, clips: int, must: bool
) -> bool:
    """Returns True if every convolution of an encoder gives in bfloat16 what it gives in float32, except for rounding.

    Args:
        encoder: The encoder before training; it is not changed.
        size: (C, T, H, W) of its clips.
        device: Where it will be trained.
        clips: Number of clips in one call, which decides the kernels on a GPU. If memory is short, half as many are
            tried.
        must: Raise an error if a convolution is wrong; otherwise warn, and return False.

    Raises:
        VidsslError: A convolution is wrong; the message names the layer and the fix.
    """
    clips = min(clips, _ON_CPU) if device.type == "cpu" else clips
    while True:
        try:
            worst = max(differences(encoder, size, device, clips=clips), default=Difference(0.0, "", ""))
            break
        except torch.OutOfMemoryError:
            if clips <= _ON_CPU:
                raise
            clips //= 2
    log.info("bfloat16: %d clips: convolutions differ from float32 by %.1g at most", clips, worst.error)
    if worst.error <= TOLERANCE:
        return True
    shape = " x ".join(map(str, (clips, *size)))
    cudnn: Any = torch.backends.cudnn
    library = f"cuDNN {cudnn.version()}" if device.type == "cuda" else "oneDNN"
    wrong = (
        f"{library} of PyTorch {torch.__version__} computes {worst.part} of encoder.{worst.layer} wrong in bfloat16, "
        f"for clips of {shape}: it differs from float32 by {worst.error:.0%}, and rounding "
        f"explains less than {TOLERANCE:.0%}"
    )
    if must:
        raise VidsslError(
            f"train: amp=bf16: {wrong}; take amp=off, or another version of {library.split()[0]} or PyTorch"
        )
    log.warning("amp=auto: %s; the run computes in float32", wrong)
    return False


def differences(
    encoder: Encoder, size: tuple[int, int, int, int], device: torch.device, *, clips: int
) -> list[Difference]:
    """Returns the differences of every convolution's output and gradients, on the activations that noise gives it."""
    copied = deepcopy(encoder).to(device).train().requires_grad_(True)
    channels_last(copied)
    random = torch.Generator(device).manual_seed(0)
    found: list[Difference] = []

    def compare(name: str, layer: _Conv, given: torch.Tensor, output: torch.Tensor) -> None:
        gradient = torch.empty_like(output).normal_(generator=random)
        exact, rounded = (_step(layer, given, gradient, amp=amp) for amp in (False, True))
        parts = (
            "the output",
            "the gradient of the input",
            *(f"the gradient of the {part}" for part, _ in layer.named_parameters()),
        )
        found.extend(Difference(_error(a, b), name, part) for a, b, part in zip(rounded, exact, parts, strict=True))

    for name, layer in copied.named_modules():
        if isinstance(layer, _Conv):
            layer.register_forward_hook(lambda layer, given, output, name=name: compare(name, layer, given[0], output))
    noise = torch.randn(clips, *size, generator=random, device=device)
    with torch.no_grad():
        copied(noise.contiguous(memory_format=torch.channels_last_3d))
    return found


def _step(layer: _Conv, given: torch.Tensor, gradient: torch.Tensor, *, amp: bool) -> list[torch.Tensor]:
    """Output, gradient of the input, and gradients of the parameters."""
    given = given.detach().requires_grad_()
    with torch.enable_grad(), torch.autocast(given.device.type, dtype=torch.bfloat16, enabled=amp):
        output = layer.forward(given)  # without the hook that calls this
        gradients = torch.autograd.grad(output, [given, *layer.parameters()], gradient.to(output.dtype))
    return [output.detach(), *gradients]


def _error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Returns the largest relative error of a row (a vector is one row); infinite if a value is not finite."""
    rows, others = ((part.float() if part.dim() > 1 else part.float()[None]).flatten(1) for part in (exact, found))
    error = ((others - rows).norm(dim=1) / rows.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)).max()
    return float(error) if bool(error.isfinite()) else float("inf")
