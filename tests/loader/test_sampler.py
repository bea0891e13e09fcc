"""Windows: a pure function of (seed, epoch, position), spread evenly."""

from dataclasses import replace

import numpy as np
import pytest

from vidssl.loader.sampler import Sampler
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


def test_bad_seed() -> None:
    with pytest.raises(VidsslError, match="seed=-1"):
        make(seed=-1)
