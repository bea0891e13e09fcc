"""A loader's state is plain data, and is taken only by a loader of the same batches."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.clips import make_clip
from vidssl import Loader, Mixture, VideoIndex, VidsslError
from vidssl.kernels.augment import Augment
from vidssl.kernels.views import labelled_clips
from vidssl.loader.state import plain

SPEC = labelled_clips(4, augment=Augment(resize=(32, 32), crop=(32, 32)))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoIndex]:
    """Two sets of three videos each, with the same numbers of frames."""
    root = tmp_path_factory.mktemp("sets")
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(3):
            make_clip(root / name / f"{name}{number}.avi", "mpeg4", frames=24)
    return {name: VideoIndex.build(root / name, progress=False) for name in ("a", "b")}


def loader(index: VideoIndex, spec: Any = SPEC, **options: Any) -> Loader:
    return Loader(index, spec, **{"batch_size": 1, "device": "cpu", "seed": 3, "workers": 1} | options)


def test_it_goes_through_json_as_it_is(sets: dict[str, VideoIndex]) -> None:
    """Also of several sets, and with numbers of numpy."""
    spec = replace(SPEC, window=np.int64(6))  # type: ignore[arg-type]
    for index in (sets["a"], Mixture(sets, (1, 2))):
        with loader(index, spec, train=np.bool_(True)) as one:
            one.set_epoch(np.int64(5))
            state = one.state_dict()
            through = json.loads(json.dumps(state))
            assert through == state
            one.load_state_dict(through)
            assert one.epoch == 5


def test_one_with_tuples_is_taken(sets: dict[str, VideoIndex]) -> None:
    """As versions before saved the shares of several sets."""
    with loader(Mixture(sets, (1, 2))) as mixed:
        state = mixed.state_dict()
        state["sequence"]["shares"] = [tuple(share) for share in state["sequence"]["shares"]]
        mixed.load_state_dict(state)
        state["sequence"]["shares"] = [(1, 1), (1, 1)]
        with pytest.raises(VidsslError, match="shares"):
            mixed.load_state_dict(state)


def changed(index: VideoIndex, name: str, values: list[Any]) -> VideoIndex:
    table = index.table
    at = table.schema.get_field_index(name)
    return VideoIndex(table.set_column(at, name, pa.array(values, table.schema.field(name).type)), index.root)


def test_other_videos_of_the_same_lengths_are_refused(sets: dict[str, VideoIndex]) -> None:
    index, said = sets["a"], "files: the index is of other videos.*VideoIndex.save"
    with loader(index) as one:
        state = one.state_dict()
    others = [sets["b"], changed(index, "bytes", [1, 2, 3]), changed(index, "path", ["a0.avi", "a1.avi", "c.avi"])]
    for other in others:
        with loader(other) as one, pytest.raises(VidsslError, match=said):
            one.load_state_dict(state)
    with loader(Mixture(sets)) as one:
        state = one.state_dict()
    with loader(Mixture({"a": others[1], "b": sets["b"]})) as one, pytest.raises(VidsslError, match=said):
        one.load_state_dict(state)


def test_the_same_videos_elsewhere_are_taken(sets: dict[str, VideoIndex], tmp_path: Path) -> None:
    """And with other weights that give the same shares."""
    with loader(sets["a"]) as one, loader(VideoIndex(sets["a"].table, tmp_path)) as moved:
        moved.load_state_dict(one.state_dict())
    with loader(Mixture(sets, (1, 2))) as one, loader(Mixture(sets, (2, 4))) as scaled:
        scaled.load_state_dict(one.state_dict())


def test_another_draw_of_windows_is_refused(sets: dict[str, VideoIndex]) -> None:
    moves = replace(SPEC, windows="motion")
    with loader(sets["a"]) as even, loader(sets["a"], moves) as motion:
        with pytest.raises(VidsslError, match="windows: even then, motion now"):
            motion.load_state_dict(even.state_dict())
        with pytest.raises(VidsslError, match="windows: motion then, even now"):
            even.load_state_dict(motion.state_dict())
    with loader(sets["a"], train=False) as even, loader(sets["a"], moves, train=False) as motion:
        motion.load_state_dict(even.state_dict())  # evaluation shows the middle


def test_a_state_of_an_earlier_version_is_taken(sets: dict[str, VideoIndex]) -> None:
    """It lacks what the files are, and how windows are drawn."""
    with loader(sets["a"]) as one:
        state = one.state_dict()
        assert state["sequence"].pop("files")
        assert state["sequence"].pop("windows") == "even"
        one.load_state_dict(state)
        with loader(sets["a"], seed=4) as other, pytest.raises(VidsslError, match="seed: 3 then, 4 now"):
            other.load_state_dict(state)


def test_a_damaged_index_is_not_compared(sets: dict[str, VideoIndex], tmp_path: Path) -> None:
    """What its files are cannot be known; the loader replaces their windows."""
    sets["a"].save(tmp_path / "index.arrow")
    data = bytearray((tmp_path / "index.arrow").read_bytes())
    data[data.index(struct.pack("<q", sets["a"].row(1)["bytes"]))] ^= 1
    (tmp_path / "index.arrow").write_bytes(data)
    with loader(sets["a"]) as whole, loader(VideoIndex.load(tmp_path / "index.arrow")) as damaged:
        assert damaged.state_dict()["sequence"]["files"] is None
        whole.load_state_dict(damaged.state_dict())
        damaged.load_state_dict(whole.state_dict())


def test_plain_values() -> None:
    assert plain((1, (np.int64(2), "a"), None, [np.bool_(True)])) == [1, [2, "a"], None, [True]]
    assert type(plain(np.uint8(3))) is int
