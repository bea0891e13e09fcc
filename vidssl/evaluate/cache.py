"""Features kept on disk: extracting them is decoding and an encoder's pass, and every evaluation of a checkpoint wants
the same ones.

A file is a safetensors file with the tensor "feature" float [V, D] and, in its metadata, "paths": a JSON list of V
paths. Features that were made elsewhere are read from such files too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from vidssl.device import pick_device
from vidssl.evaluate.features import Clips, Features, Pool, described, extract
from vidssl.evaluate.run import TrainedRun, View
from vidssl.evaluate.splits import Splits
from vidssl.index.holdout import fingerprint
from vidssl.index.names import Names
from vidssl.index.table import VideoIndex
from vidssl.paths import atomic_write, output_path
from vidssl.types import VidsslError


def run_features(
    run: TrainedRun,
    data: Splits,
    encoders: Mapping[str, nn.Module],
    view: View,
    *,
    device: str = "auto",
    progress: bool = True,
) -> tuple[list[Features], list[Features]]:
    """Features of the known and of the asked videos, for each encoder, kept in RUN/features. Where all are asked, they
    are the same.
    """
    clips, picked = view.of(run.recipe), pick_device(device)

    def of(index: VideoIndex) -> list[Features]:
        return extract_cached(
            output_path(run.folder, "features"),
            list(encoders.values()),
            index,
            clips,
            pool=view.pool,
            device=picked,
            progress=progress,
        )

    known = of(data.train)
    return known, known if data.leave_group_out else of(data.test)


def extract_cached(
    folder: Path,
    encoders: Sequence[nn.Module],
    index: VideoIndex,
    clips: Clips,
    *,
    pool: Pool = "mean",
    device: torch.device | str = "cpu",
    workers: int | None = None,
    progress: bool = True,
) -> list[Features]:
    """`extract`, from `folder` where these weights have seen these clips of these videos before. Labels and groups are
    the index's.
    """
    paths = [folder / f"{_key(encoder, index, clips, pool)}.safetensors" for encoder in encoders]
    rows = index.usable(clips.extent)
    found = [_read(path, index, rows) for path in paths]
    missing = [at for at, features in enumerate(found) if features is None]
    if missing:
        made = extract(
            [encoders[at] for at in missing], index, clips, pool=pool, device=device, workers=workers, progress=progress
        )
        for at, features in zip(missing, made, strict=True):
            save_features(paths[at], features.feature, index.select(features.row).column("path").to_pylist())
            found[at] = features
    return [features for features in found if features is not None]


def save_features(path: Path, feature: torch.Tensor, paths: Sequence[str]) -> None:
    """Write a features file; it appears whole or not at all. feature: [V, D]; paths: V of them."""
    try:
        with atomic_write(path) as aside:
            save_file(
                {"feature": feature.detach().cpu().float().contiguous()},
                aside,
                metadata={"paths": json.dumps(list(paths))},
            )
    except (OSError, SafetensorError) as error:
        raise VidsslError(
            f"evaluate: features cannot be kept in {str(path.parent)!r} ({error}); make room, or make it writable"
        ) from error


def load_features(path: Path, index: VideoIndex) -> Features:
    """Features from a file, for the usable videos of an index that it names, by their paths or else by the ends of
    them.

    Raises VidsslError where the file is not one of features, or names none of the videos, or one of them in two ways.
    """
    where = f"features={str(path)!r}:"
    try:
        with safe_open(path, "pt") as file:
            names, feature = (
                json.loads((file.metadata() or {}).get("paths", "null")),
                file.get_tensor("feature").float(),
            )
    except (SafetensorError, OSError, ValueError) as error:
        raise VidsslError(
            f'{where} not a features file ({error}); write the tensor "feature" [V, D] with the metadata "paths", a JSON list of V paths'
        ) from error
    if not isinstance(names, list) or feature.dim() != 2 or len(names) != len(feature):
        count = len(names) if isinstance(names, list) else "no"
        raise VidsslError(
            f'{where} {count} paths in its metadata for a tensor {list(feature.shape)}; give "feature" [V, D] and V "paths"'
        )
    known = Names([str(name) for name in names], where.removesuffix(":"), part=lambda path: path.stem)
    rows, places = [], []
    usable = index.usable()
    for row, name in zip(usable.tolist(), index.select(usable).column("path").to_pylist(), strict=True):
        place = known.find(name)
        if place is not None:
            rows.append(row)
            places.append(place)
    if not rows:
        raise VidsslError(
            f"{where} names none of the {len(usable)} videos, such as {index.column('path')[0]}; its first is {names[:1]}"
        )
    return described(feature[places], index, np.array(rows, np.int64))


def _key(encoder: nn.Module, index: VideoIndex, clips: Clips, pool: Pool) -> str:
    """Sixteen hex digits of all that features depend on."""
    said = (
        fingerprint(index),
        clips.count,
        clips.length,
        clips.stride,
        clips.augment,
        clips.crops,
        pool,
        _name(clips.encode),
    )
    digest = hashlib.sha256(f"{said} {type(encoder).__module__}.{type(encoder).__qualname__}".encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _name(encode: Callable[[torch.Tensor], torch.Tensor] | None) -> str:
    """What a function does, as far as can be said: its name and its code; of a method, its owner's settings."""
    if encode is None:
        return ""
    code = getattr(encode, "__code__", None)
    owner = getattr(encode, "__self__", "")
    return f"{encode.__module__}.{getattr(encode, '__qualname__', repr(encode))} {owner!r} {code.co_code.hex() if code else ''}"


def _read(path: Path, index: VideoIndex, rows: npt.NDArray[np.int64]) -> Features | None:
    """None where the file is not there, cut off, or of other videos after all."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            paths, feature = json.loads((file.metadata() or {}).get("paths", "null")), file.get_tensor("feature")
    except (SafetensorError, OSError, ValueError):
        return None
    return described(feature, index, rows) if paths == index.select(rows).column("path").to_pylist() else None
