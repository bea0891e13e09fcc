"""Loads runs and checkpoints for evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from vidssl.checks import is_whole
from vidssl.encoders import has_weights
from vidssl.evaluate.features import Clips, Crops
from vidssl.evaluate.layers import Pool
from vidssl.models import Encoder
from vidssl.pretext import PretextModel, build_encoder, build_model
from vidssl.settings import Settings
from vidssl.store.frames import FrameStore, Size, parse_size
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, recipe_from
from vidssl.train.data_sets import fingerprints
from vidssl.types import VidsslError


def untrained_encoder(recipe: Recipe) -> Encoder:
    """The encoder with random weights of the recipe's seed: those that a run begins with unless it is given others."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        return build_encoder(recipe.encoder, recipe.pretext.input, **recipe.train.built, new_weights=True)


def _recipe(path: Path, meta: dict[str, Any], trust_code: bool) -> Recipe:
    """The recipe that the meta.json of a checkpoint holds."""
    where = f"checkpoint={str(path)!r}"
    return recipe_from(meta["recipe"], where=where, versions=meta.get("versions"), trust_code=trust_code)


def trained_encoder(
    path: Path, *, trust_code: bool = False, weights: checkpoint.Which = "auto"
) -> tuple[Encoder, Recipe]:
    """The encoder of a checkpoint, and the recipe that trained it.

    trust_code: Import the code that builds it.
    weights: Which of the checkpoint's weights; auto takes their moving average if there is one.
    """
    recipe = _recipe(path, checkpoint.load_meta(path, "recipe"), trust_code)
    encoder = build_encoder(recipe.encoder, recipe.pretext.input, **recipe.train.built)
    checkpoint.load_into(encoder, path, "encoder", weights)
    return encoder, recipe


def trained_model(
    path: Path, *, trust_code: bool = False, weights: checkpoint.Which = "auto"
) -> tuple[PretextModel, Recipe]:
    """The encoder and head of a checkpoint in evaluation mode, and the recipe that trained them.

    trust_code: Import the code that builds the encoder.
    weights: Which of the checkpoint's weights; auto takes their moving average if there is one.
    """
    recipe = _recipe(path, checkpoint.load_meta(path, "recipe"), trust_code)
    model = build_model(recipe.pretext, recipe.encoder, **recipe.train.built)
    checkpoint.load_into(model.encoder, path, "encoder", weights)
    checkpoint.load_into(model.head, path, "head", weights)
    return model.eval(), recipe


def untrained_model(recipe: Recipe) -> PretextModel:
    """The encoder and head with random weights of the recipe's seed, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.train.seed)
        return build_model(recipe.pretext, recipe.encoder, **recipe.train.built, new_weights=True).eval()


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run that is evaluated. If code builds its encoder, `load_run` was told to trust it.

    Attributes:
        folder: Folder of the run.
        path: The checkpoint that is evaluated.
        recipe: The recipe that trained it.
        meta: Contents of the checkpoint's meta.json.
        store: Shows the videos, at the size at which the run saw them. None shows them as they are decoded.
        weights: Which of the checkpoint's weights: "raw", or their moving average ("ema").
        keeps: Whether results, features and indexes are written into its folder. They are read from it all the same.
    """

    folder: Path
    path: Path
    recipe: Recipe
    meta: dict[str, Any]
    store: FrameStore | None = None
    weights: Literal["ema", "raw"] = "raw"
    keeps: bool = True

    @property
    def step(self) -> int:
        """Training step of the checkpoint."""
        return int(self.meta["step"])

    @property
    def trained_on(self) -> frozenset[str]:
        """Fingerprints of the videos that it was trained on, and of each set if it mixed several."""
        return fingerprints(self.meta)

    @property
    def begun_with(self) -> str:
        """What weights it began with: their path, or the name of an encoder whose folder has weights. Empty: random."""
        first = self.meta.get("init")
        if isinstance(first, dict):
            source = str(first.get("source"))
        else:
            source = self.recipe.init or (self.recipe.encoder if has_weights(self.recipe.encoder) else "")
        return source if source != "scratch" else ""

    def writing_to(self, out: Path | None) -> TrainedRun:
        """Returns the run as it is evaluated for a file: nothing else is written, so not into the run's folder either.

        None, for results in the run's folder, returns it as it is.
        """
        return self if out is None else replace(self, keeps=False)

    def encoders(self) -> dict[str, Encoder]:
        """The encoder of the checkpoint ("trained"), and one with random weights of the run's seed ("untrained")."""
        trained, _ = trained_encoder(self.path, trust_code=True, weights=self.weights)
        return {"trained": trained, "untrained": untrained_encoder(self.recipe)}


def load_run(
    run: Path,
    *,
    store: FrameStore | None = None,
    allow_outside: bool = False,
    trust_code: bool = False,
    weights: checkpoint.Which = "auto",
) -> TrainedRun:
    """Loads a run for evaluation.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        store: Frames are taken from this store and kept in it. Its size must be the run's. None keeps nothing; the
            results are the same.
        allow_outside: Accept links that lead out of the run's folder.
        trust_code: Import the code that builds the run's encoder, if it is module:function or file.py:function.
        weights: Which of the checkpoint's weights: "raw", those that were trained; "ema", their moving average; "auto"
            takes the average if the run kept one.

    Returns:
        The run.

    Raises:
        VidsslError: There is no checkpoint, it has no moving average and weights="ema", a link leads out of the run's
            folder, the store has another size, or code builds the encoder and is not trusted.
    """
    folder, path = checkpoint.locate(run, allow_outside=allow_outside)
    meta = checkpoint.load_meta(path, "recipe", "step", "data", "videos")
    recipe = _recipe(path, meta, trust_code)
    picked = checkpoint.pick_weights(path, weights)
    return TrainedRun(folder=folder, path=path, recipe=recipe, meta=meta, store=shown_by(recipe, store), weights=picked)


def shown_by(recipe: Recipe, store: FrameStore | None) -> FrameStore | None:
    """Returns what shows the videos to an encoder as its recipe did: `store`, or a store that keeps nothing.

    None stands for the videos as they are decoded.

    Raises:
        VidsslError: `store` shows them at another size.
    """
    if store is None:
        return None if recipe.store_size == "none" else FrameStore(None, parse_size(recipe.store_size))
    check_store_size(recipe, store.size)
    return store


def check_store_size(recipe: Recipe, size: Size) -> None:
    """Raises VidsslError if a store of this size shows other frames than the recipe."""
    fits = "native" if recipe.store_size == "none" else recipe.store_size  # both are frames as they are decoded
    if size != parse_size(fits):
        text = size if size == "native" else f"{size[0]}x{size[1]}"
        raise VidsslError(
            f"evaluate: store_size={text}: the recipe of the run has store_size={recipe.store_size}; "
            f"take a store of {fits}, or leave store out"
        )


MOST_CLIPS = 10_000  # of a video


@dataclass(frozen=True, kw_only=True)
class View(Settings, owner="evaluate"):
    """How videos are shown to the encoders.

    Args:
        clips: Clips per video (frames, if the encoder sees single frames), evenly spaced. Their features are averaged.
        layer: Name of the encoder's layer whose output is the feature, such as conv5, fc6 or stages.3. None takes the
            last map. A name that does not exist is answered by the list of all names.
        pool: How the output is pooled. avg: its mean over time, height and width; without a layer, the encoder's own
            feature. max: VCOP's 1x2x2 max pooling (9216 numbers for R3D's last map). map: its means within a grid of at
            most 2 x 4 x 4 cells, which keeps where and when something is seen. none: as it is (9216 numbers for
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

    def __post_init__(self) -> None:
        if not is_whole(self.clips, 1, MOST_CLIPS):
            raise VidsslError(f"clips={self.clips!r}: take a whole number from 1 to {MOST_CLIPS}")

    def of(self, recipe: Recipe, *, crops: Crops = "centre", store: FrameStore | None = None) -> Clips:
        """The clips for the encoder of a recipe.

        Args:
            recipe: The recipe. Its store_size is the size at which videos are shown, before they are resized.
            crops: Crops of each clip.
            store: Frames are taken from this store and kept in it. None keeps nothing; the clips are the same.

        Raises:
            VidsslError: The crop is larger than the videos are shown, or the store has another size.
        """
        plan, augment = recipe.pretext.plan, recipe.pretext.augment
        short = None if self.resize else augment.short_side
        crop = self.crop or augment.crop
        augment = replace(augment, resize=self.resize or augment.resize, short_side=short, crop=crop, region=None)
        check_crop(recipe, augment.crop)
        return Clips(
            count=self.clips,
            length=plan.times,
            stride=plan.stride,
            augment=augment,
            encode=recipe.pretext.encode,
            crops=crops,
            store=shown_by(recipe, store),
        )

    def notes(self, recipe: Recipe) -> tuple[str, ...]:
        """What a table of results does not show: which feature it is of, and at which size the encoder of a recipe sees
        the videos.
        """
        of = f"layer {self.layer}" if self.layer else "the last map" if self.pool != "avg" else ""
        feature = (f"Features: {of}, pool={self.pool}.",) if of else ()
        return (*feature, *size_notes(recipe, self.resize))


def check_crop(recipe: Recipe, crop: tuple[int, int]) -> None:
    """Raises VidsslError if a crop has more pixels, in height or width, than the recipe leaves of a video."""
    size = "native" if recipe.store_size == "none" else parse_size(recipe.store_size)
    if size != "native" and (crop[0] > size[0] or crop[1] > size[1]):
        raise VidsslError(
            f"evaluate: crop={crop}: the run sees its videos at {recipe.store_size} (its store_size); "
            "take a crop that is not larger"
        )


def size_notes(recipe: Recipe, resize: tuple[int, int] | None = None) -> tuple[str, ...]:
    """Says at which size videos are shown, if the recipe declares one. resize: (height, width) in pixels to which they
    are resized; None takes the recipe's.
    """
    if recipe.store_size in ("none", "native"):
        return ()
    augment = recipe.pretext.augment
    height, width = resize or augment.resize
    then = "" if parse_size(recipe.store_size) == (height, width) else f", and resized from there to {height}x{width}"
    if resize is None and augment.short_side is not None:
        then = f", and their shorter side is resized from there to {augment.short_side}"
    return (f"Videos are shown at {recipe.store_size}, the run's store_size{then}.",)


DEFAULT_VIEW = View()
