"""Windows: a pure function of (seed, epoch, position), spread evenly."""

from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vidssl import VideoIndex
from vidssl.loader.sampler import Sampler, draw_by_motion
from vidssl.train.config import Recipe
from vidssl.types import VidsslError


def make(train: bool = True, seed: int = 1, tuples: int = 1) -> Sampler:
    return Sampler(
        rows=np.array([3, 5, 8, 9]), frames=np.array([64, 70, 100, 65]), span=64, seed=seed, train=train, tuples=tuples
    )


def test_each_video_once_an_epoch_and_always_within_it() -> None:
    sampler, orders = make(), set()
    for epoch in range(50):
        windows = [sampler.window(epoch, position) for position in range(len(sampler))]
        assert sorted(w.video for w in windows) == [3, 5, 8, 9]
        for window in windows:
            frames = {3: 64, 5: 70, 8: 100, 9: 65}[window.video]
            assert 0 <= window.first <= frames - 64
        orders.add(tuple(w.video for w in windows))
    assert len(orders) > 15  # of 24


def test_frames_are_read_as_a_column(index: VideoIndex, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million rows, one call for each would take seconds. Rows that are too short are not among them."""
    monkeypatch.setattr(VideoIndex, "frames", lambda *_: pytest.fail("a call for each row"))
    part = index.select(np.arange(len(index))[::-1])
    found = Sampler.of(part, recipe.pretext.plan, seed=0, train=True, tuples=1)
    assert found.frames.tolist() == [36] * 9
    assert found.frames.dtype == np.int64


def test_first_frames_are_even() -> None:
    sampler = make()
    firsts = [w.first for e in range(3000) for p in range(4) if (w := sampler.window(e, p)).video == 5]
    counts = np.bincount(firsts, minlength=7)
    assert ((counts - 3000 / 7) ** 2 / (3000 / 7)).sum() < 22.5  # chi-squared, 6 degrees of freedom, 0.1 %


def test_pure_and_dependent_on_the_seed() -> None:
    assert make().window(7, 2) == make().window(7, 2)
    assert [make(seed=1).window(0, p) for p in range(4)] != [make(seed=2).window(0, p) for p in range(4)]


def test_tuples_of_one_window() -> None:
    sampler = make(tuples=3)
    assert len(sampler) == 12
    assert sampler.window(4, 6)[1:] == sampler.window(4, 8)[1:]


@pytest.mark.parametrize("how", [{}, {"train": False}, {"tuples": 3}, {"whole": True}], ids=str)
def test_the_windows_of_a_batch_are_those_of_its_positions(how: dict[str, Any]) -> None:
    sampler = replace(make(), **how)
    for attempt in (0, 2):
        wanted = [sampler.window(7, position, attempt) for position in range(0, len(sampler), sampler.tuples)]
        assert sampler.windows(7, sampler.tuples, 3, attempt) == wanted[1:]


def test_the_whole_video_as_a_window() -> None:
    for train in (True, False):
        sampler = replace(make(train), span=10, whole=True)
        windows = {w.video: w for w in (sampler.window(4, position) for position in range(4))}
        assert {video: (w.first, w.span) for video, w in windows.items()} == {
            3: (0, 64),
            5: (0, 70),
            8: (0, 100),
            9: (0, 65),
        }


def test_evaluation_is_fixed_and_central() -> None:
    sampler = make(train=False)
    assert [sampler.window(epoch, 2) for epoch in (0, 9)] == [sampler.window(0, 2)] * 2
    assert sampler.window(0, 2)[1:] == (8, 18, 64)
    assert sampler.draw_sample(2, 8) == 8
    assert sampler.draw_epoch(5) == 0


def test_the_one_in_a_bad_windows_stead_is_another_video() -> None:
    for train in (True, False):
        sampler = make(train)
        assert sorted(sampler.window(3, 1, attempt).video for attempt in range(4)) == [3, 5, 8, 9]


def by_motion(change: dict[int, list[int]], **settings: Any) -> Sampler:
    """A sampler of windows of 8 frames of the rows of `change`: the change from each frame of a row to the next."""
    frames = np.array([len(values) + 1 for values in change.values()])
    even = Sampler(rows=np.array(list(change)), frames=frames, span=8, seed=1, train=True)
    return replace(even, motion=lambda row: np.array(change[row], np.uint16), **settings)


@pytest.mark.parametrize("top", [1, 300, 65535])
@pytest.mark.parametrize("frames", [8, 9, 30, 300])
def test_first_frames_by_motion_are_exact(top: int, frames: int) -> None:
    """Against whole numbers of any size: the windows' changes one after another, and where the draw lies in them."""
    rng = np.random.default_rng(frames)
    change = rng.integers(0, top, frames - 1, endpoint=True).astype(np.uint16)
    weights = [int(sum(map(int, change[first : first + 7]))) for first in range(frames - 7)]
    ends = list(accumulate(weights))
    draws = [0, 2**64 - 1, *(int(number) for number in rng.integers(0, 2**64, 300, dtype=np.uint64, endpoint=False))]
    draws += [-(-(end << 64) // ends[-1]) + step for end in ends[:-1] if ends[-1] for step in (-1, 0)]
    for drawn in draws:
        if drawn < 0:
            continue
        wanted = next((first for first, end in enumerate(ends) if drawn * ends[-1] >> 64 < end), None)
        assert draw_by_motion(change, 8, drawn) == wanted


def test_the_longest_file_does_not_overflow() -> None:
    change = np.full(2**24 - 1, 65535, np.uint16)
    assert draw_by_motion(change, 2**23, 2**63) == 2**22


def test_windows_are_drawn_in_proportion_to_their_motion() -> None:
    change = np.random.default_rng(0).integers(0, 500, 29).tolist()
    sampler = by_motion({4: change})
    firsts = [sampler.window(epoch, 0).first for epoch in range(6000)]
    weights = np.array([sum(change[first : first + 7]) for first in range(23)])
    expected = weights / weights.sum() * 6000
    assert ((np.bincount(firsts, minlength=23) - expected) ** 2 / expected).sum() < 48.3  # 22 degrees of freedom, 0.1 %


def test_a_window_without_motion_is_not_drawn_and_a_still_video_is_drawn_evenly() -> None:
    still, jump = [0] * 29, [0] * 20 + [9] + [0] * 8
    sampler = by_motion({4: still, 7: jump})
    even = replace(sampler, motion=None)
    windows = [sampler.window(epoch, position) for epoch in range(2000) for position in range(2)]
    assert {w.first for w in windows if w.video == 7} == set(range(14, 21))  # those that hold frames 20 and 21
    others = [even.window(epoch, position) for epoch in range(2000) for position in range(2)]
    assert [w for w in windows if w.video == 4] == [w for w in others if w.video == 4]
    assert {w.first for w in windows if w.video == 4} == set(range(23))


def test_motion_changes_nothing_but_the_first_frame() -> None:
    sampler = by_motion({row: [row + at % 5 for at in range(40)] for row in (2, 3, 5)})
    even = replace(sampler, motion=None)
    for position in range(3):
        one, other = sampler.window(6, position), even.window(6, position)
        assert (one.video, one.span, one.position) == (other.video, other.span, other.position)
        assert sampler.window(6, position) == one
    fixed = replace(sampler, train=False)
    assert [fixed.window(0, 1).first, fixed.span] == [16, 8]  # evaluation shows the middle


def test_a_damaged_row_is_left_to_the_worker_that_reads_it() -> None:
    def damaged(row: int) -> npt.NDArray[np.uint16]:
        raise VidsslError(f"row {row} is damaged")

    sampler = by_motion({4: [1] * 29})
    found = replace(sampler, motion=damaged)
    assert found.window(3, 0) == replace(sampler, motion=None).window(3, 0)


def test_bad_seed() -> None:
    with pytest.raises(VidsslError, match="seed=-1"):
        make(seed=-1)
