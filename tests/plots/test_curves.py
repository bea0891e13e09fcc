"""Curves and matrices stand where their numbers say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vidssl.plots import axis
from vidssl.plots.curves import svg_curves


def test_a_curve_spans_the_chart() -> None:
    text = svg_curves("loss", {"run <1>": [(0.0, 0.0), (50.0, 5.0), (100.0, 10.0)]})
    (points,) = re.findall(r'points="([^"]+)"', text)
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points.split())
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert y0 > y2  # up is more
    assert "run &lt;1&gt;" in text


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [float("nan"), 1.0], [1e-5, 1e5], [-3.0, -1.0]])
def test_odd_curves_are_drawn(values: list[float]) -> None:
    text = svg_curves("loss", {"run": list(enumerate(values))})
    assert "nan" not in text
    assert text.startswith("<svg")


def test_a_level_is_dashed_within_the_chart() -> None:
    text = svg_curves("accuracy", {"a": [(0.0, 0.5), (10.0, 0.9)], "b": []}, about="right", levels={"a": 0.1, "b": 0.2})
    (level,) = re.findall(r'<line x1="[^"]*" y1="([^"]*)" x2="[^"]*" y2="([^"]*)"[^>]* stroke-dasharray', text)
    (points,) = re.findall(r'points="([^"]+)"', text.split("</polyline>")[0])
    lowest = max(float(point.split(",")[1]) for point in points.split())
    height = float(re.findall(r'height="([0-9.]+)"', text)[0])
    assert level[0] == level[1]
    assert lowest < float(level[0]) < height
    assert ">right</text>" in text


def test_nothing_is_drawn_of_nothing() -> None:
    assert svg_curves("loss", {"run": []}) == ""


def test_long_curves_are_thinned_to_means() -> None:
    text = svg_curves("loss", {"run": [(float(at), float(at % 2)) for at in range(10_000)]})
    (points,) = re.findall(r'points="([^"]+)"', text)
    assert len(points.split()) == 400


def test_texts_of_ticks_differ() -> None:
    """1.765, 1.77, 1.775 were shown as 1.76, 1.77, 1.77."""
    assert axis.labels([1.765, 1.77, 1.775]) == ["1.765", "1.770", "1.775"]
    assert axis.labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1.0"]
    assert axis.labels([0.0, 1000.0, 2000.0]) == ["0", "1k", "2k"]
    assert axis.labels([500.0, 1000.0, 1500.0]) == ["500", "1000", "1500"]
    rng = np.random.default_rng(0)
    for _ in range(2000):
        low = float(rng.normal()) * 10 ** float(rng.uniform(-6, 6))
        high = low + abs(low) * 10 ** float(rng.uniform(-3, 2)) + 1e-9
        ticks = axis.ticks(low, high)
        assert len(set(axis.labels(ticks))) == len(ticks) >= 2
