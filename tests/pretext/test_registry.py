"""A task of one's own gets a name that nobody else has."""

from __future__ import annotations

import pytest

from vidssl import VidsslError
from vidssl.pretext import METHODS, Vcop, register


def test_registering_again_changes_nothing() -> None:
    before = dict(METHODS)
    assert register(Vcop) is Vcop
    assert before == METHODS


@pytest.mark.parametrize("text", ["a+b", "a,b", "a.b"])
def test_a_name_that_reads_like_two_is_refused(text: str) -> None:
    class Mine(Vcop):
        name = text

    with pytest.raises(VidsslError, match=r"name='a.b': \+, comma and dot join names; take letters, digits and _"):
        register(Mine)
    assert text not in METHODS


def test_a_name_that_is_taken_is_refused() -> None:
    class Mine(Vcop):
        pass

    with pytest.raises(VidsslError, match=r"name='vcop': vidssl\.pretext\.vcop\.Vcop has this name; take another one"):
        register(Mine)
    assert METHODS["vcop"] is Vcop
