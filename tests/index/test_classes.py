"""Classes are numbered by their names, and numbers by their value."""

from vidssl.index.classes import sort_classes


def test_numbers_come_by_their_value_and_before_names() -> None:
    assert sort_classes(["10", "2", "1", "2"]) == ["1", "2", "10"]
    assert sort_classes(["walk", "10", "run", "-3", "9"]) == ["-3", "9", "10", "run", "walk"]
    assert sort_classes(["b10", "b2", "B1"]) == ["B1", "b10", "b2"]  # names are text, as before
    assert sort_classes(["01", "1", "002"]) == ["01", "1", "002"]
    assert sort_classes([]) == []


def test_what_only_looks_like_a_number_is_text() -> None:
    names = ["9" * 5000, "\u00b2", "\u0663", "1.5", "1e3"]  # too long for int(), a superscript, another script's digit
    assert sort_classes(names) == sorted(names)
