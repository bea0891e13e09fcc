"""Any module as an encoder."""

from __future__ import annotations

import math

import torch
from torch import nn

from vidssl.models import Encoder
from vidssl.types import VidsslError

_TAKES = "give a module that maps clips [N, C, T, H, W], or frames [N, C, H, W] where T = 1"
_RETURNS = (
    "return features [N, D], a map [N, M, t, h, w] (of frames [N, M, h, w]), or tokens [N, L, D] with an attribute "
    "grid = (t, h, w)"
)


class Adapted(Encoder):
    """A module as an encoder. What it takes and returns is found by one forward pass of two clips of zeros.

    Args:
        module: It takes clips [N, C, T, H, W] or, if T = 1, frames [N, C, H, W]. It returns features [N, D], a map
            [N, M, t, h, w] (of frames [N, M, h, w]), or tokens [N, L, D]. A module of tokens has an attribute `grid`:
            (t, h, w) of its last t * h * w tokens, in this order; tokens before them, such as a class token, are left
            out. The feature is the mean of the map or of the tokens. Its attribute `layer_names`, if it has one, names
            its layers as `Encoder.layer_names` does; those of an nn.Sequential are its children.
        shape: (C, T, H, W) of the clips.
        name: How errors speak of it.

    Raises:
        VidsslError: It does not take these clips, or returns something else, or something of another size than its
            attribute `features` says; or its attribute `layer_names` does not hold names.
    """

    minimum = (1, 1, 1)

    def __init__(self, module: nn.Module, shape: tuple[int, int, int, int], *, name: str) -> None:
        super().__init__()
        self.module = module
        self.channels, *size = shape
        self.made_for = (size[0], size[1], size[2])
        self.layer_names = _layer_names(module, name)
        self.takes_frames = False
        self.features = int(self._find(shape, name).shape[1])
        if self.takes_frames:
            self.maximum = (1, None, None)
        declared = getattr(module, "features", None)
        if isinstance(declared, int) and declared != self.features:
            raise VidsslError(
                f"encoder={name!r}: its attribute features says {declared}, and it returns {self.features} numbers; "
                "make both the same"
            )

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the last map [N, M, t, h, w] of clips [N, C, T, H, W]; features [N, D] are a map [N, D, 1, 1, 1].

        Raises:
            ValueError: The module takes single frames, and these clips have more; or it returns something else.
        """
        if not self.takes_frames:
            return self._as_map(self.module(clips))
        if clips.dim() != 5 or clips.shape[2] != 1:
            raise ValueError(f"clips: shape {tuple(clips.shape)}: this encoder takes single frames [N, C, 1, H, W]")
        return self._as_map(self.module(clips.squeeze(2)))

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
        raise ValueError(f"it returns {what}; {_RETURNS}")

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
            raise ValueError(f"it returns {list(found.shape)} for two clips; {_RETURNS}")
        return found

    def _find(self, shape: tuple[int, int, int, int], name: str) -> torch.Tensor:
        """The map of two clips of zeros, or of two frames if the module does not take clips; sets `takes_frames`.

        Raises:
            VidsslError: The module takes neither of this shape, or takes frames, and the clips have more than one.
        """
        problems: list[str] = []
        for frames in (False, True):
            self.takes_frames = frames
            try:
                found = self._try((shape[0], 1, *shape[2:]) if frames else shape)
            except Exception as error:  # the module may raise anything
                problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
                continue
            if frames and shape[1] != 1:
                raise VidsslError(
                    f"encoder={name!r}: it takes frames [N, {shape[0]}, {shape[2]}, {shape[3]}], and the task shows it "
                    f"clips [N, {', '.join(map(str, shape))}]; take a task of single frames, or an encoder of clips"
                )
            return found
        of_frames = f"; for frames [2, {shape[0]}, {shape[2]}, {shape[3]}]: {problems[1]}" if shape[1] == 1 else ""
        clips = f"for clips [2, {', '.join(map(str, shape))}] of the task"
        raise VidsslError(f"encoder={name!r}: {clips}: {problems[0]}{of_frames}; {_TAKES}")


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


def color_notes(encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]) -> list[str]:
    """Says that an encoder's first weights were trained with another mean or std; empty if not, or not known."""
    if encoder.mean is None or encoder.std is None:
        return []
    if torch.allclose(torch.tensor([encoder.mean, encoder.std]), torch.tensor([mean, std]), atol=1e-3):
        return []
    its_mean, its_std, mean_now, std_now = (
        " ".join(f"{value:g}" for value in one) for one in (encoder.mean, encoder.std, mean, std)
    )
    return [
        f"note: the encoder's weights were trained with mean {its_mean} and std {its_std}, and the recipe has "
        f"{mean_now} and {std_now}; --mean {its_mean} --std {its_std} takes theirs"
    ]
