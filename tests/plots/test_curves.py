"""Curves and matrices stand where their numbers say."""

from __future__ import annotations

import re

import pytest

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


def test_nothing_is_drawn_of_nothing() -> None:
    assert svg_curves("loss", {"run": []}) == ""


def test_long_curves_are_thinned_to_means() -> None:
    text = svg_curves("loss", {"run": [(float(at), float(at % 2)) for at in range(10_000)]})
    (points,) = re.findall(r'points="([^"]+)"', text)
    assert len(points.split()) == 400
