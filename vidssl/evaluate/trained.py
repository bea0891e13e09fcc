"""What a checkpoint holds, as modules again."""

from __future__ import annotations

from pathlib import Path

import torch

from vidssl.models import Encoder
from vidssl.pretext import PretextModel, build_encoder, build_model
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, recipe_from


def untrained_encoder(recipe: Recipe) -> Encoder:
    """The encoder as a run of this recipe begins with."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        return build_encoder(recipe.encoder, channels=recipe.pretext.input[0], norm=recipe.train.norm)


def trained_encoder(path: Path) -> tuple[Encoder, Recipe]:
    """The encoder of a checkpoint, and the recipe that trained it."""
    recipe = recipe_from(checkpoint.load_meta(path)["recipe"])
    encoder = build_encoder(recipe.encoder, channels=recipe.pretext.input[0], norm=recipe.train.norm)
    encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
    return encoder, recipe


def trained_model(path: Path) -> tuple[PretextModel, Recipe]:
    """Encoder and head of a checkpoint, for evaluation, and the recipe that trained them."""
    recipe = recipe_from(checkpoint.load_meta(path)["recipe"])
    model = build_model(recipe.pretext, recipe.encoder, norm=recipe.train.norm)
    model.encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
    model.head.load_state_dict(checkpoint.load_weights(path, "head"))
    return model.eval(), recipe
