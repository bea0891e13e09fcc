"""Settings survive JSON, and what cannot be trained is named."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from vidssl.recipes import RECIPES
from vidssl.train.config import Recipe, TrainConfig, flat, recipe_from
from vidssl.train.recorded import CHANGEABLE
from vidssl.types import VidsslError


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe_from(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_a_setting_of_another_version_is_named(recipe: Recipe) -> None:
    values = recipe.as_dict()
    values["train"] = {**values["train"], "warmup": 5}
    with pytest.raises(
        VidsslError, match=r"this version of vidssl cannot read it .*warmup.*use the version that wrote it"
    ):
        recipe_from(values)


def test_flat_joins_keys_and_makes_lists() -> None:
    assert flat({"a": {"b": 1, "c": {"d": (1, 2)}}, "e": None}) == {"a.b": 1, "a.c.d": [1, 2], "e": None}


def test_free_settings_are_settings() -> None:
    assert set(CHANGEABLE) <= {one.name for one in fields(TrainConfig)}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"schedule": "step"}, r"milestones=\(\): take milestones together with schedule=\"step\""),
        ({"milestones": (3,)}, r"milestones=\(3,\): take milestones together"),
        ({"norm": "group", "sync_bn": True}, "sync_bn=True: norm=group has no batch norm"),
        ({"timeout": 0.0}, "timeout=0.0: take a number of seconds > 0"),
        ({"max_corrupt": 1.5}, r"max_corrupt=1.5: take a fraction of the videos in 0..1"),
        ({"nonfinite": "ignore"}, "nonfinite='ignore': take stop or skip"),
        ({"keep": 0}, "keep=0: take at least 1"),
        ({"layer_decay": 0.0}, "layer_decay=0.0: take 0 < layer_decay <= 1"),
        ({"layer_decay": 1.5}, "layer_decay=1.5: take 0 < layer_decay <= 1"),
        ({"lr_floor": 0.1, "schedule": "cosine"}, "lr_floor=0.1: take a rate from 0 to lr=0.001"),
        ({"lr_floor": 1e-6}, 'lr_floor=1e-06: take it together with schedule="cosine"'),
        ({"warmup_epochs": -1}, "warmup_epochs=-1: take at least 0"),
        ({"warmup_steps": -1}, "warmup_steps=-1: take at least 0"),
        ({"warmup_steps": 5, "warmup_epochs": 5}, "warmup_steps=5: warmup_epochs=5 says it already; leave one of them"),
        ({"clip_norm": 0.0}, "clip_norm=0.0: take a norm > 0, or None"),
        ({"clip_norm": float("inf")}, "clip_norm=inf: take a norm > 0, or None"),
        ({"drop_path": 1.0}, "drop_path=1.0: take 0 <= drop_path < 1"),
        ({"batch_size": 9, "tuples_per_window": 2}, "batch_size=9: take a multiple of 2: tuples_per_window=2$"),
        (
            {"batch_size": 6, "accumulate": 4},
            "batch_size=6: take a multiple of accumulate=4, at least 8: batch norm needs 2",
        ),
    ],
)
def test_what_cannot_be_trained_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        replace(TrainConfig(), **settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", 10**11), ("threads", 10**30), ("lr", float("inf")), ("weight_decay", float("inf"))],
)
def test_what_nothing_can_be_trained_with_is_refused(name: str, value: Any) -> None:
    """Torch answers a huge number of threads with a traceback, and an infinite rate with weights that are none."""
    with pytest.raises(VidsslError, match=rf"^train: {name}={value!r}: take "):
        TrainConfig(**{name: value})
