"""What the sequence of a loader's batches depends on, and whether a saved state is of the same sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidssl.index.holdout import fingerprint
from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import Spec
from vidssl.loader.sampler import Sampler
from vidssl.types import VidsslError

_MAY_LACK = ("files", "windows")  # states of earlier versions do


def sequence(index: VideoIndex, spec: Spec, sampler: Sampler, **settings: object) -> dict[str, Any]:
    """Returns what the batches depend on by name, as plain values, which JSON gives back as they are.

    It takes a second for a million videos.

    Args:
        index: The videos.
        spec: The task's table, or those of several.
        sampler: Chooses the windows.
        settings: What the loader adds to these.
    """
    table = hashlib.sha256()
    for part in spec.parts:
        table.update(part.text.encode() + part.arrangements.tobytes() + part.labels.tobytes())
    found = {
        "videos": hashlib.sha256(sampler.rows.tobytes() + sampler.frames.tobytes()).hexdigest()[:16],
        "files": _digest(index.select(sampler.rows)),
        "shares": [share[1:] for share in sampler.mixed] or None,
        "pretext": table.hexdigest()[:16],
        "window": spec.window or sampler.span,
        "windows": spec.windows if sampler.train else None,  # evaluation shows the middle
        "seed": sampler.seed,
        "tuples_per_window": sampler.tuples,
        "train": sampler.train,
    }
    return {name: plain(value) for name, value in (found | settings).items()}


def differences(then: Mapping[str, Any], now: Mapping[str, Any], videos: int) -> list[str]:
    """Says what differs between a saved sequence and this one, for a message. videos: Number of usable videos now."""
    load = "load the one of then, which VideoIndex.save keeps"
    said = {  # in the place of digests, which nobody can restore
        "videos": f"videos: the index is another one, now with {videos} usable videos; {load}",
        "files": f"files: the index is of other videos, or of other versions of them; {load}",
        "pretext": "pretext: the table of the task is another one",
    }
    return [
        said.get(name, f"{name}: {then.get(name)} then, {value} now")
        for name, value in now.items()
        if plain(then.get(name)) != value and not (name in _MAY_LACK and None in (then.get(name), value))
    ]


def _digest(index: VideoIndex) -> str | None:
    """Sixteen digits of the paths, sizes and numbers of frames; None if the index is damaged, which the loader reports
    as corrupt videos.
    """
    found = hashlib.sha256()
    try:
        for _, videos, _ in index.named_parts:  # without their weights: the shares decide
            found.update(fingerprint(videos).encode())
    except VidsslError:
        return None
    return found.hexdigest()[:16]


def plain(value: Any) -> Any:
    """Returns a value as JSON gives it back: tuples are lists, and numpy's numbers are Python's."""
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
