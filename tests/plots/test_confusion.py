"""A confusion matrix is darker where more is."""

from __future__ import annotations

import re

import numpy as np

from vidssl.plots.confusion import confusion_image, svg_confusion
from vidssl.plots.pen import text_width


def test_cells_are_darker_where_more_is() -> None:
    picture = confusion_image(np.array([[9, 1], [0, 0]]), ["in order", "shuffled"]).astype(int)
    corner = [[picture[64 + 54 * row + 4, 90 + 54 * column + 4].sum() for column in range(2)] for row in range(2)]
    assert corner[0][0] < corner[0][1] < corner[1][0] == corner[1][1] == 3 * 255


def test_long_column_names_do_not_overlap() -> None:
    picture = confusion_image(np.eye(3, dtype=np.int64), ["ApplyEyeMakeup", "BasketballDunk and more", "in order"])
    names = picture[30 : len(picture) - 3 * 54 - 12 - 2]  # between the title and the cells
    assert (names[:, 90:] < 255).any()
    for column in range(1, 3):
        assert (names[:, 90 + 54 * column - 1] == 255).all()


def test_svg_has_a_square_a_pair() -> None:
    text = svg_confusion("probe", ["a", "b"], [[3, 1], [0, 4]])
    assert len(re.findall("<rect", text)) == 4
    assert "a taken for b: 1 of 4" in text


def test_svg_has_room_for_its_title_and_its_slanted_names() -> None:
    long = "W" * 30
    text = svg_confusion("W" * 60, [long, long], [[3, 1], [0, 4]])
    width = float(re.findall(r'viewBox="0 0 (\d+)', text)[0])
    assert width > text_width("W" * 60, 13)
    shown = re.findall(r'<g transform="rotate\(-60 ([\d.]+) ([\d.]+)\)">.*?>(W+\.\.\.)<', text)
    assert len(shown) == 2
    for x, y, name in shown:
        assert float(x) + 0.5 * text_width(name, 11) < width
        assert float(y) - 0.87 * text_width(name, 11) > 20  # below the title


def test_picture_has_room_for_its_title() -> None:
    picture = confusion_image(np.eye(2, dtype=np.int64), ["a", "b"])
    assert (picture[:40, -8:] == 255).all()
