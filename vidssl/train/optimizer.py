"""The optimizer, and what each weight's learning rate is multiplied by.

layers_of: an encoder's weights by layer ─► layer_factors ─► make_optimizer: groups of one factor and weight decay
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from vidssl.models import Encoder
from vidssl.train.config import TrainConfig
from vidssl.types import VidsslError

_WITH_CAFFE_BIAS = (nn.Conv2d, nn.Conv3d, nn.Linear)


def layers_of(encoder: Encoder) -> list[list[str]]:
    """Returns the names of the parameters in each layer of an encoder, from the input to the output.

    Parameters outside of these layers, such as those of a last norm, are in none of the lists.

    Raises:
        VidsslError: The encoder does not declare its layers, or declares a name that it does not have.
    """
    what = type(getattr(encoder, "module", encoder)).__name__
    example = 'layer_names = ("stem", "blocks.0", ...)'
    if not encoder.layer_names:
        raise VidsslError(
            f"train: layer_decay: the encoder ({what}) does not say what its layers are; give the module an attribute "
            f"{example}: names of its parts from the input to the output. Or leave layer_decay out"
        )
    layers: list[list[str]] = []
    taken: set[str] = set()
    names = [name for name, _ in encoder.named_parameters()]
    for declared in encoder.layer_names:
        layer: list[str] = []
        for part in (declared,) if isinstance(declared, str) else declared:
            found = [name for name in names if name == part or name.startswith(f"{part}.")]
            if not found or taken.intersection(found):
                why = "has no such part with weights" if not found else "names these weights twice"
                raise VidsslError(
                    f"train: layer_decay: layer_names of the encoder ({what}) has {part!r}, and it {why}; take names "
                    f"of named_parameters(), or of modules that hold them, each once: {example}"
                )
            layer += found
            taken.update(found)
        layers.append(layer)
    return layers


def layer_factors(encoder: Encoder, decay: float) -> dict[str, float]:
    """Returns the factor of each parameter of an encoder: decay ** (number of layers above it, and the head).

    The last layer has `decay`, the one below it `decay` squared. Parameters in no layer have 1, like the head.
    """
    if decay == 1:
        return {}
    layers = layers_of(encoder)
    return {name: decay ** (len(layers) - at) for at, layer in enumerate(layers) for name in layer}


def make_optimizer(
    model: nn.Module,
    config: TrainConfig,
    *,
    plain: Collection[str] = (),
    factors: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """Makes the optimizer, fused: one kernel for all. A group's learning rate is multiplied by its `factor`.

    Args:
        model: The model.
        config: How to train it.
        plain: Names of biases that `caffe_bias` treats like weights.
        factors: Factor of each parameter, by name; 1 where it has none.
    """
    doubled: set[str] = set()
    if config.caffe_bias:
        biased = [name for name, module in model.named_modules() if isinstance(module, _WITH_CAFFE_BIAS)]
        doubled = {f"{name}.bias".lstrip(".") for name in biased} - set(plain)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = (factors or {}).get(name, 1.0) * (2.0 if name in doubled else 1.0)
        decays = name not in doubled and (config.decay_vectors or parameter.ndim > 1)
        groups.setdefault((factor, decays), []).append(parameter)
    return _optimizer(
        [
            {"params": parameters, "factor": factor, "weight_decay": config.weight_decay if decays else 0.0}
            for (factor, decays), parameters in sorted(groups.items(), key=lambda group: (group[0][0], not group[0][1]))
        ],
        config,
    )


def rates(optimizer: torch.optim.Optimizer, config: TrainConfig) -> list[str]:
    """Returns a line for people about weights that have another learning rate than lr; none if all have it."""
    factors = sorted({group["factor"] for group in optimizer.param_groups})
    if factors == [1.0]:
        return []
    return [f"learning rates, as factors of lr={config.lr:g}: {' '.join(f'{factor:.3g}' for factor in factors)}"]


def _optimizer(groups: Sequence[dict[str, object]], config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
