"""The feature of a clip: which layer of a network gives it, and how its output is pooled."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from vidssl.encoders import Adapted
from vidssl.models import Encoder
from vidssl.types import VidsslError

Pool = Literal["avg", "max", "map", "none"]
GRID = (2, 4, 4)  # times, rows and columns of pool="map", at most


class _ReachedError(Exception):
    """Ends a forward pass once the layer has given its output."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Returns a layer of a network.

    Args:
        network: The network.
        name: Name of the layer, or the end of its name if no other layer's name ends so: "conv5" for "convs.conv5".

    Raises:
        VidsslError: No layer, or more than one, has this name. The message lists the names.
    """
    layers: dict[str, nn.Module] = dict(network.named_modules())
    del layers[""]  # the network itself
    found = [name] if name in layers else [full for full in layers if full.endswith(f".{name}")]
    if len(found) == 1:
        return layers[found[0]]
    problem = f"{' and '.join(found)} have this name" if found else "no layer has this name"
    raise VidsslError(f"evaluate: layer={name!r}: {problem}; take one of {', '.join(layers)}")


def layer_output(network: nn.Module, clips: torch.Tensor, name: str) -> torch.Tensor:
    """Computes the output of a layer. The layers behind it are not computed.

    Args:
        network: The network, in evaluation mode.
        clips: [N, C, T, H, W].
        name: Name of the layer, see `find_layer`. The output is that of its first call.

    Returns:
        The output, [N, ...]. Of an encoder that takes single frames, [N, C, T, ...], or the mean of vectors, [N, D].

    Raises:
        VidsslError: There is no such layer, the network does not call it, or its output is no tensor.
    """

    def stop(_module: nn.Module, _inputs: Any, output: object) -> None:
        raise _ReachedError(output)

    hook = find_layer(network, name).register_forward_hook(stop)
    try:
        # The layers of the map take clips of other sizes too. Dense layers are called by forward alone.
        for compute in (network.forward_map, network) if isinstance(network, Encoder) else (network,):
            try:
                compute(clips)
            except _ReachedError as reached:
                if not isinstance(reached.output, torch.Tensor):
                    kind = type(reached.output).__name__
                    raise VidsslError(
                        f"evaluate: layer={name!r}: it returns a {kind}; take a layer that returns a tensor"
                    ) from None
                found = reached.output
                return network.by_clip(found, clips.shape[2]) if isinstance(network, Adapted) else found
            except ValueError as error:
                raise VidsslError(f"evaluate: layer={name!r}: {error}; take the recipe's crop") from error
    finally:
        hook.remove()
    raise VidsslError(f"evaluate: layer={name!r}: the network does not call it; take another layer")


def pooled(network: nn.Module, clips: torch.Tensor, pool: Pool, layer: str | None = None) -> torch.Tensor:
    """Computes one feature for each clip.

    Args:
        network: The network, in evaluation mode. Without a layer, only pool="avg" takes modules that are not vidssl's
            encoders.
        clips: [N, C, T, H, W].
        pool: "avg": the mean over time, height and width; without a layer, the encoder's own feature, which is that
            mean of the last map unless dense layers follow. "max": VCOP's 1x2x2 max pooling, flattened (9216 values for
            the last map of R3D). "map": the means within a grid of at most GRID cells, flattened, which keeps where and
            when something is seen (D <= 32 x channels). "none": the output as it is, flattened (9216 values for
            CaffeNet's pool5).
        layer: Name of the layer whose output is pooled; None takes the last map. A layer that returns vectors [N, D]
            has nothing to pool.

    Returns:
        Features [N, D].

    Raises:
        VidsslError: The network does not accept the clips' size, does not return vectors, has no such layer, or has no
            map of a size to pool.
    """
    if pool not in get_args(Pool):
        raise VidsslError(f"evaluate: pool={pool!r}: take one of {', '.join(get_args(Pool))}")
    if layer is None and pool == "avg":
        return _own_feature(network, clips)
    if layer is not None:
        output = layer_output(network, clips, layer)
    elif isinstance(network, Encoder):
        output = network.forward_map(clips)
    else:
        raise VidsslError(
            f"pool={pool!r}: only vidssl's encoders have a last map to pool; take pool=avg, or name a layer"
        )
    return pool_output(output, pool)


def pool_output(output: torch.Tensor, pool: Pool) -> torch.Tensor:
    """Pools a layer's output [N, C, ...] to features [N, D], see `pooled`. Vectors [N, D] have nothing to pool.

    Raises:
        VidsslError: The output is too small, or has too many sides, to be pooled so.
    """
    if output.dim() < 3 or pool == "none":
        return output.flatten(1)
    if pool == "avg":
        return output.flatten(2).mean(2)
    if pool == "map":
        return _grid_means(output)
    if min(output.shape[-2:]) < 2:
        raise VidsslError(
            f"pool='max': the map is only {output.shape[-2]} x {output.shape[-1]}; take pool=avg, or a larger crop"
        )
    size = (1,) * (output.dim() - 4) + (2, 2)
    return (functional.max_pool3d if len(size) == 3 else functional.max_pool2d)(output, size).flatten(1)


def _grid_means(output: torch.Tensor) -> torch.Tensor:
    """Means of a layer's output [N, C, ...] within a grid, flattened. A side shorter than the grid's is kept."""
    sides = output.shape[2:]
    if len(sides) > len(GRID):
        raise VidsslError(f"evaluate: pool='map': the output is {list(output.shape)}; take pool=none, or another layer")
    pools: Any = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)
    cells = [min(side, most) for side, most in zip(sides, GRID[-len(sides) :], strict=True)]
    means: torch.Tensor = pools[len(sides) - 1](output, cells)
    return means.flatten(1)


def _own_feature(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Returns what the network returns, [N, D]."""
    try:
        feature: torch.Tensor = network(clips)
    except ValueError as error:  # an encoder with dense layers accepts only one size
        raise VidsslError(f"evaluate: {error}; take the recipe's crop, or pool=none") from error
    if feature.dim() != 2:
        shapes = f"{list(feature.shape)} for {list(clips.shape)}"
        raise VidsslError(f"evaluate: the module returns {shapes}; let it return one vector per clip, [N, D]")
    return feature
