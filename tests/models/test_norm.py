"""Group norm in the place of batch norm."""

import pytest
import torch
from torch import nn

from vidssl.models.norm import with_group_norm
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
