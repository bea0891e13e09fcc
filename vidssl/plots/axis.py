"""The range of an axis, and round numbers on it."""

from __future__ import annotations

import math
from collections.abc import Sequence


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis for `values`. It begins at 0 if the smallest value is positive and below half the largest."""
    low, high = min(values), max(values)
    if low == high == 0:
        return 0.0, 1.0
    if low == high:
        return low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    return (0.0 if 0 < low < 0.5 * high else low), high


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from low to high."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def labels(values: Sequence[float]) -> list[str]:
    """Texts of ticks, all with the same number of decimals, so that different ticks have different texts."""
    thousands = all(abs(value) >= 1000 for value in values if value)
    shown = [value / 1000 for value in values] if thousands else list(values)
    digits = next((n for n in range(6) if all(abs(round(value, n) - value) < 1e-9 for value in shown)), None)
    texts = [f"{value:.6g}" if digits is None else f"{value:.{digits}f}" for value in shown]
    return [f"{text}{'k' * thousands}" if value else "0" for text, value in zip(texts, shown, strict=True)]
