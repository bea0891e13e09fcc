"""A trained encoder with its preprocessing: from a video's path, or its frames, to its feature."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from vidssl.device import pick_device
from vidssl.evaluate.features import Features, extract
from vidssl.evaluate.layers import Pool, pooled
from vidssl.evaluate.run import View, load_run, trained_encoder
from vidssl.files import parse_json
from vidssl.index.frames import find_frames
from vidssl.index.lists import write_list
from vidssl.index.table import VideoIndex
from vidssl.models import Encoder
from vidssl.paths import input_path
from vidssl.pretext import build_encoder
from vidssl.remote import as_path
from vidssl.train.checkpoint import Which, written_by
from vidssl.train.config import Recipe, recipe_from
from vidssl.train.init import EXPORTED
from vidssl.types import Array, Frames, VidsslError, as_frames

CARD, WEIGHTS = EXPORTED  # the files of an export
Source = str | os.PathLike[str] | Frames | Array


@dataclass(frozen=True, kw_only=True)
class TrainedEncoder:
    """An encoder in evaluation mode, and how videos are shown to it.

    Attributes:
        encoder: The encoder. Its input is float32 [N, C, T, H, W], see `preprocess`; its output is [N, features].
        recipe: The recipe that trained it.
        step: Training step of the checkpoint.
        weights: "raw" for the weights that were trained, "ema" for their moving average.
    """

    encoder: Encoder
    recipe: Recipe
    step: int
    weights: str = "raw"

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.recipe.pretext.plan.times

    @property
    def stride(self) -> int:
        """Distance of a clip's frames, in frames of the video."""
        return self.recipe.pretext.plan.stride

    @property
    def extent(self) -> int:
        """Frames that a clip spans, which a video must have at least."""
        return View().of(self.recipe).extent

    @property
    def resize(self) -> tuple[int, int] | int:
        """(height, width) in pixels to which a picture is resized; or the length of its shorter side, if the aspect
        ratio is kept.
        """
        augment = self.recipe.pretext.augment
        return augment.resize if augment.short_side is None else augment.short_side

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the crop from the centre of the resized picture."""
        return self.recipe.pretext.augment.crop

    @property
    def mean(self) -> tuple[float, float, float]:
        """Subtracted from red, green and blue in 0..1."""
        return self.recipe.pretext.augment.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """By which the difference to `mean` is divided."""
        return self.recipe.pretext.augment.std

    def preprocess(self, source: Source, *, clips: int = 10) -> torch.Tensor:
        """Make the encoder's input of one video.

        Args:
            source: Path of a video file, or of a folder of frames. Or its frames in order: an array uint8 [F, H, W, 3]
                (RGB) on the CPU of numpy, torch or any library with DLPack, or `Frames`. An array is resized straight
                to `resize`; a file is reduced to the recipe's store_size before that, if it has one, which changes few
                grey levels.
            clips: Clips of the video, evenly spaced from its first frame to its last.

        Returns:
            float32 [clips, C, T, H, W] on the CPU.

        Raises:
            VidsslError: The file cannot be used, or the video has too few frames for one clip.
        """
        shown = View(clips=clips).of(self.recipe)
        if isinstance(source, (str, os.PathLike)):
            index = _index([Path(source)], shown.extent)
            return shown.read(index.video(0))
        found = _bytes(as_frames(source, "source"))
        if len(found.data) < shown.extent:
            raise VidsslError(f"source has {len(found.data)} frames: a clip spans {shown.extent}; pass as many")
        return shown.of_frames(found)

    @torch.no_grad()
    def features(
        self,
        source: Source | Iterable[Source],
        *,
        clips: int = 10,
        layer: str | None = None,
        pool: Pool = "avg",
        device: str = "auto",
        workers: int | None = None,
        progress: bool = False,
    ) -> torch.Tensor:
        """Compute the features of one video or of several.

        Args:
            source: As for `preprocess`, or several of these: all paths, or all frames.
            clips: Clips of a video, over which its feature is the mean.
            layer: Name of the layer whose output is the feature; None takes the encoder's own feature.
            pool: How a layer's output is pooled, see vidssl.evaluate.layers.pooled.
            device: "auto", "cpu", "cuda" or "cuda:N".
            workers: Threads that read and decode files; None takes one per processor core.
            progress: Show a progress bar.

        Returns:
            float32 [D] for one video, [V, D] for V of them, in their order, on the CPU.

        Raises:
            VidsslError: A file cannot be used, or a video has too few frames for one clip.
        """
        if isinstance(source, (str, os.PathLike)):
            return self.features(
                [source], clips=clips, layer=layer, pool=pool, device=device, workers=workers, progress=progress
            )[0]
        if isinstance(source, Frames) or hasattr(source, "__dlpack__"):
            picked, views = pick_device(device), self.preprocess(source, clips=clips)
            return pooled(self.encoder.to(picked).eval(), views.to(picked), pool, layer).float().mean(0).cpu()
        if not isinstance(source, Iterable):
            raise VidsslError(f"source is a {type(source).__name__}: pass a path, several paths, or frames")
        sources = list(source)
        if sources and not any(isinstance(one, (str, os.PathLike)) for one in sources):
            for at, one in enumerate(sources):
                if not (isinstance(one, Frames) or hasattr(one, "__dlpack__")):
                    raise VidsslError(f"source[{at}] is a {type(one).__name__}: pass paths, or frames of videos")
            return torch.stack(
                [self.features(one, clips=clips, layer=layer, pool=pool, device=device) for one in sources]
            )
        paths = []
        for at, one in enumerate(sources):
            if not isinstance(one, (str, os.PathLike)):
                raise VidsslError(f"source[{at}] is a {type(one).__name__}: pass paths alone, or frames alone")
            paths.append(Path(one))
        index = _index(paths, self.extent, workers=workers, progress=progress)
        return self.extract(
            index, clips=clips, layer=layer, pool=pool, device=device, workers=workers, progress=progress
        ).feature

    def extract(
        self,
        index: VideoIndex,
        *,
        clips: int = 10,
        layer: str | None = None,
        pool: Pool = "avg",
        device: str = "auto",
        workers: int | None = None,
        progress: bool = True,
    ) -> Features:
        """Compute the features of all usable videos of an index that are long enough for a clip.

        Arguments as for `features`.

        Returns:
            Their features, labels, groups and rows.

        Raises:
            VidsslError: No video is long enough, or one cannot be read.
        """
        (found,) = extract(
            [self.encoder],
            index,
            View(clips=clips).of(self.recipe),
            pool=pool,
            layer=layer,
            device=pick_device(device),
            workers=workers,
            progress=progress,
        )
        return found


def load(
    path: str | os.PathLike[str], *, allow_outside: bool = False, trust_code: bool = False, weights: Which = "auto"
) -> TrainedEncoder:
    """Load a trained encoder with its preprocessing.

    Args:
        path: Folder of a run, whose latest checkpoint is taken; one of its checkpoints; or a folder that
            `vidssl export` wrote, or the encoder.safetensors in it.
        allow_outside: Accept links that lead out of the folder.
        trust_code: Import the code that builds the encoder, if it was trained as module:function or file.py:function.
        weights: Which of a checkpoint's weights: "raw", those that were trained; "ema", their moving average; "auto"
            takes the average if the run kept one. An export holds one of them.

    Raises:
        VidsslError: It is none of these, or damaged, or code builds the encoder and is not trusted.
    """
    given = as_path(path, "path")
    if is_export(given):
        file = given if given.is_file() else given / WEIGHTS
        found = _load_export(input_path(file.parent, file.name, allow_outside=allow_outside), trust_code)
        if weights not in ("auto", found.weights):
            raise VidsslError(
                f"path={str(path)!r}: weights={weights!r}: this export holds the {found.weights} ones; leave weights "
                "out, or export the run again with them"
            )
        return found
    run = load_run(given, allow_outside=allow_outside, trust_code=trust_code, weights=weights)
    encoder, recipe = trained_encoder(run.path, trust_code=trust_code, weights=run.weights)
    return TrainedEncoder(encoder=encoder.eval(), recipe=recipe, step=run.step, weights=run.weights)


def is_export(path: Path) -> bool:
    """Whether a path is a folder that `export` wrote, or a file of weights."""
    return (path / CARD).is_file() or (path.suffix == ".safetensors" and path.is_file())


def _load_export(path: Path, trust_code: bool) -> TrainedEncoder:
    try:
        with safe_open(path, "pt") as file:
            about: Any = parse_json((file.metadata() or {}).get("vidssl", "null"))
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise VidsslError(f"path={str(path)!r}: it cannot be read ({error}); export the encoder again") from error
    if not isinstance(about, dict) or not isinstance(about.get("recipe"), dict) or type(about.get("step")) is not int:
        raise VidsslError(
            f"path={str(path)!r}: it does not say which encoder these weights are of; name a run, or a file that "
            "`vidssl export` wrote"
        )
    where = f"path={str(path)!r}"
    recipe = recipe_from(about["recipe"], where=where, versions=about.get("versions"), trust_code=trust_code)
    encoder = build_encoder(recipe.encoder, recipe.pretext.input, **recipe.train.built)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise VidsslError(
            f"{where}: not the weights of {recipe.encoder} ({why})"
            f"{written_by(about.get('versions'), ', but written by ')}; export it again"
        ) from error
    weights = str(about.get("weights", "raw"))
    return TrainedEncoder(encoder=encoder.eval(), recipe=recipe, step=about["step"], weights=weights)


def described(trained: TrainedEncoder) -> dict[str, Any]:
    """What `load` needs beside the weights, as values of JSON."""
    recipe: dict[str, Any] = json.loads(json.dumps(trained.recipe.as_dict()))
    return {"recipe": recipe, "step": trained.step, "weights": trained.weights}


def _bytes(frames: Frames) -> Frames:
    """Returns the frames. Raises VidsslError if their values are not bytes."""
    kind = str(getattr(frames.data, "dtype", "uint8")).removeprefix("torch.")
    if kind != "uint8":
        raise VidsslError(
            f"source is {kind}: frames are uint8, from 0 to 255; pass x.astype('uint8') of values that are whole, and "
            "(255 * x).round().astype('uint8') of values from 0 to 1 (torch: .to(torch.uint8))"
        )
    return frames


def _index(paths: list[Path], frames: int, *, workers: int | None = None, progress: bool = False) -> VideoIndex:
    """An index whose rows are the files of `paths`, in their order, all of at least `frames` frames."""
    for path in paths:
        if not path.is_file() and not (path.is_dir() and find_frames(path, os.listdir(path), least=1)):
            what = (
                "a folder without frames; `vidssl features` takes a folder of videos, or pass the paths in it"
                if path.is_dir()
                else "no such file"
            )
            raise VidsslError(f"source={str(path)!r}: {what}")
    if not paths:
        raise VidsslError("source=[]: pass at least one path")
    real = [Path(os.path.realpath(path)) for path in paths]
    with tempfile.TemporaryDirectory(prefix="vidssl-") as folder:
        named = Path(folder, "videos.csv")
        write_list(named, [(str(path), None, None) for path in dict.fromkeys(real)])
        index = VideoIndex.build(named, workers=workers, progress=progress)
    rows = {index.root / name: row for row, name in enumerate(index.column("path").to_pylist())}
    chosen = index.select([rows[path] for path in real])
    for name, reason in chosen.skipped(frames):
        raise VidsslError(f"source={str(chosen.root / name)!r}: it cannot be used: {reason}; leave it out")
    return chosen
