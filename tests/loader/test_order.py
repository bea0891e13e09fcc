"""Several data sets in one epoch: exact shares, whole passes, and a single set as it always was."""

from __future__ import annotations

from collections import Counter
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl.loader.order import Share, alternate, apportion, count_places, epoch_order, random_numbers

WEIGHTS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6)
SHARES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=5).map(
    lambda sets: tuple(Share(str(number), *one) for number, one in enumerate(sets))
)


@given(WEIGHTS, st.integers(1, 10_000))
def test_an_epoch_is_shared_by_weight_to_within_one_place(weights: list[float], places: int) -> None:
    found = apportion(weights, places)
    assert sum(found) == places
    for count, weight in zip(found, weights, strict=True):
        assert abs(count - places * weight / sum(weights)) < 1 + 1e-6


def test_a_place_that_is_left_goes_to_the_largest_remainder() -> None:
    assert apportion([2, 1], 9) == [6, 3]
    assert apportion([1, 1, 1], 11) == [4, 4, 3]
    assert apportion([5, 3, 2], 7) == [4, 2, 1]  # exactly 3.5, 2.1, 1.4


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_shares_hold_after_any_number_of_places(places: list[int]) -> None:
    """To within one place, for up to three sets; the docstring of `alternate` has the bound for more."""
    shares = tuple(Share("", 1, count) for count in places)
    total, sets = sum(places), len(places)
    assert sorted(alternate(tuple(places)).tolist()) == list(range(total))
    for first in range(total + 1):
        for count, found in zip(places, count_places(shares, first).tolist(), strict=True):
            bound = 0.5 * (1 + count / total * (sets - 2)) if sets > 1 else 0
            assert abs(found - first * count / total) <= bound + 1e-9
            assert bound < 1 or sets > 3


@given(SHARES, st.integers(0, 2**63 - 1), st.integers(1, 6))
def test_a_set_is_shown_in_whole_passes(shares: tuple[Share, ...], seed: int, epochs: int) -> None:
    """Epoch after epoch, a set shows all its videos once before it shows one of them again."""
    shown = np.concatenate([epoch_order(seed, epoch, shares) for epoch in range(epochs)])
    before = 0
    for _, videos, places in shares:
        mine = shown[(shown >= before) & (shown < before + videos)].tolist()
        assert len(mine) == epochs * places
        for begin in range(0, len(mine), videos):
            counts = Counter(mine[begin : begin + videos])
            assert max(counts.values()) == 1
        before += videos


@given(SHARES, st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1))
def test_an_epoch_is_a_pure_function(shares: tuple[Share, ...], seed: int, epoch: int) -> None:
    found = epoch_order(seed, epoch, shares)
    alternate.cache_clear()
    epoch_order.cache_clear()
    assert np.array_equal(found, epoch_order(seed, epoch, shares))


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    shares = (Share("small", 7, 14), Share("large", 7, 14))
    shown = [epoch_order(seed, 3, shares) for seed in (1, 2)]
    small, large = (shown[0][(shown[0] >= first) & (shown[0] < first + 7)] - first for first in (0, 7))
    orders = [tuple(one) for one in (small[:7], small[7:], large[:7], large[7:])]
    assert len(set(orders)) == 4
    assert not np.array_equal(shown[0], shown[1])


@pytest.mark.parametrize("epoch", [0, 5, 2**32 - 1])
def test_a_single_set_is_sorted_by_its_keys(epoch: int) -> None:
    keys = random_numbers(9, epoch, 0, 50, "order")
    assert epoch_order(9, epoch, (Share("", 50, 50),)).tolist() == sorted(range(50), key=lambda at: keys[at])


def test_counts_of_places_are_those_of_the_order() -> None:
    shares = (Share("a", 5, 9), Share("b", 20, 4), Share("c", 3, 12))
    of = np.searchsorted([5, 25], epoch_order(1, 2, shares), side="right")
    for first in (0, 1, 7, floor(25 / 2), 25):
        assert count_places(shares, first).tolist() == np.bincount(of[:first], minlength=3).tolist()
