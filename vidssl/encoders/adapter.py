"""Any module as an encoder."""

from __future__ import annotations

import math

import torch
from torch import nn

from vidssl.models import Encoder
from vidssl.types import VidsslError

_TAKES = "give a module that maps clips [N, C, T, H, W], or frames [N, C, H, W]"
_RETURNS = (
    "return features [N, D], a map [N, M, t, h, w] (of frames [N, M, h, w]), or tokens [N, L, D] with an attribute "
    "grid = (t, h, w)"
)


class _WrongOutput(ValueError):
    """The module took its input, and returned something else than an encoder does."""


class Adapted(Encoder):
    """A module as an encoder. What it takes and returns is found by one forward pass of two clips of zeros.

    A module of frames sees every frame of a clip by itself. The map of a clip holds the maps of its frames in their
    order; the feature is their mean, and is the same in any order.

    Args:
        module: It takes clips [N, C, T, H, W] or frames [N, C, H, W]. It returns features [N, D], a map
            [N, M, t, h, w] (of frames [N, M, h, w]), or tokens [N, L, D]. A module of tokens has an attribute `grid`:
            (t, h, w) of its last t * h * w tokens, in this order (of frames, t = 1); tokens before them, such as a
            class token, are left out. The feature is the mean of the map or of the tokens. Its attribute `layer_names`,
            if it has one, names its layers as `Encoder.layer_names` does; those of an nn.Sequential are its children.
        shape: (C, T, H, W) of the clips.
        name: How errors speak of it.
        frames: The module takes frames. None tries clips first, and then frames.

    Attributes:
        takes_frames: The module takes frames.

    Raises:
        VidsslError: It does not take these clips, or returns something else, or something of another size than its
            attribute `features` says; or its attribute `layer_names` does not hold names.
    """

    minimum = (1, 1, 1)

    def __init__(
        self, module: nn.Module, shape: tuple[int, int, int, int], *, name: str, frames: bool | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self.channels, *size = shape
        self.made_for = (size[0], size[1], size[2])
        self.layer_names = _layer_names(module, name)
        self.takes_frames = bool(frames)
        self.features = int(self._find(shape, name, (False, True) if frames is None else (frames,)).shape[1])
        declared = getattr(module, "features", None)
        if isinstance(declared, int) and declared != self.features:
            raise VidsslError(
                f"encoder={name!r}: its attribute features says {declared}, and it returns {self.features} numbers; "
                "make both the same"
            )

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the last map [N, M, t, h, w] of clips [N, C, T, H, W]; features [N, D] are a map [N, D, 1, 1, 1].

        Of a module of frames, t = T: the maps of the frames follow each other.

        Raises:
            ValueError: The module returns something else.
        """
        if not self.takes_frames:
            return self._as_map(self.module(clips))
        found = self._as_map(self.module(clips.transpose(1, 2).flatten(0, 1)))  # [N * T, M, 1, h, w]
        return self.by_clip(found, clips.shape[2]).flatten(2, 3)

    def by_clip(self, output: torch.Tensor, length: int) -> torch.Tensor:
        """Put what the module, or a layer of it, returns for each frame together by clip.

        Args:
            output: [N * T, C, ...] of a module of frames; of a module of clips it is [N, ...] and stays as it is.
            length: Frames T of a clip.

        Returns:
            [N, C, T, ...]; of vectors [N * T, D] the mean over the frames of a clip, [N, D].
        """
        if not self.takes_frames:
            return output
        frames = output.reshape(-1, length, *output.shape[1:])
        return frames.mean(1) if output.dim() == 2 else frames.transpose(1, 2)

    def _as_map(self, found: object) -> torch.Tensor:
        what = list(found.shape) if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
        if isinstance(found, torch.Tensor):
            if found.dim() == 5:
                return found
            if found.dim() == 2:
                return found[:, :, None, None, None]
            if found.dim() == 4 and self.takes_frames:
                return found.unsqueeze(2)
            grid = getattr(self.module, "grid", None)
            if found.dim() == 3 and grid is not None:
                if found.shape[1] >= math.prod(grid):
                    placed = found[:, found.shape[1] - math.prod(grid) :].transpose(1, 2)
                    return placed.reshape(*placed.shape[:2], *grid)
                what = f"{what}, and its grid is {tuple(grid)}"
        raise _WrongOutput(f"it returns {what}; {_RETURNS}")

    @torch.no_grad()
    def _try(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The map of two clips of zeros. Neither the module nor the random state is changed."""
        like = next((one for one in self.module.parameters()), torch.empty(0))
        modes = {part: part.training for part in self.module.modules()}
        try:
            with torch.random.fork_rng(devices=[]):
                found = self.eval().forward_map(torch.zeros(2, *shape, dtype=like.dtype, device=like.device))
        finally:
            for part, mode in modes.items():
                part.training = mode
            self.training = True
        if len(found) != 2:
            raise _WrongOutput(f"it returns {list(found.shape)} for two clips; {_RETURNS}")
        return found

    def _find(self, shape: tuple[int, int, int, int], name: str, takes: tuple[bool, ...]) -> torch.Tensor:
        """The map of two clips of zeros, or of two frames if the module does not take clips; sets `takes_frames`.

        Raises:
            VidsslError: The module takes neither of this shape.
        """
        problems: list[str] = []
        wrong = ""
        for frames in takes:
            self.takes_frames = frames
            tried = (shape[0], 1, *shape[2:]) if frames else shape
            try:
                return self._try(tried)
            except Exception as error:  # the module may raise anything
                what = f"frames [2, {shape[0]}, {shape[2]}, {shape[3]}]" if frames else f"clips {[2, *shape]}"
                said = " ".join(str(error).split())[:300]
                if isinstance(error, _WrongOutput):  # this says more than how it failed with the other input
                    wrong = wrong or f"for {what} of the task, {said}"
                problems.append(f"for {what} of the task: {type(error).__name__}: {said}")
        raise VidsslError(f"encoder={name!r}: {wrong or '; '.join([*problems, _TAKES])}")


def _layer_names(module: nn.Module, name: str) -> tuple[tuple[str, ...], ...]:
    """The layers of a module, by their names in `Adapted`; () if it does not declare them."""
    declared = getattr(module, "layer_names", None)
    if declared is None and isinstance(module, nn.Sequential):
        declared = [at for at, child in module.named_children() if any(True for _ in child.parameters())]
    if declared is None:
        return ()
    layers = (
        [[one] if isinstance(one, str) else one for one in declared] if isinstance(declared, (list, tuple)) else [[]]
    )
    if not all(isinstance(layer, (list, tuple)) and layer and all(map(_is_text, layer)) for layer in layers):
        raise VidsslError(
            f"encoder={name!r}: its attribute layer_names is {declared!r}; take a list of names of its parts, from the "
            'input to the output, such as ["stem", "blocks.0"], or of several names where a layer has several parts'
        )
    return tuple(tuple(f"module.{part}" for part in layer) for layer in layers)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def notes(encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]) -> list[str]:
    """Says what a run should know of its encoder: that it sees no order of frames, or was made for other colours.

    Args:
        encoder: The encoder.
        mean: Mean of red, green and blue in 0..1 that the recipe subtracts.
        std: Standard deviation by which it divides.
    """
    found = []
    if isinstance(encoder, Adapted) and encoder.takes_frames and encoder.made_for[0] > 1:
        found.append(
            f"note: the encoder takes single frames: it sees the {encoder.made_for[0]} frames of a clip one by one. "
            "The feature of the clip is their mean, which is the same in any order of the frames"
        )
    if encoder.mean is None or encoder.std is None:
        return found
    if torch.allclose(torch.tensor([encoder.mean, encoder.std]), torch.tensor([mean, std]), atol=1e-3):
        return found
    its_mean, its_std, mean_now, std_now = (
        " ".join(f"{value:g}" for value in one) for one in (encoder.mean, encoder.std, mean, std)
    )
    found.append(
        f"note: the encoder's preprocessing has mean {its_mean} and std {its_std}, and the recipe has {mean_now} and "
        f"{std_now}; --mean {its_mean} --std {its_std} takes its own"
    )
    return found
