"""What a run is trained on: data sets with weights, as a command names them and as the run records them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vidssl.index.holdout import fingerprint
from vidssl.index.mixture import Mixture
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.remote import as_path
from vidssl.remote.path import is_url
from vidssl.types import VidsslError

_WEIGHTED = re.compile(r"(?P<path>.+):(?P<weight>[^:/]+)", re.DOTALL)

_SERVER = re.compile(r"https?://[^/:]+")


class DataSet(NamedTuple):
    """A data set among others.

    Attributes:
        path: A folder of videos, a list of them, or an index.
        weight: How often its videos are shown, beside those of the others.
    """

    path: Path
    weight: float = 1.0


def parse_data(texts: Sequence[str]) -> tuple[DataSet, ...]:
    """Reads data sets, each PATH or PATH:WEIGHT. A file or folder that is there and has the whole name is a PATH.

    Raises:
        VidsslError: A weight is not a finite number > 0, a text could mean two things, or a data set is named twice.
    """
    found = tuple(map(_parse, texts))
    seen: set[str] = set()
    for one in found:
        real = os.path.realpath(one.path)
        if real in seen:
            raise VidsslError(f"data={str(one.path)!r}: named twice; name it once, with the weight that it should have")
        seen.add(real)
    return found


def _parse(text: str) -> DataSet:
    matched = _WEIGHTED.fullmatch(text)
    if matched is not None and _SERVER.fullmatch(matched["path"]):  # then a port follows, and no weight
        matched = None
    try:
        weight = float(matched["weight"]) if matched else None
    except ValueError:
        weight = None
    if matched is None or weight is None:
        return DataSet(as_path(text))
    path = as_path(matched["path"])
    if not is_url(text) and Path(text).exists():
        if path.exists():
            raise VidsslError(
                f"data={text!r}: {str(path)!r} and {text!r} are both there; write '{text}:1' for the second, or rename "
                "it"
            )
        return DataSet(Path(text))
    if not 0 < weight < math.inf:
        raise VidsslError(f"data={text!r}: weight {matched['weight']}: take a finite number > 0, as in {path}:2")
    return DataSet(path, weight)


def names_of(sets: Sequence[DataSet]) -> list[str]:
    """Returns a short name for each data set: that of its file or folder, or its whole path if two have the same."""
    places = [Path(os.path.abspath(one.path)) for one in sets]
    names = [place.name if place.is_dir() else place.stem for place in places]
    return names if len({*names} - {""}) == len(names) else [str(one.path) for one in sets]


def describe(index: VideoIndex) -> dict[str, Any]:
    """Returns what run.json says of the videos: their number and fingerprint, and those of each set of a mixture."""
    found: dict[str, Any] = {"data": fingerprint(index), "videos": len(index)}
    if isinstance(index, Mixture):
        found["data_sets"] = {
            name: f"weight {weight:g}, {len(part)} videos, fingerprint {fingerprint(part)}"
            for name, weight, part in zip(index.names, index.weights, index.parts, strict=True)
        }
    return found


def describe_sets(about: Mapping[str, Any]) -> dict[str, str]:
    """Returns a text for the videos that a run.json describes: under "data", or under "data NAME" for each set."""
    if "data_sets" in about:
        return {f"data {name}": str(text) for name, text in about["data_sets"].items()}
    return {"data": f"{about['videos']} videos, fingerprint {about['data']}"}


def fingerprints(about: Mapping[str, Any]) -> frozenset[str]:
    """Returns the fingerprints of the videos that a run.json describes, and of each set if it mixed several.

    The videos of each set are held out as they are where it is split alone.
    """
    sets = about.get("data_sets", {}).values()
    return frozenset({str(about["data"]), *(str(text).rpartition("fingerprint ")[2] for text in sets)})


def shares(loader: Loader) -> list[str]:
    """Returns a line for people for each data set that a loader mixes."""
    mixed = loader.sampler.mixed
    places = sum(share.places for share in mixed)
    return [
        f"  {name}: {videos} videos, {count} of {places} windows in an epoch ({count / places:.1%}), so each "
        f"{count / videos:.3g} times"
        for name, videos, count in mixed
    ]
