"""Held-out videos: a pure function of paths and seed, whole groups only."""

import hashlib

import numpy as np
import pytest

from vidssl.index import holdout
from vidssl.index.holdout import fingerprint, hold_out, split
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError


def _paths(index: VideoIndex) -> set[str]:
    return set(index.table["path"].to_pylist())


def test_parts_are_disjoint_and_complete(index: VideoIndex) -> None:
    train, held = split(index, 0.34, seed=1, span=28)
    assert _paths(train) | _paths(held) == _paths(index)
    assert not _paths(train) & _paths(held)
    assert len(held) == 3
    assert "a/short.avi" in _paths(train)  # where it is counted as skipped


def test_the_split_depends_on_seed_alone(index: VideoIndex) -> None:
    assert _paths(split(index, 0.34, seed=1, span=28)[1]) == _paths(split(index, 0.34, seed=1, span=28)[1])
    assert len({frozenset(_paths(split(index, 0.34, seed=seed, span=28)[1])) for seed in range(8)}) > 1


def test_groups_stay_together(index: VideoIndex) -> None:
    for seed in range(5):
        train, held = split(index, 0.3, seed=seed, group=r"_g\d", span=28)
        groups = [{path[-6:-4] for path in _paths(part) if "_g" in path} for part in (train, held)]
        assert len(groups[1]) == 1
        assert not groups[0] & groups[1]


def test_nothing_is_held_out_on_request(index: VideoIndex) -> None:
    train, held = split(index, 0, seed=1)
    assert (len(train), len(held)) == (len(index), 0)


@pytest.mark.parametrize(
    ("group", "named"),
    [("(", "not a regular expression"), ("person", "matches none"), ("avi", "a held-out set needs two")],
)
def test_wrong_groups_are_named(group: str, named: str, index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match=named):
        split(index, 0.3, seed=1, group=group, span=28)


def test_fingerprint_sees_the_videos_not_where_they_lie(index: VideoIndex) -> None:
    assert fingerprint(index) == fingerprint(VideoIndex(index.table, index.root.parent))
    assert fingerprint(index) != fingerprint(VideoIndex(index.table.slice(1), index.root))


@pytest.mark.parametrize("fraction", [0, 0.01, 0.1, 0.5, 0.99])
def test_groups_are_held_out_in_the_order_of_their_digests(fraction: float) -> None:
    """The definition, group by group; runs hold out the same videos whatever computes it."""
    groups = [f"g{number * number % 37}" for number in range(300)]
    for seed in range(5):
        held: list[int] = []
        names = sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
        for name in names[:-1]:
            mine = [item for item, group in enumerate(groups) if group == name]
            if len(held) + len(mine) / 2 > fraction * len(groups) and (held or fraction == 0):
                break
            held += mine
        assert hold_out(groups, fraction, seed=seed).tolist() == sorted(held)
    assert hold_out([], fraction, seed=0).tolist() == []
    assert hold_out(["only"], fraction, seed=0).tolist() == []


def test_the_fingerprint_is_of_all_rows_however_many_are_read_at_once(
    index: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [index.column(name).to_pylist() for name in ("path", "bytes", "frames", "status")]
    text = "\n".join(map(repr, zip(*columns, strict=True)))
    whole = hashlib.sha256(text.encode()).hexdigest()[:16]
    for rows in (2**14, 3, 1):
        monkeypatch.setattr(holdout, "_ROWS", rows)
        assert fingerprint(index) == whole
    assert fingerprint(index.select(np.zeros(0, np.int64))) == hashlib.sha256(b"").hexdigest()[:16]
