"""What a checkpoint holds, as modules again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vidssl.evaluate.features import Clips, Crops, Pool
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


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run that is evaluated. folder: the run's; path: its checkpoint."""

    folder: Path
    path: Path
    recipe: Recipe
    meta: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.meta["step"])

    def encoders(self) -> dict[str, Encoder]:
        """ "trained", and "untrained": as the run began."""
        return {"trained": trained_encoder(self.path)[0], "untrained": untrained_encoder(self.recipe)}


def load_run(run: Path, *, allow_outside: bool = False) -> TrainedRun:
    """run: a run's folder (its newest checkpoint counts) or a checkpoint. Raises VidsslError where there is none, or
    where links lead out of the run's folder, unless `allow_outside`.
    """
    folder, path = checkpoint.locate(run, allow_outside=allow_outside)
    meta = checkpoint.load_meta(path)
    return TrainedRun(folder=folder, path=path, recipe=recipe_from(meta["recipe"]), meta=meta)


@dataclass(frozen=True, kw_only=True)
class View:
    """How videos are shown to the encoders whose features are taken.

    Args:
        clips: Clips a video, evenly spaced; their features are averaged. Of encoders of frames: frames.
        pool: The encoder's own feature (mean); VCOP's 1x2x2 max pooling of the last map (max: 9216 numbers for R3D); or
            the last map as it is (map: 9216 numbers for CaffeNet's pool5).
        resize: Height and width that the picture is resized to; none takes the recipe's.
        crop: Height and width cut from its centre; none takes the recipe's. 256 256 and 224 224, with pool=map, is how
            VCOP's paper shows single frames.
    """

    clips: int = 10
    pool: Pool = "mean"
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None

    def of(self, recipe: Recipe, *, crops: Crops = "centre") -> Clips:
        """The clips that a recipe's encoder is made for."""
        plan, augment = recipe.pretext.plan, recipe.pretext.augment
        augment = replace(augment, resize=self.resize or augment.resize, crop=self.crop or augment.crop, region=None)
        return Clips(
            count=self.clips,
            length=plan.times,
            stride=plan.stride,
            augment=augment,
            encode=recipe.pretext.encode,
            crops=crops,
        )


DEFAULT_VIEW = View()
