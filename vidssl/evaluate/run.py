"""Loads runs and checkpoints for evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vidssl.evaluate.features import Clips, Crops
from vidssl.evaluate.layers import Pool
from vidssl.models import Encoder
from vidssl.pretext import PretextModel, build_encoder, build_model
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, recipe_from


def untrained_encoder(recipe: Recipe) -> Encoder:
    """The encoder with the random weights of the recipe's seed: those that a run without `init` begins with."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        return build_encoder(recipe.encoder, channels=recipe.pretext.input[0], norm=recipe.train.norm)


def trained_encoder(path: Path) -> tuple[Encoder, Recipe]:
    """The encoder of a checkpoint, and the recipe that trained it."""
    recipe = recipe_from(checkpoint.load_meta(path, "recipe")["recipe"])
    encoder = build_encoder(recipe.encoder, channels=recipe.pretext.input[0], norm=recipe.train.norm)
    encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
    return encoder, recipe


def trained_model(path: Path) -> tuple[PretextModel, Recipe]:
    """The encoder and head of a checkpoint in evaluation mode, and the recipe that trained them."""
    recipe = recipe_from(checkpoint.load_meta(path, "recipe")["recipe"])
    model = build_model(recipe.pretext, recipe.encoder, norm=recipe.train.norm)
    model.encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
    model.head.load_state_dict(checkpoint.load_weights(path, "head"))
    return model.eval(), recipe


def untrained_model(recipe: Recipe) -> PretextModel:
    """The encoder and head that a run of this recipe begins with, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        return build_model(recipe.pretext, recipe.encoder, norm=recipe.train.norm).eval()


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run that is evaluated.

    Attributes:
        folder: Folder of the run.
        path: The checkpoint that is evaluated.
        recipe: The recipe that trained it.
        meta: Contents of the checkpoint's meta.json.
    """

    folder: Path
    path: Path
    recipe: Recipe
    meta: dict[str, Any]

    @property
    def step(self) -> int:
        """Training step of the checkpoint."""
        return int(self.meta["step"])

    def encoders(self) -> dict[str, Encoder]:
        """The encoder of the checkpoint ("trained"), and the encoder that the run began with ("untrained")."""
        return {"trained": trained_encoder(self.path)[0], "untrained": untrained_encoder(self.recipe)}


def load_run(run: Path, *, allow_outside: bool = False) -> TrainedRun:
    """Loads a run for evaluation.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        allow_outside: Accept links that lead out of the run's folder.

    Returns:
        The run.

    Raises:
        VidsslError: There is no checkpoint, or a link leads out of the run's folder.
    """
    folder, path = checkpoint.locate(run, allow_outside=allow_outside)
    meta = checkpoint.load_meta(path, "recipe", "step", "data", "videos")
    return TrainedRun(folder=folder, path=path, recipe=recipe_from(meta["recipe"]), meta=meta)


@dataclass(frozen=True, kw_only=True)
class View:
    """How videos are shown to the encoders.

    Args:
        clips: Clips per video (frames, if the encoder sees single frames), evenly spaced. Their features are averaged.
        layer: Name of the encoder's layer whose output is the feature, such as conv5, fc6 or stages.3. None takes the
            last map. A name that does not exist is answered by the list of all names.
        pool: How the output is pooled. avg: its mean over time, height and width; without a layer, the encoder's own
            feature. max: VCOP's 1x2x2 max pooling (9216 numbers for R3D's last map). none: as it is (9216 numbers for
            CaffeNet's pool5).
        resize: Height and width to which the picture is resized; None takes the recipe's.
        crop: Height and width cut from its centre; None takes the recipe's. VCOP's paper shows single frames with
            resize 256 256, crop 224 224 and pool=none.
    """

    clips: int = 10
    layer: str | None = None
    pool: Pool = "avg"
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None

    def of(self, recipe: Recipe, *, crops: Crops = "centre") -> Clips:
        """The clips for the encoder of a recipe."""
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
