"""Recipes. Each is a function whose docstring names the source of its settings.

| file | what it does |
|---|---|
| shuffle_learn.py, opn.py, odd_one_out.py, vcop.py | recipes of one method: published, modern, and tiny for CPUs |
| pace.py, arrow.py, out_of_order.py, skip_rate.py, jigsaw.py | tiny recipes of one method |
| tiny.py | what the tiny recipes share |
"""

from __future__ import annotations

from collections.abc import Callable

from vidssl.recipes.arrow import arrow_r3d_tiny
from vidssl.recipes.jigsaw import jigsaw_r3d_tiny
from vidssl.recipes.odd_one_out import odd_one_out_alexnet, odd_one_out_resnet18, odd_one_out_tiny
from vidssl.recipes.opn import opn_caffenet, opn_resnet18, opn_tiny
from vidssl.recipes.out_of_order import out_of_order_tiny
from vidssl.recipes.pace import pace_r3d_tiny
from vidssl.recipes.shuffle_learn import shuffle_learn_caffenet, shuffle_learn_resnet18, shuffle_learn_tiny
from vidssl.recipes.skip_rate import skip_rate_tiny
from vidssl.recipes.vcop import vcop_c3d, vcop_r2plus1d, vcop_r2plus1d_18, vcop_r3d, vcop_r3d_18, vcop_r3d_tiny
from vidssl.train.config import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for recipe in (
        shuffle_learn_caffenet,
        shuffle_learn_resnet18,
        shuffle_learn_tiny,
        opn_caffenet,
        opn_resnet18,
        opn_tiny,
        odd_one_out_alexnet,
        odd_one_out_resnet18,
        odd_one_out_tiny,
        vcop_c3d,
        vcop_r3d,
        vcop_r2plus1d,
        vcop_r3d_18,
        vcop_r2plus1d_18,
        vcop_r3d_tiny,
        pace_r3d_tiny,
        arrow_r3d_tiny,
        out_of_order_tiny,
        skip_rate_tiny,
        jigsaw_r3d_tiny,
    )
}

__all__ = ["RECIPES", *RECIPES]
