"""A path means the entry of the same path, or the only one of its name."""

from __future__ import annotations

import pytest

from vidssl import VidsslError
from vidssl.index.names import Names


def test_the_same_path_wins_over_the_same_name() -> None:
    names = Names(["run/a.mp4", "walk/a.mp4", "run/b.mp4"], "labels='l.csv'")
    assert names.find("walk/a.mp4") == 1
    assert names.find("elsewhere/b.mp4") == 2
    assert names.find("c.mp4") is None


def test_a_name_that_several_have_is_refused() -> None:
    names = Names(["run/a.mp4", "walk/a.mp4"], "labels='l.csv'")
    with pytest.raises(VidsslError, match=r"labels='l.csv': a.mp4 could be run/a.mp4 or walk/a.mp4; name whole paths"):
        names.find("a.mp4")


def test_other_parts_of_a_path_may_be_the_name() -> None:
    names = Names(["x/a.avi"], "features='f'", part=lambda path: path.stem)
    assert names.find("y/a.mp4") == 0
