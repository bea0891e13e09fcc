"""Several data sets as one index, each with a weight that says how often training shows its videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidssl.index.rows import check_row, check_rows
from vidssl.index.schema import SCHEMA, check_column
from vidssl.index.table import VideoIndex
from vidssl.paths import printable
from vidssl.remote.path import common_folder
from vidssl.types import VidsslError
from vidssl.video.decode import Video

_FILES = ("path", "archive")  # columns that are relative to the root


class _Sets(NamedTuple):
    """What a mixture and its selections share.

    Attributes:
        names: Of the data sets.
        weights: Of the data sets.
        whole: Their indexes.
        root: The deepest folder that holds the roots of all.
        below: Where the root of each is below it; "" for the folder itself.
        table: Their rows as they are in memory or mapped, with paths below the root of each.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    whole: tuple[VideoIndex, ...]
    root: Path
    below: tuple[str, ...]
    table: pa.Table


class Mixture(VideoIndex):
    """The videos of several data sets, one set after the other.

    It is used wherever an index is. Training shows the videos of a set in proportion to its weight
    (vidssl.loader.order); evaluation shows each video once. A class is its name: sets that both have a class "run"
    share it. `save` writes one index of all videos, without names of sets and weights.

    Args:
        parts: The index of each data set, by the name that errors and metrics give it; of a sequence, by its number.
        weights: Fraction of the videos shown that are of each set, up to a common factor; () is 1 for each.

    Attributes:
        names: Names of the data sets.
        weights: Their weights.
        part: int64 [len(self)], the number of the data set of each row.

    Raises:
        VidsslError: There are no sets, a weight is not a finite number > 0, or two sets share a video, which could then
            be shown in training and held out at the same time.
    """

    def __init__(self, parts: Mapping[str, VideoIndex] | Sequence[VideoIndex], weights: Sequence[float] = ()) -> None:
        parts, weights = _checked(parts, weights)
        whole = tuple(parts.values())
        roots = [part.root.resolve() for part in whole]
        root = common_folder([str(one) for one in roots], f"data={[str(one) for one in roots]!r}")
        below = tuple("" if one == root else one.relative_to(root).as_posix() for one in roots)
        counts = [len(part) for part in whole]
        table = pa.concat_tables([part._table for part in whole], promote_options="default")
        self._fill(
            _Sets(tuple(parts), tuple(map(float, weights)), whole, root, below, table),
            np.repeat(np.arange(len(whole)), counts),
            np.concatenate([np.arange(count) for count in counts]),
        )
        self.read, self.listed = sum(part.read for part in whole), any(part.listed for part in whole)
        self.notes = [f"{name}: {note}" for name, part in parts.items() for note in part.notes]
        _check_disjoint(self)

    def _fill(self, sets: _Sets, part: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> None:
        self._sets, self._table, self.part, self._row = sets, sets.table, part, row
        self.names, self.weights, self.root, self.source = sets.names, sets.weights, sets.root, None
        self.read, self.listed, self.notes, self._whole = 0, False, [], None
        # Rows in the order of their sets, and where each row is in that order; None if this is the order they have.
        ordered = bool((np.diff(part) >= 0).all())
        self._order = None if ordered else np.argsort(part, kind="stable")
        self._frames = np.asarray(self.column("frames").to_numpy(), np.int64)
        self._ok = np.asarray(pc.equal(self.column("status"), "ok").to_numpy(), bool)

    @cached_property
    def parts(self) -> tuple[VideoIndex, ...]:
        """The rows of each data set, as an index of this set alone."""
        return tuple(one.select(self._row[self.part == number]) for number, one in enumerate(self._sets.whole))

    @property
    def named_parts(self) -> list[tuple[str, VideoIndex, npt.NDArray[np.int64]]]:
        """The name of each data set, the index of its rows, and int64 [N]: where these are in the mixture."""
        places = [np.flatnonzero(self.part == number) for number in range(len(self.names))]
        return list(zip(self.names, self.parts, places, strict=True))

    def _column(self, number: int, name: str) -> pa.ChunkedArray:
        """A column of the rows of a set; names of files are relative to the root of the mixture."""
        found, below = self.parts[number].column(name), self._sets.below[number]
        return pc.binary_join_element_wise(below, found, "/") if below and name in _FILES else found

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of SCHEMA, for all rows, as VideoIndex.column."""
        check_column(name)
        chunks = [chunk for number in range(len(self.names)) for chunk in self._column(number, name).chunks]
        found = pa.chunked_array(chunks, SCHEMA.field(name).type)
        return found if self._order is None else found.take(pa.array(np.argsort(self._order)))

    @property
    def table(self) -> pa.Table:
        """All columns of all rows."""
        return pa.table([self.column(name) for name in SCHEMA.names], schema=SCHEMA)

    def select(self, rows: npt.ArrayLike) -> Mixture:
        """Return a mixture of the given rows, in the given order, as VideoIndex.select does. Mapped tables stay so."""
        chosen = check_rows(rows, len(self), "Mixture.select")
        found = Mixture.__new__(Mixture)
        found._fill(self._sets, self.part[chosen], self._row[chosen])
        found._whole = self if self._whole is None else self._whole
        return found

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {len(part)}" for name, part in zip(self.names, self.parts, strict=True))
        return f"Mixture({len(self)} videos in {str(self.root)!r}: {counts})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows, not the mapped files, and for a part the classes of the whole."""
        order = np.arange(len(self)) if self._order is None else np.argsort(self._order)
        classes = None if self._whole is None else {"classes": self.classes}
        return _restore, (dict(zip(self.names, self.parts, strict=True)), self.weights, order), classes

    def video(self, row: int) -> Video:
        """Return what decoding needs for a row.

        Raises:
            VidsslError: The row does not exist, is damaged, or cannot be used.
        """
        return self._of("video", row).video(int(self._row[row]))

    def row(self, row: int) -> dict[str, Any]:
        """Return all columns of a row by name, also of a video that cannot be used.

        Raises:
            VidsslError: The row does not exist or is damaged.
        """
        values, below = self._of("row", row).row(int(self._row[row])), self._sets.below[int(self.part[row])]
        return {name: f"{below}/{one}" if below and one and name in _FILES else one for name, one in values.items()}

    def motion(self, row: int) -> npt.NDArray[np.uint16]:
        """How much the picture of a row changes from frame to frame, as VideoIndex.motion says."""
        return self._of("motion", row).motion(int(self._row[row]))

    def _of(self, method: str, row: int) -> VideoIndex:
        """The whole data set of a row."""
        return self._sets.whole[int(self.part[check_row(row, len(self), f"Mixture.{method}")])]


def _restore(parts: dict[str, VideoIndex], weights: tuple[float, ...], rows: npt.NDArray[np.int64]) -> Mixture:
    return Mixture(parts, weights).select(rows)


def _checked(
    parts: Mapping[str, VideoIndex] | Sequence[VideoIndex], weights: Sequence[float]
) -> tuple[dict[str, VideoIndex], tuple[float, ...]]:
    """The data sets by name, and a weight for each. Raises VidsslError if these cannot be those of a mixture."""
    if isinstance(parts, list | tuple):
        parts = {str(number): part for number, part in enumerate(parts)}
    if not isinstance(parts, Mapping) or not parts:
        raise VidsslError(f"Mixture: parts={parts!r}: take the index of at least one data set, by name, or a list")
    try:
        weights = tuple(weights) or (1.0,) * len(parts)
    except TypeError as error:
        raise VidsslError(f"Mixture: weights={weights!r}: take one for each data set, or ()") from error
    for name, part in parts.items():
        if not isinstance(name, str) or not name:
            raise VidsslError(f"Mixture: parts: {name!r}: take a name for each data set")
        if not isinstance(part, VideoIndex) or isinstance(part, Mixture):
            raise VidsslError(f"Mixture: parts[{name!r}]={part!r}: take a VideoIndex that is no Mixture")
    if len(weights) != len(parts):
        raise VidsslError(f"Mixture: weights={weights!r}: take one for each of the {len(parts)} data sets, or ()")
    for name, weight in zip(parts, weights, strict=True):
        if not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise VidsslError(f"Mixture: weights: {name!r} has {weight!r}: take a finite number > 0")
    return dict(parts), weights


def _check_disjoint(mixture: Mixture) -> None:
    """Raises VidsslError if two sets have the same video."""
    paths = mixture.column("path").combine_chunks()
    for number, name in enumerate(mixture.names):
        mine, earlier = (paths.filter(pa.array(some)) for some in (mixture.part == number, mixture.part < number))
        both = mine.filter(pc.is_in(mine, value_set=earlier))
        if len(both):
            one = both[0].as_py()
            other = mixture.names[mixture.part[paths.index(one).as_py()]]
            raise VidsslError(
                f"Mixture: parts: {len(both)} videos of {name!r} are in earlier sets too, such as {printable(one)} in "
                f"{other!r}; remove them from one of the two"
            )
