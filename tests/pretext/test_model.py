"""Encoder and head together: slots, batch norm, and sizes that do not fit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.models import r3d_tiny
from vidssl.pretext import METHODS, PretextModel, Vcop, build_model, check_head
from vidssl.train.config import Recipe
from vidssl.train.train import check_model
from vidssl.types import VidsslError

SMALL = Vcop(clip_length=8, interval=2, augment=Augment(resize=(32, 40), crop=(32, 32)))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_slotwise_batch_norm_calls_the_encoder_once_a_slot() -> None:
    model = build_model(SMALL, "r3d_tiny")
    model(torch.rand(2, 3, 3, 8, 32, 32))
    assert int(model.encoder.state_dict()["stem.1.num_batches_tracked"]) == 3


def test_one_call_sees_all_clips() -> None:
    model = build_model(SMALL, "r3d_tiny", slotwise_bn=False)
    model(torch.rand(2, 3, 3, 8, 32, 32))
    assert int(model.encoder.state_dict()["stem.1.num_batches_tracked"]) == 1


def test_both_roads_agree_in_evaluation_and_keep_slots_in_order() -> None:
    model = build_model(SMALL, "r3d_tiny").eval()
    clips = torch.rand(2, 3, 3, 8, 32, 32)
    with torch.no_grad():
        by_slot = torch.stack([model.encoder(clips[:, k]) for k in range(3)], dim=1)
        torch.testing.assert_close(model(clips), model.head(by_slot))


def test_clips_too_small_for_the_encoder_are_refused() -> None:
    with pytest.raises(
        VidsslError, match=r"encoder='r3d_tiny': vcop shows it clips of 4 x 32 x 32 .* it takes at least 8 frames"
    ):
        build_model(replace(SMALL, clip_length=4), "r3d_tiny")


def test_unknown_encoder_names_the_known_ones() -> None:
    with pytest.raises(VidsslError, match=r"encoder='resnet': not known; take one of .*r3d, .*r3d_tiny"):
        build_model(SMALL, "resnet")


def test_model_of_parts() -> None:
    encoder = r3d_tiny()
    assert PretextModel(encoder, SMALL)(torch.rand(2, 3, 3, 8, 32, 32)).shape == (2, 6)


def test_every_class_has_a_name() -> None:
    for method in METHODS.values():
        pretext = method()
        assert len(set(pretext.class_names)) == pretext.plan.classes
    assert METHODS["vcop"]().class_names[:4] == ["012", "021", "102", "120"]


class Plain(nn.Module):
    """The mean colour of each frame: 3 x 8 numbers."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.mean((3, 4)).flatten(1)


def test_any_module_is_an_encoder() -> None:
    model = PretextModel(Plain(), SMALL)
    assert model(torch.rand(2, 3, 3, 8, 32, 32)).shape == (2, 6)
    norm = nn.Sequential(nn.BatchNorm3d(3), Plain()).train()
    PretextModel(norm, SMALL)
    assert norm.training
    assert int(norm.state_dict()["0.num_batches_tracked"]) == 0


@pytest.mark.parametrize(
    ("encoder", "problem"),
    [
        (nn.Linear(3, 4), r"encoder='Linear': for clips \[2, 3, 8, 32, 32\] of the task: .*; give a module that"),
        (nn.Flatten(0, 1), r"encoder='Flatten': .*it returns \[6, 8, 32, 32\]; return features \[N, D\], a map"),
        (nn.LSTM(32, 4), "encoder='LSTM': .*; give a module that maps clips"),
    ],
)
def test_modules_that_are_no_encoders(encoder: nn.Module, problem: str) -> None:
    with pytest.raises(VidsslError, match=problem):
        PretextModel(encoder, SMALL)


class Wide(Vcop):
    """The head expects another width than the encoder's."""

    name = "wide"

    def head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Linear(3 * features + 1, 6))


class One(Vcop):
    """The head has one output for six classes."""

    name = "one"

    def head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Linear(3 * features, 1))


class Unnamed(Vcop):
    """Only one of six classes has a name."""

    name = "unnamed"

    @property
    def class_names(self) -> list[str]:
        return ["first"]


class Headless(Vcop):
    """The head is forgotten."""

    name = "headless"

    def head(self, features: int) -> Any:
        return None


WRONG = {
    Wide: r"Wide\.head\(64\) does not take features \[B, 3, 64\]: mat1 and mat2 .*; make a module that maps",
    One: r"One\.head\(64\) gives \[2, 1\] for B = 2, but the task has 6 classes",
    Unnamed: r"Unnamed\.class_names has \['first'\], but the labels of its table have 6 classes; give each",
    Headless: r"Headless\.head\(64\) gives None; return a torch\.nn\.Module",
}


@pytest.mark.parametrize("task", WRONG)
def test_a_head_that_does_not_fit_is_refused(task: type[Vcop]) -> None:
    """In one line, by a model of one's own, and by `train` before it builds one."""
    pretext = task(clip_length=8, interval=2, augment=SMALL.augment)
    with pytest.raises(VidsslError, match=WRONG[task]):
        PretextModel(r3d_tiny(), pretext)
    with pytest.raises(VidsslError, match=WRONG[task]):
        check_model(Recipe(pretext=pretext, encoder="r3d_tiny"))


def test_checking_a_head_leaves_it_and_the_random_numbers_as_they_are() -> None:
    head = nn.Sequential(nn.Flatten(1), nn.BatchNorm1d(192), nn.Dropout(), nn.Linear(192, 6))
    before, drawn = {name: one.clone() for name, one in head.state_dict().items()}, torch.get_rng_state()
    check_head(head, SMALL, 64)
    assert head.training
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(one, before[name]) for name, one in head.state_dict().items())
