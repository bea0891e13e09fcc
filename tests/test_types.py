"""What callers give of a wrong type ends in a VidsslError, in every name that `vidssl` exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import vidssl
from vidssl import (
    Augment,
    FrameStore,
    Loader,
    Mixture,
    PlanSpec,
    VideoIndex,
    VidsslError,
    labelled_clips,
    masked_clips,
    tube_masks,
    two_views,
    views,
)

WRONG: list[Any] = [None, 2, -1, 1.5, float("nan"), "x", [1], (), {}, object(), True, np.zeros(2)]
SPEC = labelled_clips(16, augment=Augment(resize=(40, 40), crop=(32, 32)))
LOADER = "batch_size device decode seed rank world_size tuples_per_window dtype engine store max_corrupt"
CLIPS = {"length": 4, "stride": 1}


def one(function: Callable[..., object], name: str, *first: Any, **given: Any) -> Callable[[Any], object]:
    """A function of one argument of `function`; the others are given."""
    return lambda value: function(*first, **{**given, name: value})


def calls(index: VideoIndex, loader: Loader) -> dict[str, Callable[[Any], object]]:
    """One argument of each call, by its name."""
    state = loader.state_dict()

    def make_loader(**options: Any) -> None:
        made: dict[str, Any] = {"index": index, "pretext": SPEC, "batch_size": 2, "device": "cpu", "workers": 1}
        Loader(**{**made, **options}).close()

    functions: dict[Callable[..., PlanSpec | npt.NDArray[np.bool_]], tuple[dict[str, Any], str]] = {
        labelled_clips: (CLIPS, "length stride"),
        two_views: (CLIPS, "length stride window"),
        views: ({"count": 2, **CLIPS}, "count length stride window grid"),
        masked_clips: (CLIPS, "length stride masks"),
        tube_masks: ({"masks": 3, "size": (4, 4)}, "masks size hidden seed"),
    }
    found: dict[str, Callable[[Any], object]] = {
        "VideoIndex.build": lambda value: VideoIndex.build(value, progress=False),
        "VideoIndex.load": VideoIndex.load,
        "VideoIndex.save": index.save,
        "VideoIndex.column": index.column,
        "VideoIndex.usable": index.usable,
        "VideoIndex.select": index.select,
        "VideoIndex.video": index.video,
        "Mixture": Mixture,
        "Mixture.parts": lambda value: Mixture({"a": value}),
        "Mixture.weights": lambda value: Mixture({"a": index}, value),
        "FrameStore.folder": lambda value: FrameStore(value, (32, 32)),
        "FrameStore.size": lambda value: FrameStore("store", value),
        "Loader.index": lambda value: make_loader(index=value),
        "Loader.pretext": lambda value: make_loader(pretext=value),
        "Loader.load_state_dict": loader.load_state_dict,
        "Loader.set_epoch": loader.set_epoch,
        "load": vidssl.load,
    }
    found |= {f"Loader.{key}": one(make_loader, key) for key in LOADER.split()}
    build = {"root": index.root, "known": index, "progress": False}
    for key in ("journal", "known", "store", "stream", "workers", "frame_rate", "file_timeout"):
        found[f"VideoIndex.build.{key}"] = one(VideoIndex.build, key, **build)
    found |= {f"state.{key}": one(lambda **new: loader.load_state_dict(new), key, **state) for key in state}
    found |= {f"Augment.{field.name}": one(Augment, field.name) for field in fields(Augment)}
    found |= {f"PlanSpec.{field.name}": one(replace, field.name, SPEC) for field in fields(PlanSpec)}
    for function, (given, names) in functions.items():
        found |= {f"{function.__name__}.{key}": one(function, key, **given) for key in names.split()}
    return found


def test_wrong_types_end_in_an_error_of_vidssl(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "x" is a name of a file to some
    wrong = []
    with Loader(index, SPEC, batch_size=2, device="cpu", workers=1) as loader:
        for name, call in calls(index, loader).items():
            for value in WRONG:
                try:
                    call(value)
                except VidsslError:
                    continue
                except Exception as error:
                    wrong.append(f"{name}={value!r}: {type(error).__name__}: {error}")
    assert "\n".join(wrong) == ""
