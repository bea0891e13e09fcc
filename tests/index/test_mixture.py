"""A mixture is an index of the videos of its data sets."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import Mixture, VideoIndex, VidsslError
from vidssl.index.holdout import fingerprint, split


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    """Two folders of other sizes, frame rates and lengths; both have a class "run"; one video of `b` is too short."""
    root = tmp_path_factory.mktemp("sets")
    for number in range(4):
        path = root / "a" / ("run", "sit")[number % 2] / f"{number}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, "mpeg4", frames=20, size=(48, 64))
    for number in range(6):
        path = root / "deep" / "b" / ("run", "fly", "swim")[number % 3] / f"{number}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, "mpeg4", frames=30 if number else 3, size=(64, 80), rate=50)
    return {name: VideoIndex.build(root / at, progress=False) for name, at in {"a": "a", "b": "deep/b"}.items()}


def test_a_sequence_names_its_sets_by_number(sets: dict[str, VideoIndex]) -> None:
    for parts in (list(sets.values()), tuple(sets.values())):
        mixture = Mixture(parts, [2, 1])
        assert (mixture.names, mixture.weights, len(mixture)) == (("0", "1"), (2, 1), 10)


@pytest.mark.parametrize("parts", [None, 3, "ab", [], {}, [None], {"a": None}])
def test_what_has_no_indexes_is_refused(parts: Any) -> None:
    with pytest.raises(VidsslError, match=r"Mixture: parts"):
        Mixture(parts)


@pytest.mark.parametrize("weights", [2, "12", (1,), (1, None), None])
def test_what_are_no_weights_is_refused(sets: dict[str, VideoIndex], weights: Any) -> None:
    with pytest.raises(VidsslError, match=r"Mixture: weights"):
        Mixture(sets, weights)


def test_it_has_the_rows_of_its_sets(sets: dict[str, VideoIndex]) -> None:
    mixture = Mixture(sets, (2, 1))
    assert len(mixture) == 10
    assert mixture.part.tolist() == [0] * 4 + [1] * 6
    assert mixture.root == sets["a"].root.parent
    own = [(part, row) for part in sets.values() for row in range(len(part))]
    for row, (part, at) in enumerate(own):
        assert mixture.frames(row) == part.frames(at)
        assert mixture.name(row) == part.name(at)
        assert mixture.motion(row).tolist() == part.motion(at).tolist()
        assert mixture.root / mixture.row(row)["path"] == part.root / part.row(at)["path"]
        assert {**mixture.row(row), "path": ""} == {**part.row(at), "path": ""}
    assert mixture.table.to_pylist() == [mixture.row(row) for row in range(10)]
    assert mixture.usable(20).tolist() == [row for row in range(10) if mixture.frames(row) >= 20]
    assert [path for path, _ in mixture.skipped(20)] == ["deep/b/run/0.avi"]
    assert mixture.is_current()


def test_a_class_is_its_name(sets: dict[str, VideoIndex]) -> None:
    mixture = Mixture(sets)
    assert mixture.classes == ("fly", "run", "sit", "swim")
    names = [mixture.classes[label] for label in mixture.labels]
    assert names == [label for part in sets.values() for label in part.column("label").to_pylist()]


def test_rows_are_selected_in_any_order(sets: dict[str, VideoIndex]) -> None:
    mixture, rows = Mixture(sets, (2, 1)), [7, 1, 9, 0, 4]
    for some in (mixture.select(rows), pickle.loads(pickle.dumps(mixture.select(rows)))):
        assert some.column("path").to_pylist() == [mixture.row(row)["path"] for row in rows]
        assert [some.name(row) for row in range(5)] == [mixture.name(row) for row in rows]
        assert [some.frames(row) for row in range(5)] == [mixture.frames(row) for row in rows]
        assert some.part.tolist() == [1, 0, 1, 0, 1]
        assert (some.classes, some.labels.tolist()) == (mixture.classes, mixture.labels[rows].tolist())
        assert (some.names, some.weights) == (("a", "b"), (2.0, 1.0))
        assert [len(part) for part in some.parts] == [2, 3]
        assert some.select([2, 0]).column("path").to_pylist() == [mixture.row(row)["path"] for row in (9, 7)]
    assert mixture.select([]).column("path").to_pylist() == []


def test_mapped_files_stay_mapped_and_checked(sets: dict[str, VideoIndex], tmp_path: Path) -> None:
    for name, part in sets.items():
        part.save(tmp_path / f"{name}.arrow")
    data = bytearray((tmp_path / "b.arrow").read_bytes())
    at = data.index(b"flyflyrun")  # the column of labels
    data[at : at + 3] = b"fla"
    (tmp_path / "b.arrow").write_bytes(data)
    mixture = Mixture({name: VideoIndex.load(tmp_path / f"{name}.arrow") for name in sets})
    assert mixture.select([5, 0]).column("frames").to_pylist() == [30, 20]
    with pytest.raises(VidsslError, match=r"b.arrow.*its column 'label' is damaged"):
        mixture.labels  # noqa: B018


@pytest.mark.parametrize(
    ("names", "weights", "said"),
    [
        ((), (), "take the index of at least one"),
        (("a", "b"), (1,), "take one for each of the 2 data sets"),
        (("a", "b"), (1, 0), "'b' has 0: take a finite number > 0"),
        (("a", "b"), (1, float("nan")), "'b' has nan"),
        (("a", "b"), (float("inf"), 1), "'a' has inf"),
        (("a", ""), (), "take a name"),
    ],
)
def test_wrong_arguments_are_named(
    sets: dict[str, VideoIndex], names: tuple[str, ...], weights: tuple[float, ...], said: str
) -> None:
    with pytest.raises(VidsslError, match=said):
        Mixture(dict(zip(names, sets.values(), strict=False)), weights)


def test_a_video_in_two_sets_is_refused(sets: dict[str, VideoIndex]) -> None:
    """Else the one could show in training what the other holds out."""
    above: Any = VideoIndex.build(sets["a"].root.parent, progress=False)
    with pytest.raises(VidsslError, match=r"4 videos of 'all' are in earlier sets too, such as a/run/0.avi in 'a'"):
        Mixture({"a": sets["a"], "all": above})
    with pytest.raises(VidsslError, match="that is no Mixture"):
        Mixture({"a": Mixture(sets)})


@pytest.mark.parametrize("group", ["", r"run|fly"])
def test_each_set_is_split_as_without_the_others(sets: dict[str, VideoIndex], group: str) -> None:
    found = split(Mixture(sets, (5, 1)), 0.4, seed=3, group=group, span=20)
    alone = [split(part, 0.4, seed=3, group=group, span=20) for part in sets.values()]
    for half, parts in zip(found, zip(*alone, strict=True), strict=True):
        assert isinstance(half, Mixture)
        assert half.weights == (5.0, 1.0)
        for mine, part in zip(half.parts, parts, strict=True):
            assert mine.column("path").to_pylist() == part.column("path").to_pylist()
            assert len(part)


def test_a_group_has_to_match_in_one_set(sets: dict[str, VideoIndex]) -> None:
    train, held = split(Mixture(sets), 0.4, seed=3, group="swim", span=20)
    assert len(train) + len(held) == 10
    with pytest.raises(VidsslError, match="matches none"):
        split(Mixture(sets), 0.4, seed=3, group="deep", span=20)  # where a set lies is not part of its paths
    with pytest.raises(VidsslError, match=r"1 usable group.*in 'b'"):
        split(Mixture(sets), 0.4, seed=3, group="avi", span=30)


def test_its_fingerprint_sees_sets_and_weights(sets: dict[str, VideoIndex]) -> None:
    one = fingerprint(Mixture(sets, (2, 1)))
    assert one == fingerprint(Mixture(dict(zip("xy", sets.values(), strict=True)), (2, 1)))
    others = [Mixture(sets), Mixture(dict(reversed(sets.items())), (2, 1)), Mixture(sets, (2, 1)).select(np.arange(9))]
    assert one not in map(fingerprint, others)
