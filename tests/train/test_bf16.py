"""Convolutions in bfloat16 beside float32: each encoder's are right, and what is wrong is named before a run begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from vidssl import VidsslError
from vidssl.index.table import VideoIndex
from vidssl.models import ENCODERS, FrameEncoder
from vidssl.train import bf16, checkpoint, setup
from vidssl.train.bf16 import TOLERANCE, differences, trains_in_bf16
from vidssl.train.config import Recipe
from vidssl.train.train import train

# what changing any of its flags says
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
CPU = torch.device("cpu")
OF_CLIPS = sorted(name for name, make in ENCODERS.items() if not isinstance(make(), FrameEncoder))
CLIPS = (3, 8, 32, 32)  # C, T, H, W


@pytest.fixture
def right() -> Iterator[None]:
    """Convolutions by PyTorch itself: oneDNN may be wrong."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.fixture(scope="module")
def encoder() -> Any:
    torch.manual_seed(3)
    return ENCODERS["r3d_tiny"]()


@pytest.mark.usefixtures("right")
@pytest.mark.parametrize("name", OF_CLIPS)
def test_every_encoder_of_clips_differs_by_rounding_only(name: str) -> None:
    module = ENCODERS[name]()
    found = differences(module, (3, *module.minimum), CPU, clips=2)
    layers = {path: layer for path, layer in module.named_modules() if isinstance(layer, nn.Conv3d)}
    assert {one.layer for one in found} == set(layers)
    assert len(found) == sum(2 + len(list(layer.parameters())) for layer in layers.values())
    errors = torch.tensor([one.error for one in found])
    assert 1e-4 < errors.median() < 0.005  # it is bfloat16, of 8 bits
    assert errors.max() < TOLERANCE


def first_tap(x: torch.Tensor, weight: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The output without a tap of the kernel."""
    weight = weight.clone()
    weight[:, :, :, :, 0] = 0
    return x, weight


class WrongGradient(torch.autograd.Function):
    """The weights as they are; of the first output channel, their gradient is lost."""

    @staticmethod
    def forward(context: Any, weight: torch.Tensor) -> torch.Tensor:
        return weight.view_as(weight)

    @staticmethod
    def backward(context: Any, *gradient: torch.Tensor) -> torch.Tensor:
        wrong = gradient[0].clone()
        wrong[0] = 0
        return wrong


def last_clip(x: torch.Tensor, weight: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """As if the last clip were another one."""
    return torch.cat([x[:-1], x[:1]]), weight


WRONG: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = {
    "the output": first_tap,
    "the gradient of the weight": lambda x, weight: (x, WrongGradient.apply(weight)),
    "the gradient of the input": last_clip,
}


def spoil(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., tuple[torch.Tensor, torch.Tensor]], kernel: tuple[int, ...]
) -> None:
    """conv3d of this kernel size computes something else in autocast."""
    exact = functional.conv3d

    def conv3d(x: torch.Tensor, weight: torch.Tensor, *others: Any) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu") and tuple(weight.shape[2:]) == kernel:
            x, weight = wrong(x, weight)
        return exact(x, weight, *others)

    monkeypatch.setattr(functional, "conv3d", conv3d)


@pytest.mark.usefixtures("right")
@pytest.mark.parametrize("part", WRONG)
def test_a_wrong_convolution_is_found_and_named(
    part: str, encoder: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert trains_in_bf16(encoder, CLIPS, CPU, clips=2, must=True)
    spoil(monkeypatch, WRONG[part], (3, 7, 7))  # the stem's
    found = {(one.layer, one.part) for one in differences(encoder, CLIPS, CPU, clips=2) if one.error > TOLERANCE}
    assert ("stem.0", part) in found
    assert {layer for layer, _ in found} == {"stem.0"}
    with pytest.raises(
        VidsslError,
        match=r"train: amp=bf16: oneDNN of PyTorch .* of encoder\.stem\.0 wrong .*2 x 3 x 8 x 32 x 32.*amp=off",
    ):
        trains_in_bf16(encoder, CLIPS, CPU, clips=2, must=True)
    with caplog.at_level(logging.WARNING, "vidssl"):
        assert not trains_in_bf16(encoder, CLIPS, CPU, clips=2, must=False)
    assert "amp=auto: oneDNN" in caplog.text
    assert "the run computes in float32" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_wrong(value: float) -> None:
    exact = torch.ones(3, 4)
    assert bf16._error(exact, exact) == 0
    found = exact.clone()
    found[1, 2] = value
    assert bf16._error(found, exact) == float("inf")
    assert bf16._error(torch.tensor([1.0, 1.5]), torch.tensor([1.0, 1.0])) == pytest.approx(0.5 / 2**0.5)


def test_where_memory_is_short_fewer_clips_are_tried(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def short(encoder: Any, size: Any, device: Any, *, clips: int) -> list[bf16.Difference]:
        tried.append(clips)
        if clips > 5:
            raise torch.OutOfMemoryError("no memory")
        return []

    monkeypatch.setattr(bf16, "differences", short)
    assert trains_in_bf16(encoder, CLIPS, torch.device("cuda", 0), clips=24, must=True)
    assert tried == [24, 12, 6, 3]


@pytest.mark.usefixtures("right")
@pytest.mark.parametrize(
    ("amp", "asked", "serves", "made"),
    [
        ("off", False, True, "off"),
        ("auto", False, True, "off"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "off"),
    ],
)
def test_a_run_asks_before_it_trains(
    amp: Any,
    asked: bool,
    serves: bool,
    made: str,
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`asked`: bfloat16 would pay on this machine."""
    calls: list[tuple[Any, ...]] = []

    def answer(encoder: Any, size: Any, device: Any, *, clips: int, must: bool) -> bool:
        calls.append((size, device, clips, must))
        return serves

    monkeypatch.setattr(setup, "trains_in_bf16", answer)
    monkeypatch.setattr(setup, "pick_amp", lambda amp, device, parameters: asked)
    result = train(
        replace(recipe, train=replace(recipe.train, amp=amp)),
        index,
        tmp_path / "run",
        steps=1,
        device="cpu",
        quiet=True,
    )
    assert checkpoint.load_meta(result.checkpoint)["amp"] == made
    assert calls == ([(recipe.pretext.input, CPU, recipe.train.batch_size, False)] if asked else [])


def test_a_run_that_would_use_a_wrong_kernel_does_not_begin(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, first_tap, (3, 7, 7))
    with pytest.raises(VidsslError, match=r"train: amp=bf16: .*take amp=off"):
        train(
            replace(recipe, train=replace(recipe.train, amp="bf16")),
            index,
            tmp_path / "run",
            steps=1,
            device="cpu",
            quiet=True,
        )
    assert not (tmp_path / "run" / "run.json").exists()
