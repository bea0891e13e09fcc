"""Which learning rate and weight decay each weight has, beside tables written by hand."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vidssl.encoders import Adapted
from vidssl.encoders.hf import read_hf
from vidssl.models import ENCODERS, Encoder
from vidssl.pretext import Vcop, build_model
from vidssl.train.config import TrainConfig
from vidssl.train.optimizer import layer_factors, layers_of, make_optimizer, rates
from vidssl.types import VidsslError

BLOCK = ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias")
AROUND = ("shortcut.0.weight", "shortcut.1.weight", "shortcut.1.bias")
# r3d_tiny with a decay of 0.5: a stem and four stages below the head.
R3D_TINY = {
    **dict.fromkeys(("stem.0.weight", "stem.1.weight", "stem.1.bias"), 0.03125),
    **dict.fromkeys((f"stages.0.{name}" for name in BLOCK), 0.0625),
    **dict.fromkeys((f"stages.1.{name}" for name in (*BLOCK, *AROUND)), 0.125),
    **dict.fromkeys((f"stages.2.{name}" for name in (*BLOCK, *AROUND)), 0.25),
    **dict.fromkeys((f"stages.3.{name}" for name in (*BLOCK, *AROUND)), 0.5),
}
# A ViT of two blocks with a decay of 0.5, as BEiT has it: the embeddings, two blocks; the last norm is the head's.
VIT = {"embeddings": 0.125, "block 0": 0.25, "block 1": 0.5, "layernorm": 1.0}


def test_r3d_tiny_as_listed_by_hand() -> None:
    assert layer_factors(ENCODERS["r3d_tiny"](), 0.5) == R3D_TINY
    assert layer_factors(ENCODERS["r3d_tiny"](), 1.0) == {}


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize("kind", ["vit", "videomae", "vjepa2"])
def test_a_vit_as_listed_by_hand(kind: str, tmp_path: Path) -> None:
    from tests.encoders.test_hf import config, shape

    config(kind).save_pretrained(tmp_path)
    encoder = read_hf(f"hf:{tmp_path}", shape(kind))
    found = layer_factors(encoder, 0.5)
    seen: dict[str, set[float]] = {}
    for name, _ in encoder.named_parameters():
        parts = name.removeprefix("module.model.").split(".")
        number = next((part for part in parts if part.isdigit() and ("layer" in parts or "layers" in parts)), None)
        seen.setdefault(parts[0] if number is None else f"block {number}", set()).add(found.get(name, 1.0))
    assert {name: list(factors) for name, factors in seen.items()} == {
        name: [factor] for name, factor in VIT.items() if name in seen
    }
    assert {"embeddings", "block 0", "block 1"} <= set(seen)


@pytest.mark.parametrize("name", ENCODERS)
def test_our_encoders_declare_all_their_weights_once(name: str) -> None:
    with torch.device("meta"):
        encoder = ENCODERS[name]()
    layers = layers_of(encoder)
    flat = [weight for layer in layers for weight in layer]
    assert sorted(flat) == sorted(weight for weight, _ in encoder.named_parameters())
    assert flat == [
        weight for weight, _ in encoder.named_parameters()
    ]  # from the input to the output, as they are built


class Own(nn.Module):
    def __init__(self, layer_names: Any) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.stem, self.block, self.norm = nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4)
        if layer_names is not None:
            self.layer_names = layer_names

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.block(self.stem(clips)))
        return found


def adapted(module: nn.Module) -> Encoder:
    return Adapted(module, (3, 2, 4, 4), name="own.py:make")


def test_a_module_declares_its_layers() -> None:
    assert layers_of(adapted(Own([("token", "stem"), "block"]))) == [
        ["module.token", "module.stem.weight", "module.stem.bias"],
        ["module.block.weight", "module.block.bias"],
    ]
    row = nn.Sequential(nn.Conv3d(3, 4, 1, bias=False), nn.ReLU(), nn.Conv3d(4, 4, 1, bias=False))
    assert layers_of(adapted(row)) == [["module.0.weight"], ["module.2.weight"]]  # a sequence has an order


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        (None, r"layer_decay: the encoder \(Own\) does not say what its layers are; give the module an attribute"),
        (["stem", "blocks"], r"layer_names of the encoder \(Own\) has 'module.blocks', and it has no such part"),
        (["stem", ("block", "stem.bias")], r"has 'module.stem.bias', and it names these weights twice"),
    ],
)
def test_an_encoder_without_layers_is_refused_with_the_fix(declared: Any, named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        layer_factors(adapted(Own(declared)), 0.75)


def test_layers_that_are_no_names_are_refused() -> None:
    for declared in ("stem", [3], [()], 7, nn.ModuleList()):
        with pytest.raises(VidsslError, match=r"encoder='own.py:make': its attribute layer_names is"):
            adapted(Own(declared))


def groups(**settings: Any) -> dict[str, tuple[float, float]]:
    """Factor and weight decay of each weight."""
    model = build_model(Vcop(), "r3d_tiny")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    config = TrainConfig(weight_decay=0.1, **settings)
    factors = {f"encoder.{name}": factor for name, factor in layer_factors(model.encoder, config.layer_decay).items()}
    made = make_optimizer(model, config, factors=factors)
    return {
        names[id(parameter)]: (group["factor"], group["weight_decay"])
        for group in made.param_groups
        for parameter in group["params"]
    }


def test_by_default_all_weights_are_in_one_group() -> None:
    (group,) = make_optimizer(build_model(Vcop(), "r3d_tiny"), TrainConfig(weight_decay=0.1)).param_groups
    assert (group["factor"], group["weight_decay"]) == (1.0, 0.1)
    assert set(groups().values()) == {(1.0, 0.1)}


def test_vectors_do_not_decay_if_asked() -> None:
    found = groups(decay_vectors=False, optimizer="adamw")
    assert {name for name, (_, decay) in found.items() if decay == 0} == {
        name
        for name in found
        if name.endswith("bias") or ".bn" in name or name.endswith(("stem.1.weight", "shortcut.1.weight"))
    }


def test_factors_multiply() -> None:
    found = groups(layer_decay=0.5, decay_vectors=False, caffe_bias=True)
    assert found["encoder.stem.0.weight"] == (0.03125, 0.1)
    assert found["encoder.stages.3.bn1.weight"] == (0.5, 0.0)
    assert found["head.pair.weight"] == (1.0, 0.1)
    assert found["head.pair.bias"] == (2.0, 0.0)  # twice the rate, as in Caffe


def test_the_run_says_other_rates() -> None:
    model = build_model(Vcop(), "r3d_tiny")
    config = TrainConfig(lr=0.5)
    assert rates(make_optimizer(model, config), config) == []
    factors = {f"encoder.{name}": factor for name, factor in layer_factors(model.encoder, 0.5).items()}
    (line,) = rates(make_optimizer(model, config, factors=factors), config)
    assert line == "learning rates, as factors of lr=0.5: 0.0312 0.0625 0.125 0.25 0.5 1"
