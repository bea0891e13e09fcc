"""95 % confidence intervals of a proportion, a mean or a gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Z = 1.959964  # 95 % of a normal distribution lie within
DRAWS = 10_000  # of a bootstrap
FEW = 10  # groups: of fewer, a bootstrap draws nearly the same few means, and its interval is much too narrow


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval; low and high are None where the value is exact, as chance is."""

    value: float
    low: float | None = None
    high: float | None = None

    def points(self) -> str:
        """A gain in percentage points, with its interval if it has one."""
        interval = "" if self.low is None or self.high is None else f" [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return f"{100 * self.value:+.1f}{interval}"


def wilson(right: float, count: float) -> tuple[float, float]:
    """95 % interval of a proportion, from `right` of `count` observations.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    fraction, square = right / count, Z * Z
    middle = (fraction + square / (2 * count)) / (1 + square / count)
    half = Z / (1 + square / count) * math.sqrt(fraction * (1 - fraction) / count + square / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def student_t(freedom: int) -> float:
    """Z for an estimated variance with `freedom` degrees of freedom: a table of Student's t, then Abramowitz and Stegun
    26.7.5.
    """
    table = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306)
    if freedom <= len(table):
        return table[freedom - 1]
    return Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)


def clustered_half_width(residual: torch.Tensor, group: torch.Tensor) -> float:
    """Half the width of the 95 % interval of a sum whose terms are correlated within groups.

    Tuples of one video, or videos of one person, are right or wrong together, even where there is nothing to learn.

    Args:
        residual: [N], each term less its expected value.
        group: [N], the group of each term.

    Returns:
        The half width; 0 for a single group, which shows no variation between groups.
    """
    _, at = np.unique(group.numpy(), return_inverse=True)
    parts = np.bincount(at, residual.numpy())
    count = len(parts)
    return student_t(count - 1) * math.sqrt(count / (count - 1) * float(parts @ parts)) if count > 1 else 0.0


def effective_size(right: torch.Tensor, group: torch.Tensor) -> float:
    """Effective sample size: the number of independent observations with the same interval.

    Args:
        right: double [N], 1 where the prediction is right.
        group: [N], the group of each.
    """
    size, fraction = len(right), float(right.mean())
    plain = Z * math.sqrt(fraction * (1 - fraction) / size)
    return size / max(1.0, (clustered_half_width((right - fraction) / size, group) / plain) ** 2) if plain else size


def proportion(right: torch.Tensor, group: torch.Tensor) -> Estimate:
    """The proportion of right predictions, with Wilson's interval for the effective sample size.

    If all are right, or none, the data do not show how correlated a group is; then the sample size is the number of
    groups.

    Args:
        right: bool [N].
        group: [N], the group of each.
    """
    value, count = float(right.double().mean()), effective_size(right.double(), group)
    if value in (0.0, 1.0):
        count = len(np.unique(group.numpy()))
    return Estimate(value, *wilson(value * count, count))


def mean(values: Sequence[float]) -> Estimate:
    """Mean over a few runs with Student's interval; a single run has no interval."""
    if len(values) < 2:
        return Estimate(fmean(values))
    half = student_t(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Estimate(fmean(values), fmean(values) - half, fmean(values) + half)


def gain(
    after: torch.Tensor, before: torch.Tensor, group: torch.Tensor, *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Gain in accuracy from `before` to `after`, with an interval over the groups of the videos.

    It is that of a paired bootstrap that draws whole groups with replacement (Efron and Tibshirani, "An Introduction to
    the Bootstrap", 1993); of fewer than FEW groups, Student's over the groups; a single group has none.

    after, before: bool [N], of the same videos; group: [N].
    """
    _, at = np.unique(group.numpy(), return_inverse=True)
    difference = np.bincount(at, (after.double() - before.double()).numpy())
    return gain_of_groups(difference, np.bincount(at), seed=seed, draws=draws)


def gain_of_groups(difference: npt.ArrayLike, sizes: npt.ArrayLike, *, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """As `gain`, from what each group gained.

    Args:
        difference: [G], right predictions of a group, after less before.
        sizes: [G], predictions of a group.
        seed: Seed of the bootstrap.
        draws: Draws of the bootstrap.
    """
    difference, sizes = np.asarray(difference, np.float64), np.asarray(sizes, np.float64)
    value = float(difference.sum() / sizes.sum())
    if len(sizes) == 1:
        return Estimate(value)
    if len(sizes) < FEW:
        residual = torch.from_numpy((difference - value * sizes) / sizes.sum())
        half = clustered_half_width(residual, torch.arange(len(sizes)))
        return Estimate(value, value - half, value + half)
    random, means = np.random.default_rng(seed), []
    for start in range(0, draws, 500):  # so that the draws of many thousand videos stay small
        taken = random.multinomial(
            len(sizes), np.full(len(sizes), 1 / len(sizes)), size=min(500, draws - start)
        ).astype(np.float64)
        means.append(taken @ difference / (taken @ sizes))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def name_ids(*names: Sequence[str]) -> list[torch.Tensor]:
    """Names as integer ids, int64, shared by all the sequences and sorted by name."""
    _, at = np.unique(np.concatenate([np.asarray(part, dtype=np.str_) for part in names]), return_inverse=True)
    ends = np.cumsum([len(part) for part in names])[:-1]
    return [torch.from_numpy(part) for part in np.split(np.asarray(at, np.int64), ends)]
