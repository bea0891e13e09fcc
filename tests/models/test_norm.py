"""Caffe's running statistics; group norm in the place of batch norm."""

import pytest
import torch
from torch import nn

from vidssl.models import caffenet, caffenet_opn
from vidssl.models.norm import CaffeBatchNorm, CaffeBatchNorm1d, CaffeBatchNorm2d, with_group_norm
from vidssl.pretext import build_model
from vidssl.recipes import RECIPES


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
