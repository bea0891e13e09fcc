"""Intervals: they cover what they say, and the paired bootstrap sees pairs and groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidssl.evaluate.confidence import Estimate, gain, mean, name_ids, proportion, wilson


def test_a_share_of_independent_videos_is_wilsons() -> None:
    right = torch.tensor([True] * 30 + [False] * 70)
    right = right[torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    found = proportion(right, torch.arange(100))
    low, high = wilson(30, 100)
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_groups_that_are_right_together_widen_it() -> None:
    right = torch.arange(100) // 10 % 2 == 0  # ten groups, each wholly right or wrong
    alone, together = proportion(right, torch.arange(100)), proportion(right, torch.arange(100) // 10)
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)  # type: ignore[operator]


def test_intervals_of_gains_cover_the_truth() -> None:
    """Two models that are right with probabilities 0.595 and 0.5, together more often than by chance."""
    held, random = 0, np.random.default_rng(0)
    for trial in range(100):
        shared = random.random(300)
        before, after = torch.from_numpy(shared < 0.5), torch.from_numpy(0.5 * shared + 0.5 * random.random(300) < 0.55)
        found = gain(after, before, torch.arange(300), seed=trial, draws=1000)
        held += found.low <= 1 - 0.9**2 / 2 - 0.5 <= found.high  # type: ignore[operator]
    assert 88 <= held <= 100


@pytest.mark.parametrize("groups", [3, 9])
def test_intervals_over_few_groups_cover_the_truth(groups: int) -> None:
    """A bootstrap over three groups would leave a gain of zero out in about a quarter of the trials."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(300):
        shift = random.normal(0, 0.2, groups).repeat(10)  # what a person's videos have in common
        before = torch.from_numpy(random.random(10 * groups) < 0.5)
        after = torch.from_numpy(random.random(10 * groups) < 0.5 + shift)
        found = gain(after, before, torch.arange(10 * groups) // 10)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert 270 <= covered <= 297


def test_a_single_group_has_no_interval() -> None:
    found = gain(torch.tensor([True, True]), torch.tensor([True, False]), torch.zeros(2))
    assert found == Estimate(0.5)


def test_a_gain_is_that_of_pairs() -> None:
    before = torch.arange(200) % 2 == 0
    after = before | (torch.arange(200) < 20)  # ten more, none lost
    found = gain(after, before, torch.arange(200))
    assert found.value == pytest.approx(0.05)
    assert found.low is not None
    assert found.low > 0.015  # two separate intervals of 50 % of 200 would be +- 7 %
    assert gain(after, before, torch.arange(200)) == found  # the draws are the seed's
    grouped = gain(after, before, torch.arange(200) // 20)
    assert grouped.low == pytest.approx(0.0)  # all ten in one group, which may not be drawn


def test_means_of_few_runs() -> None:
    assert mean([0.5]) == Estimate(0.5)
    found = mean([0.4, 0.5, 0.6])
    assert found.low == pytest.approx(0.5 - 4.303 * 0.1 / 3**0.5)
    assert [part.tolist() for part in name_ids(["b", "a"], ["a", "c"])] == [[1, 0], [0, 2]]


def test_all_right_is_worth_as_many_as_there_are_groups() -> None:
    right, group = torch.ones(90, dtype=torch.bool), torch.arange(90) // 10
    assert proportion(right, group)[1:] == pytest.approx(wilson(9, 9))
    assert proportion(right, torch.arange(90))[1:] == pytest.approx(wilson(90, 90))
    assert proportion(~right, group)[1:] == pytest.approx(wilson(0, 9))
