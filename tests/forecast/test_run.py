"""`estimate`: its figures are those of the work itself, as far as they can be known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vidssl
from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cpus import cpus
from vidssl.forecast import Estimate
from vidssl.forecast import estimate as run
from vidssl.forecast.look import Spent, look
from vidssl.forecast.run import _hours, _rooms, _wanted
from vidssl.train.config import Recipe


@pytest.fixture(scope="module")
def found(index: VideoIndex, recipe: Recipe) -> Estimate:
    return vidssl.estimate(index, recipe, seconds=0.1, sizes=["20x20", "native"], gpus=16, cores=4 * cpus())


def test_sizes_are_those_of_filled_stores(index: VideoIndex, found: Estimate, tmp_path: Path) -> None:
    """Exactly those of the frames; the files are at most 4 % larger."""
    assert list(found.sizes)[2:] == ["a store of 24x32", "a store of 20x20", "a store of native"]
    for name, size in {"24x32": (24, 32), "native": "native"}.items():
        store = FrameStore(tmp_path / name, size)
        store.fill(index, workers=1, progress=False)
        kept = sum(
            shard.frame_bytes(run) * run.frames for shard in store.shards(tmp_path / name)[0] for run in shard.runs()
        )
        figure = found.sizes[f"a store of {name}"]
        assert (figure.value, figure.source) == (kept, "from the index")
        assert kept < sum(path.stat().st_size for path in store.paths(tmp_path / name)) < 1.04 * kept


def test_facts_of_an_index_are_exact(index: VideoIndex, found: Estimate) -> None:
    assert (found.videos, found.usable.value, found.frames.value) == (10, 10, 9 * 36 + 9)
    assert found.sizes["videos as they are"].value == sum(index.column("bytes").to_pylist())
    assert {found.usable.source, found.frames.source} == {"from the index"}


def test_every_figure_says_where_it_comes_from(found: Estimate) -> None:
    assert list(found.work) == ["index", "prepare", "fill a store of 24x32"]
    assert {one.source for one in found.work.values()} == {"extrapolated"}
    assert {one.source for one in found.loads.values()} == {"measured here"}
    assert [found.load(way) for way in found.loads] == [4 * cpus() * (one.value or 0) for one in found.loads.values()]
    assert min(one.value or 0 for one in (*found.work.values(), *found.loads.values())) > 0
    assert (found.nodes, found.gpus_per_node) == (2, 8)
    assert found.sizes["prepared videos"].source == "extrapolated"


def test_a_folder_without_an_index_is_a_sample(index: VideoIndex, recipe: Recipe) -> None:
    found = run(index.root, recipe, seconds=0.01)
    assert (found.videos, found.looked, found.usable.source) == (10, 2, "from a sample")
    size = found.sizes["a store of 24x32"]
    assert size.source == "from a sample"
    assert size.value == pytest.approx((found.frames.value or 0) * 24 * 32 * 1.5, rel=0.01)


def test_hours_are_in_proportion_to_the_work(index: VideoIndex) -> None:
    """A trial of one hundredth of the work that took 36 seconds makes an hour; two alike leave no error."""
    seen = look(index, 30, 0.0)
    part = seen.work / 200
    hours = _hours(seen, [Spent(part, 18.0), Spent(part, 18.0)])
    assert (hours.value, hours.error, hours.source) == (pytest.approx(1.0), 0.0, "extrapolated")
    # 10 and 30 seconds for the same work: residuals of -10 and 10, so 2 * sqrt(2 / 1 * 200) / 40
    assert _hours(seen, [Spent(part, 10.0), Spent(part, 30.0)]).error == pytest.approx(1.0)
    assert _hours(seen, [Spent(part, 18.0)]).error is None
    none = _hours(seen, [], "no reason")
    assert (none.value, none.source, none.reason) == (None, "not measured", "no reason")


def test_rooms(tmp_path: Path) -> None:
    rooms = _rooms(None, 80 * 10**9, tmp_path)
    assert (rooms["GPU memory"].value, rooms["GPU memory"].source) == (40 * 10**9, "given")
    assert rooms["disk"].value is not None
    assert rooms["host memory"].source == "measured here"
    assert _rooms(None, None, tmp_path)["GPU memory"].reason == "no GPU is here; give --gpu-memory"


def test_what_a_gpu_trains_on(index: VideoIndex, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = look(index, 30, 0.0)
    assert _wanted(seen, recipe, 12, None, 0.0).about == "given"
    assert _wanted(seen, recipe, None, None, 0.0).about == "not measured: no GPU is here; give --samples-per-gpu"
    measured = _wanted(seen, recipe, None, torch.device("cpu"), 0.01)
    assert (measured.source, (measured.value or 0) > 0) == ("measured here", True)

    def full(*_: object) -> float:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr("vidssl.forecast.run.step_rate", full)
    assert "does not fit into the GPU" in _wanted(seen, recipe, None, torch.device("cpu"), 0.0).reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gpus": 0}, "gpus=0: take a whole number"),
        ({"gpus": None}, "gpus=None"),
        ({"gpus_per_node": 1.5}, "gpus_per_node=1.5"),
        ({"cores": True}, "cores=True"),
        ({"seconds": 0}, "seconds=0: take a number of seconds"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"samples_per_gpu": -1.0}, "samples_per_gpu=-1.0: take samples a second"),
        ({"samples_per_gpu": float("inf")}, "samples_per_gpu=inf"),
        ({"gpu_memory": 0}, "gpu_memory=0: take a number of bytes"),
        ({"sizes": ["big"]}, "store_size='big'"),
        ({"disk": "nowhere"}, "disk='nowhere': no such folder"),
    ],
)
def test_wrong_arguments_are_refused(index: VideoIndex, recipe: Recipe, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(VidsslError, match=said):
        run(index, recipe, **wrong)


def test_the_command(index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.save(tmp_path / "index.arrow")
    line = ["estimate", str(tmp_path / "index.arrow"), "--recipe", "arrow_r3d_tiny", "--seconds", "0.1", "--gpus", "64"]
    line += ["--samples-per-gpu", "1e9", "--gpu-memory", "80GB", "--json", str(tmp_path / "e.json")]
    assert main(line) == 0
    shown = capsys.readouterr().out
    assert "Training is limited by loading" in shown
    assert "a store of 128x171" in shown
    assert "a store of native" in shown
    about = json.loads((tmp_path / "e.json").read_text())
    assert (about["recipe"], about["nodes"], about["wanted"]["source"]) == ("arrow_r3d_tiny", 8, "given")
    assert about["rooms"]["GPU memory"]["value"] == 40e9
    assert about["sizes"]["a store of 36x36"]["value"] == FrameStore(None, (36, 36)).bytes_of(index)
    assert set(about["limits"].values()) == {"loading"}
    assert main([*line[:2], "--json", str(tmp_path / "index.arrow")]) == 2
    assert main([*line[:2], "--recipe", "none"]) == 2
    assert main(["estimate", str(tmp_path / "nothing")]) == 2
    assert "data='" in capsys.readouterr().err


def test_the_store_of_a_recipe(index: VideoIndex, recipe: Recipe) -> None:
    """A recipe with a size of its own shows decoded videos at that size too."""
    found = run(index, replace(recipe, store_size="20x24"), seconds=0.01)
    assert found.stored == "a store of 20x24"
    assert np.isfinite([one.value or np.nan for one in found.loads.values()]).all()
