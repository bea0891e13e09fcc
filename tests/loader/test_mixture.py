"""Batches of several data sets: shares by weight, the same for all ranks and workers, and resumed bit for bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clips import make_clip
from tests.loader.test_methods import SMALL
from vidssl import Loader, Mixture, VideoIndex, VidsslError
from vidssl.pretext import Vcop
from vidssl.types import Batch

TASK = Vcop(clip_length=4, interval=2, augment=SMALL)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    """Six videos and three of another size, frame rate, length and codec."""
    root = tmp_path_factory.mktemp("sets")
    for number in range(9):
        path = root / ("many" if number < 6 else "few") / f"{number}.avi"
        path.parent.mkdir(exist_ok=True)
        if number < 6:
            make_clip(path, "mpeg4", frames=24, size=(48, 64), rate=25)
        else:
            make_clip(path, "mjpeg", frames=40, size=(80, 66), rate=10, form="yuvj420p")
    return {name: VideoIndex.build(root / name, progress=False) for name in ("many", "few")}


def loader(index: VideoIndex, **settings: Any) -> Loader:
    return Loader(index, TASK, **{"batch_size": 3, "device": "cpu", "workers": 1, "seed": 5} | settings)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("clips", "label", "video", "frame"))


def shown(batches: list[Batch]) -> list[int]:
    return [int(row) for batch in batches for row in batch.video]


def test_an_epoch_shows_each_set_by_its_weight(sets: dict[str, VideoIndex]) -> None:
    with loader(Mixture(sets, (1, 2))) as mixed:
        epochs = [list(mixed) for _ in range(2)]
        assert mixed.drawn == {"many": 6, "few": 12}
    for epoch in epochs:
        assert [sum(row < 6 for row in shown([batch])) for batch in epoch] == [1, 1, 1]
    assert Counter(shown(epochs[0] + epochs[1])) == {**dict.fromkeys(range(6), 1), **dict.fromkeys(range(6, 9), 4)}


def test_windows_are_counted_within_an_epoch(sets: dict[str, VideoIndex]) -> None:
    with loader(Mixture(sets, (1, 2)), batch_size=2) as mixed:  # 8 of the 9 places fill a batch
        rows: list[int] = []
        for _ in range(3):
            for batch in mixed:
                rows += shown([batch])
                assert mixed.drawn == {"many": sum(row < 6 for row in rows), "few": sum(row >= 6 for row in rows)}
    with loader(sets["many"]) as single:
        assert single.drawn == {}


def test_one_set_is_the_index_itself(sets: dict[str, VideoIndex]) -> None:
    with loader(Mixture({"one": sets["many"]}, (3,))) as mixed, loader(sets["many"]) as plain:
        assert all(same(next(iter(mixed)), next(iter(plain))) for _ in range(5))


def test_workers_and_ranks_show_the_same(sets: dict[str, VideoIndex]) -> None:
    mixture = Mixture(sets, (1, 2))
    with loader(mixture, batch_size=4) as whole, loader(mixture, batch_size=4, workers=3) as threads:
        expected = [next(iter(whole)) for _ in range(5)]
        assert all(same(batch, next(iter(threads))) for batch in expected)
    ranks = []
    for rank in range(2):
        with loader(mixture, batch_size=2, rank=rank, world_size=2) as part:
            ranks.append([next(iter(part)) for _ in range(5)])
            assert sum(part.drawn.values()) == 4 * 5
    for batch, *halves in zip(expected, *ranks, strict=True):
        for name in ("clips", "label", "video", "frame"):
            assert torch.equal(getattr(batch, name), torch.cat([getattr(half, name) for half in halves]))


@pytest.mark.parametrize("after", [1, 2, 4])
def test_it_goes_on_within_an_epoch(sets: dict[str, VideoIndex], after: int) -> None:
    mixture = Mixture(sets, (1, 2))
    with loader(mixture, batch_size=2) as first, loader(mixture, batch_size=2) as second:
        for _ in range(4 + after):
            next(iter(first))
        second.load_state_dict(first.state_dict())
        assert second.drawn == first.drawn
        assert all(same(next(iter(first)), next(iter(second))) for _ in range(7))


def test_other_weights_are_refused(sets: dict[str, VideoIndex]) -> None:
    first, second = (loader(Mixture(sets, weights)) for weights in ((1, 2), (2, 1)))
    with first, second, pytest.raises(VidsslError, match="shares"):
        second.load_state_dict(first.state_dict())
    with loader(Mixture({"one": sets["many"]})) as first, loader(sets["many"]) as second:
        old = first.state_dict()
        old["sequence"].pop("shares")  # as a loader of an earlier version saved it
        second.load_state_dict(old)


def test_evaluation_shows_each_video_once(sets: dict[str, VideoIndex]) -> None:
    with loader(Mixture(sets, (1, 100)), train=False) as every:
        assert shown(list(every)) == list(range(9))


def test_a_set_without_a_share_is_named(sets: dict[str, VideoIndex]) -> None:
    with pytest.raises(VidsslError, match=r"weight 0\.01 of 'few' gives it none of the 9 places"):
        loader(Mixture(sets, (1, 0.01)))
    long = Vcop(clip_length=6, interval=4, augment=SMALL)
    with pytest.raises(VidsslError, match=f"no video of 'many' has the {long.plan.frames} frames"):
        Loader(Mixture(sets), long, batch_size=1, device="cpu")


def test_a_row_in_any_order_belongs_to_its_set(sets: dict[str, VideoIndex], tmp_path: Path) -> None:
    rows = [8, 0, 7, 1, 6, 2, 3, 4, 5]
    with loader(Mixture(sets, (1, 2)).select(rows), quarantine=tmp_path / "q.jsonl") as mixed:
        assert [sum(rows[row] < 6 for row in shown([batch])) for batch in mixed] == [1, 1, 1]
