"""A cache of features on disk. Extracting them needs decoding and an encoder, and every evaluation of a checkpoint uses
the same ones.

A features file is a safetensors file with the tensor "feature" float [V, D] and, in its metadata, "paths": a JSON list
of V paths. Features from other programs are read from such files too.
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
from vidssl.evaluate.features import Clips, Features, described, extract
from vidssl.evaluate.layers import Pool
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
    """Features of the training videos and of the test videos, cached in RUN/features.

    Args:
        run: The run, whose folder has the cache; nothing is added to it unless `run.keeps`.
        data: The videos. With leave_group_out, all of them are both training and test videos.
        encoders: The encoders, by name.
        view: How the videos are shown to them.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: Show progress bars.

    Returns:
        Features of the training videos and of the test videos, one `Features` per encoder.

    Raises:
        VidsslError: No video is long enough; a video cannot be read; the view does not fit the run's store_size; the
            cache cannot be written.
    """
    clips, picked = view.of(run.recipe, store=run.store), pick_device(device)

    def of(index: VideoIndex) -> list[Features]:
        return extract_cached(
            output_path(run.folder, "features"),
            list(encoders.values()),
            index,
            clips,
            pool=view.pool,
            layer=view.layer,
            device=picked,
            progress=progress,
            keep=run.keeps,
        )

    train = of(data.train)
    return train, train if data.leave_group_out else of(data.test)


def extract_cached(
    folder: Path,
    encoders: Sequence[nn.Module],
    index: VideoIndex,
    clips: Clips,
    *,
    pool: Pool = "avg",
    layer: str | None = None,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    progress: bool = True,
    keep: bool = True,
) -> list[Features]:
    """Like `extract`, but reads features from `folder` if these weights have seen these clips of these videos before.

    Labels and groups are always those of the index. Without `keep`, nothing is written.
    """
    paths = [folder / f"{_key(encoder, index, clips, pool, layer)}.safetensors" for encoder in encoders]
    rows = index.usable(clips.extent)
    found = [read_features(path, index, rows) for path in paths]
    missing = [at for at, features in enumerate(found) if features is None]
    if missing:
        made = extract(
            [encoders[at] for at in missing],
            index,
            clips,
            pool=pool,
            layer=layer,
            device=device,
            workers=workers,
            progress=progress,
        )
        for at, features in zip(missing, made, strict=True):
            if keep:
                save_features(paths[at], features.feature, index.select(features.row).column("path").to_pylist())
            found[at] = features
    return [features for features in found if features is not None]


def save_features(path: Path, feature: torch.Tensor, paths: Sequence[str]) -> None:
    """Writes a features file. The write is atomic.

    Args:
        path: The file.
        feature: float [V, D].
        paths: Paths of the V videos.

    Raises:
        VidsslError: The file cannot be written.
    """
    try:
        with atomic_write(path) as aside:
            save_file(
                {"feature": feature.detach().cpu().float().contiguous()},
                aside,
                metadata={"paths": json.dumps(list(paths))},
            )
    except (OSError, SafetensorError) as error:
        raise VidsslError(
            f"evaluate: features cannot be written to {str(path.parent)!r} ({error}); free space, or make it writable"
        ) from error


def load_features(path: Path, index: VideoIndex) -> Features:
    """Reads the features of an index's videos from a features file.

    A video is found by its path, or else by the end of its path.

    Args:
        path: The file.
        index: The videos.

    Returns:
        Features of the usable videos of the index that the file names.

    Raises:
        VidsslError: It is not a features file, it names none of the videos, or it names one of them in two ways.
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
            f'{where} not a features file ({error}); write the tensor "feature" [V, D] with the metadata "paths", '
            "a JSON list of V paths"
        ) from error
    if not isinstance(names, list) or feature.dim() != 2 or len(names) != len(feature):
        count = len(names) if isinstance(names, list) else "no"
        raise VidsslError(
            f"{where} {count} paths in its metadata for a tensor {list(feature.shape)}; "
            'give "feature" [V, D] and V "paths"'
        )
    by_name = Names([str(name) for name in names], where.removesuffix(":"), part=lambda path: path.stem)
    rows, places = [], []
    usable = index.usable()
    for row, name in zip(usable.tolist(), index.select(usable).column("path").to_pylist(), strict=True):
        place = by_name.find(name)
        if place is not None:
            rows.append(row)
            places.append(place)
    if not rows:
        raise VidsslError(
            f"{where} names none of the {len(usable)} videos, such as {index.column('path')[0]}; "
            f"its first name is {names[:1]}; make the features from these videos"
        )
    return described(feature[places], index, np.array(rows, np.int64))


def _key(encoder: nn.Module, index: VideoIndex, clips: Clips, pool: Pool, layer: str | None) -> str:
    """Sixteen hexadecimal digits, a hash of everything that the features depend on."""
    # Native frames are those that are shown without a store.
    size = "" if clips.store is None or clips.store.size == "native" else f" {clips.store.size_text}"
    settings = (
        fingerprint(index),
        clips.count,
        clips.length,
        clips.stride,
        clips.augment,
        clips.crops,
        pool,
        layer,
        _name(clips.encode),
    )
    digest = hashlib.sha256(f"{settings}{size} {type(encoder).__module__}.{type(encoder).__qualname__}".encode())
    hash_weights(digest, encoder)
    return digest.hexdigest()[:16]


def hash_weights(digest: hashlib._Hash, encoder: nn.Module) -> None:
    """Adds the names, types, shapes and bytes of a network's tensors to a digest."""
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def text_key(*parts: object) -> str:
    """Sixteen hexadecimal digits, a hash of values that features depend on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _name(encode: Callable[[torch.Tensor], torch.Tensor] | None) -> str:
    """Identifies a function by its name and code, and a method also by the repr of its object."""
    if encode is None:
        return ""
    code = getattr(encode, "__code__", None)
    owner = getattr(encode, "__self__", "")
    name = getattr(encode, "__qualname__", repr(encode))
    return f"{encode.__module__}.{name} {owner!r} {code.co_code.hex() if code else ''}"


def read_features(path: Path, index: VideoIndex, rows: npt.NDArray[np.int64]) -> Features | None:
    """Features from the cache, or None if the file is missing, truncated or of other videos than these rows."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            paths, feature = json.loads((file.metadata() or {}).get("paths", "null")), file.get_tensor("feature")
    except (SafetensorError, OSError, ValueError):
        return None
    return described(feature, index, rows) if paths == index.select(rows).column("path").to_pylist() else None
