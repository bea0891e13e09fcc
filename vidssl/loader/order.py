"""Which video each position of an epoch shows: a pure function of (seed, epoch, position).

An epoch has as many places as there are videos, and each data set gets a share of them by its weight. The places of the
sets alternate evenly: after any number of places, each of up to three sets has its share of them to within one
(`alternate` says more). A set fills its places with its videos, in an order that is drawn anew for each pass over them.
The next epoch goes on with a pass where the last one ended. So all videos of a set are shown equally often, whether the
set is larger or smaller than its share. A single set is one pass in each epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.native import kernels


class Share(NamedTuple):
    """What an epoch shows of a data set.

    Attributes:
        name: Of the data set; "" for a single one.
        videos: Number of its videos.
        places: Number of the epoch's places that show one of them.
    """

    name: str
    videos: int
    places: int


def random_numbers(
    seed: int, epoch: int, first: int, count: int, purpose: str, index: int = 0
) -> npt.NDArray[np.uint64]:
    """Returns uint64 [count]: the Philox draws of samples first, first + 1, ... (csrc/kernels/philox.h)."""
    bits = np.empty((count, 4), dtype=np.uint32)
    kernels.random(bits, seed, epoch, first, purpose, index)
    return bits[:, 0].astype(np.uint64) | bits[:, 1].astype(np.uint64) << np.uint64(32)


def apportion(weights: Sequence[float], places: int) -> list[int]:
    """Divides places among sets by their weights: each gets its exact share rounded down, and those with the largest
    remainders one more.

    Args:
        weights: Finite numbers > 0.
        places: Number of places.

    Returns:
        The number of places of each set.
    """
    whole = sum(map(Fraction, weights))
    exact = [Fraction(weight) * places / whole for weight in weights]
    counts = [int(one) for one in exact]
    by_remainder = sorted(range(len(counts)), key=lambda number: counts[number] - exact[number])
    for number in by_remainder[: places - sum(counts)]:
        counts[number] += 1
    return counts


@lru_cache(maxsize=4)
def alternate(places: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Returns int64 [sum of places], a permutation: the places of the sets, one set after the other, spread evenly.

    Place i of a set with n places comes at (i + 0.5) / n of the epoch. After any number of places, a set with the
    fraction f of K sets has its share of them to within 0.5 * (1 + f * (K - 2)).
    """
    return np.argsort(np.concatenate([(np.arange(count) + 0.5) / count for count in places]), kind="stable")


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, shares: tuple[Share, ...]) -> npt.NDArray[np.int64]:
    """Returns int64 [places]: the video of each place of an epoch, counted through all sets, one after the other."""
    drawn, before = [], 0
    for number, (_, videos, places) in enumerate(shares):
        first_pass, skip = divmod(epoch * places, videos)
        passes = range(first_pass, first_pass + -(-(skip + places) // videos))
        shown = np.concatenate([_pass(seed, one, videos, number) for one in passes])
        drawn.append(before + shown[skip : skip + places])
        before += videos
    return np.concatenate(drawn)[alternate(tuple(share.places for share in shares))]


def _pass(seed: int, number: int, videos: int, share: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of 0 .. videos - 1: each video gets a random key, and the keys are sorted."""
    keys = random_numbers(seed, number % 2**32, 0, videos, "order", share)  # the draws have 32 bits for the pass
    return np.argsort(keys, kind="stable")


def count_places(shares: tuple[Share, ...], first: int) -> npt.NDArray[np.int64]:
    """Returns int64 [sets]: how many of the first places of an epoch are of each set."""
    places = tuple(share.places for share in shares)
    of = np.repeat(np.arange(len(places)), places)[alternate(places)]
    return np.bincount(of[:first], minlength=len(places))
