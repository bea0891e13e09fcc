"""Encoders of timm by name: `timm:NAME`. Nothing is downloaded: weights are new, or those of `--init`."""

from __future__ import annotations

import math
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from vidssl.encoders.adapter import Adapted
from vidssl.encoders.code import TIMM, no_drop_path
from vidssl.types import VidsslError


class Frames(nn.Module):
    """A model of timm that maps frames [N, C, H, W] to a map [N, M, h, w].

    Args:
        model: Model of timm, without its classifier and its pooling.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "group_matcher"):  # the layers that timm's own layer-wise learning rates have
            from timm.models import group_parameters

            make: Any = model.group_matcher
            layers = group_parameters(model, make(coarse=False))
            self.layer_names = [[f"model.{name}" for name in layers[at]] for at in sorted(layers)]

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute the last map. Tokens lie at their places in it; a class token and registers are left out.

        Raises:
            ValueError: The places of the model's tokens are not known.
        """
        found: torch.Tensor = self.model(frames)
        if not isinstance(found, torch.Tensor) or found.dim() != 3:
            turned = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return found.permute(0, 3, 1, 2) if turned else found
        tokens = found[:, getattr(self.model, "num_prefix_tokens", 0) :]
        for rows, columns in self._grids(frames):
            if rows * columns == tokens.shape[1]:
                return tokens.transpose(1, 2).reshape(-1, tokens.shape[2], rows, columns)
        raise ValueError(f"timm's model returns {list(found.shape)}, tokens without known places; take another model")

    def _grids(self, frames: torch.Tensor) -> list[tuple[int, int]]:
        """(h, w) that the model's tokens may have: of its patches, or of its last stage."""
        patches = getattr(getattr(self.model, "patch_embed", None), "grid_size", None)
        grids = [] if patches is None else [tuple(patches)]
        if stages := getattr(self.model, "feature_info", None):
            apart = stages[-1]["reduction"]
            grids.append((math.ceil(frames.shape[2] / apart), math.ceil(frames.shape[3] / apart)))
        return grids


def make_timm(encoder: str, shape: tuple[int, int, int, int], *, drop_path: float | None = None) -> Adapted:
    """Build an encoder of timm with new weights.

    Args:
        encoder: timm:NAME, a name of timm.list_models(), also with the tag of its weights, which says mean and std. A
            model that has one size is built for the size of the frames.
        shape: (C, T, H, W) of the clips. The encoder sees each of their frames by itself.
        drop_path: Rate of the last block in training, for each frame; None takes that of the model.

    Returns:
        The encoder. Its map is that of timm without the pooling, and its feature is the mean of the map.

    Raises:
        VidsslError: timm is not installed or cannot be imported, has no model of this name, cannot build it for these
            frames or without its pooling, or the model has no drop path.
    """
    name, where = encoder.removeprefix(TIMM), f"encoder={encoder!r}:"
    timm = _import(where)
    if ":" in name:
        raise VidsslError(
            f"{where} {name.partition(':')[0]}: names a place that holds a model, and nothing is downloaded; take "
            "timm:NAME with a name of timm.list_models(), and weights by --init FILE.safetensors"
        )
    if not timm.is_model(name):
        close = get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() has all names"
        raise VidsslError(f"{where} timm {timm.__version__} has no such model; {hint}")
    channels, _, height, width = shape
    settings: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    try:
        about = timm.get_pretrained_cfg(name)
        fixed = about is not None and about.fixed_input_size
        if fixed:
            settings["img_size"] = (height, width)
        model = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", in_chans=channels, **settings)
    except Exception as error:  # a model's function may raise anything
        if drop_path is not None and "'drop_path_rate'" in str(error):
            raise no_drop_path(encoder, drop_path) from error
        said = " ".join(str(error).split())[:300]
        raise VidsslError(
            f"{where} timm cannot build it without its pooling, for frames of {height} x {width} in {channels} "
            f"channels: {type(error).__name__}: {said}; take another size (--crop) or another model"
        ) from error
    if drop_path and not any(getattr(part, "drop_prob", 0) for part in model.modules()):
        raise no_drop_path(encoder, drop_path)
    adapted = Adapted(Frames(model), shape, name=encoder, frames=True)
    if fixed:
        adapted.minimum, adapted.maximum = (1, height, width), (None, height, width)
    if about is not None and channels == len(about.mean) == len(about.std) == 3:
        adapted.mean, adapted.std = tuple(about.mean), tuple(about.std)
    return adapted


def _import(where: str) -> Any:
    """Returns timm. Raises VidsslError if it cannot be imported."""
    if find_spec("timm") is None:
        raise VidsslError(f"{where} timm is not installed; run: pip install 'vidssl[timm]'")
    try:
        import timm
    except Exception as error:  # torchvision of another torch raises a RuntimeError
        said = " ".join(str(error).split())[:300]
        raise VidsslError(
            f"{where} timm cannot be imported: {type(error).__name__}: {said}; it needs the torchvision that was made "
            f"for torch {torch.__version__}: install both from one index, in one call of pip"
        ) from error
    return timm
