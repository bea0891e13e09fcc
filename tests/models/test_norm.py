"""Caffe's running statistics; group norm in the place of batch norm."""

from typing import Any

import pytest
import torch
from torch import nn

from vidssl.models import ENCODERS, caffenet, caffenet_opn
from vidssl.models.norm import CaffeBatchNorm, CaffeBatchNorm1d, CaffeBatchNorm2d, with_group_norm, with_sync_norm
from vidssl.pretext import build_encoder, build_model
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError


@pytest.mark.parametrize("name", RECIPES)
def test_every_batch_norm_is_replaced(name: str) -> None:
    recipe = RECIPES[name]()
    with torch.device("meta"):
        plain = build_model(recipe.pretext, recipe.encoder)
        model = build_model(recipe.pretext, recipe.encoder, norm="group")
    count = [
        sum(isinstance(module, kind) for module in plain.modules())
        for kind in (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    ]
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    assert sum(isinstance(module, nn.GroupNorm) for module in model.modules()) == count[0]
    assert not model.slotwise_bn
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_a_clip_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    recipe = RECIPES["vcop_r3d_tiny"]()
    model = build_model(recipe.pretext, recipe.encoder, norm="group").train()
    model.head.dropout.p = 0.0
    clips = torch.rand(4, 3, 3, 8, 32, 32)
    torch.testing.assert_close(model(clips)[:2], model(clips[:2]), rtol=1e-4, atol=1e-5)


def test_scale_and_shift_stay_where_they_were() -> None:
    model = with_group_norm(nn.Sequential(nn.BatchNorm2d(230), nn.BatchNorm1d(7, affine=False)))
    assert isinstance(model[0], nn.GroupNorm)
    assert (model[0].num_groups, model[0].affine, model[1].num_groups, model[1].affine) == (10, True, 1, False)


class BatchNormAct(nn.BatchNorm2d):
    """Batch norm with a dropout and an activation, as timm has it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Dropout(0.5), nn.ReLU()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(input)))


def test_an_activation_within_a_batch_norm_stays() -> None:
    shown = torch.randn(4, 32, 3, 3)
    model = nn.Sequential(nn.Sequential(BatchNormAct(32)), nn.BatchNorm2d(32))
    names = [name for name, _ in model.named_parameters()]
    with_group_norm(model).eval()
    assert torch.equal(model[0](shown), nn.GroupNorm(2, 32)(shown).relu())
    assert type(model[1]) is nn.GroupNorm
    dropped = (model[0].train()(shown) == 0).float().mean()
    assert 0.6 < dropped < 0.9  # half of it by the dropout, and half of the rest by the activation
    assert [name for name, _ in model.named_parameters()] == names


def test_an_activation_within_a_batch_norm_stays_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Sequential(BatchNormAct(5)), nn.BatchNorm2d(5), CaffeBatchNorm2d(5)).eval()
    shown, names = torch.randn(4, 5, 3, 3), list(model.state_dict())
    nn.init.uniform_(model[0][0].bias)
    wanted = model(shown)
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", nn.modules.batchnorm._BatchNorm.forward)  # its own is for GPUs
    with_sync_norm(model)
    norms = [model[0][0], model[1], model[2]]
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    monkeypatch.setattr(nn.SyncBatchNorm, "_check_input_dim", lambda self, input: None)
    assert torch.equal(model(shown), wanted)
    assert list(model.state_dict()) == names


class BatchNormPlus(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + 1


@pytest.mark.parametrize("replace", [with_group_norm, with_sync_norm])
def test_a_batch_norm_that_computes_something_else_is_refused(replace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^BatchNormPlus is a batch norm that computes something else besides"):
        replace(nn.Sequential(BatchNormPlus(3)))
    net = nn.Sequential(nn.Conv3d(3, 4, 1), BatchNormPlus(4))
    monkeypatch.setitem(ENCODERS, "own", lambda channels: net)
    with pytest.raises(VidsslError, match=r"^encoder='own': norm='group': BatchNormPlus is a batch norm"):
        build_encoder("own", (3, 4, 8, 8), norm="group")


def test_batch_norm_over_processes_is_replaced_too() -> None:
    assert isinstance(with_group_norm(nn.Sequential(nn.SyncBatchNorm(32)))[0], nn.GroupNorm)


@pytest.mark.parametrize("calls", [1, 2, 50])
def test_running_statistics_are_caffes(calls: int) -> None:
    """Caffe adds up means and unbiased variances, and counts what it added: each earlier call weighs 0.999 of the next
    one. In evaluation it divides by the count (batch_norm_layer.cpp).
    """
    torch.manual_seed(0)
    norm = CaffeBatchNorm2d(3).train()
    count, mean, var = 0.0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for call in range(calls):
        x = torch.randn(4, 3, 5, 6) * (1 + call % 3) + call
        norm(x)
        flat = x.double().transpose(0, 1).flatten(1)
        count, mean, var = 0.999 * count + 1, 0.999 * mean + flat.mean(1), 0.999 * var + flat.var(1)
    torch.testing.assert_close(norm.running_mean.double(), mean / count, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), var / count, rtol=1e-5, atol=1e-6)
    assert int(norm.num_batches_tracked) == calls


@pytest.mark.parametrize("affine", [True, False])
def test_caffes_norm_computes_what_pytorchs_computes(affine: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = CaffeBatchNorm1d(5, affine=affine), nn.BatchNorm1d(5, affine=affine)
    x = torch.randn(7, 5, requires_grad=True)
    for mode in (True, False):
        theirs.load_state_dict(ours.state_dict())  # also the names are the same
        found = []
        for norm in (ours.train(mode), theirs.train(mode)):
            out = norm(x)
            found.append((out, *torch.autograd.grad(out.square().mean(), x)))
        for a, b in zip(*found, strict=True):
            assert torch.equal(a, b)
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        ours.train()(torch.randn(2, 5, 3, 3))


def test_caffenets_have_caffes_norm() -> None:
    for build in (caffenet, caffenet_opn):
        with torch.device("meta"):
            norms = [part for part in build().modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        assert norms
        assert all(isinstance(norm, CaffeBatchNorm) for norm in norms)
