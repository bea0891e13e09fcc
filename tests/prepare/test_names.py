"""Names of new files: one for each source, whatever the sources are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vidssl.prepare.names import targets

TAKEN = ("videos.csv",)
PARTS = st.one_of(
    st.sampled_from(["a", "b", "a.mp4", "a.avi", "a.mkv", "a.mkv.mp4", "A.MP4", "videos.csv", ".avi", "a~1.mp4"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4),
    st.text("xé\n ", min_size=125, max_size=255).filter(lambda text: len(text.encode()) <= 255),
)
PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=5).map("/".join), unique=True, max_size=10)


def check(names: list[str]) -> None:
    assert len(set(names)) == len(names)
    folders = {"/".join(name.split("/")[:count]) for name in names for count in range(1, name.count("/") + 1)}
    assert folders.isdisjoint(names)
    for name in names:
        assert name.endswith(".mp4")
        assert all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in name.split("/"))
        assert len(name.encode()) <= 1000
        assert name.split("/")[0] not in TAKEN


@given(PATHS, PATHS)
def test_each_source_has_a_name_of_its_own_that_it_keeps(first: list[str], more: list[str]) -> None:
    names = targets(first, taken=TAKEN)
    check(names)
    assert targets(first[::-1], taken=TAKEN) == names[::-1]
    known = dict(zip(first, names, strict=True))
    both = [*(path for path in more if path not in known), *first]
    grown = targets(both, known, taken=TAKEN)
    check(grown)
    assert grown[len(both) - len(first) :] == names
    fewer = [path for path in both if path not in first[::2]]
    assert not set(targets(fewer, known, taken=TAKEN)) & {known[path] for path in first[::2]}


@given(PATHS, st.dictionaries(st.one_of(PARTS, st.just("a.avi")), st.one_of(PARTS, st.text("./~a", max_size=8))))
def test_a_damaged_journal_gives_no_wrong_names(paths: list[str], known: dict[str, str]) -> None:
    check(targets(paths, known, taken=TAKEN))


def test_names_stay_readable() -> None:
    assert targets(["run/a.avi", "b.mp4"]) == ["run/a.mp4", "b.mp4"]
    assert targets(["x.mp4", "x.mkv", "x.mkv.mp4"]) == ["x.mp4.mp4", "x.mkv.mp4", "x.mkv.mp4.mp4"]
    long = [f"{'n' * 251}.avi", f"{'n' * 251}.mkv", "é" * 127 + "a"]
    found = targets(long)
    assert [len(name.encode()) for name in found[:2]] == [255, 255]
    assert found[0][:200] == found[1][:200] == "n" * 200
    assert found[2].startswith("é" * 100)
    assert len(targets(["/".join(["n" * 200] * 6)])[0].encode()) <= 255
