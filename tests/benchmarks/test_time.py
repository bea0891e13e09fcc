"""The queue asks every case once, can be stopped, and no inductive pretraining sees a clip that is asked for."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench_time, runs, time_sets
from benchmarks.bench_time import main
from benchmarks.report import read
from benchmarks.time_tables import table
from tests.benchmarks.clips import labelled_set
from tests.clips import make_clip
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.step import Stepper, StepResult
from vidssl.train.train import train
from vidssl.types import Batch, VidsslError

METHOD = "opn_tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labelled sets of twelve clips in as many groups, or six, and one without labels."""
    root = tmp_path_factory.mktemp("data")
    for name, per_group in (("tennis", 1), ("fights", 2)):
        labelled_set(root, name, per_group=per_group)
    (root / "skate" / "ollie").mkdir(parents=True)
    make_clip(root / "skate" / "ollie" / "1.mp4", frames=36, gop=12)
    return root


def lines(out: Path) -> list[dict[str, Any]]:
    """In the order in which they were measured: after midnight, they stand in another file."""
    found = [json.loads(text) for path in out.glob("*.jsonl") for text in path.read_text().splitlines()]
    return sorted(found, key=lambda line: str(line["date"]))


def test_every_case_is_asked_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}

    def spy(recipe: Any, index: VideoIndex, out: Path, **how: Any) -> Any:
        seen[out.name] = set(index.column("path").to_pylist())
        assert how["store"].folder == (tmp_path / "keep" / "store").resolve()
        return train(recipe, index, out, **how)

    monkeypatch.setattr(runs, "train", spy)
    how: dict[str, Any] = {
        "data": data,
        "keep": tmp_path / "keep",
        "methods": (METHOD,),
        "ask": ("tennis", "fights"),
        "fraction": 0.5,
        "attentive": True,
        "quick": True,
        "out": tmp_path / "results",
    }
    main(**how)
    found = lines(tmp_path / "results")
    assert [line["workload"] for line in found] == [
        "inductive, low level",
        "transductive, low level",
        f"inductive, {METHOD}, seed 0",
        f"transductive, {METHOD}, seed 0",
    ]
    sets = time_sets.read_sets(data, None, tmp_path / "keep", asked=("tennis", "fights"), fraction=0.5)
    paths = np.array(sets.index.column("path").to_pylist())
    asked = {*paths[sets.asked["tennis"]], *paths[sets.asked["fights"]]}
    assert len(asked) == 12
    assert seen[f"inductive-{METHOD}-0"] == set(paths) - asked
    assert seen[f"transductive-{METHOD}-0"] == set(paths)
    assert any("skate" in path for path in paths)
    for line in found[2:]:
        inductive = line["form"] == "inductive"
        assert sum(line["sets"]["tennis"]["sizes"]) == (6 if inductive else 12)
        assert len(line["sets"]["fights"]["sizes"]) == (3 if inductive else 6)
        assert line["clips"] == (13 if inductive else 25)
        assert set(line["sets"]["tennis"]["numbers"]) == {"trained", "untrained"}
        assert {"R@1", "linear", "map: linear", "attentive"} <= set(line["sets"]["tennis"]["numbers"]["trained"])
        assert ("time" in line["sets"]) == (not inductive)  # nine groups are too few
        for one in line["sets"].values():
            for name, ways in one["numbers"].items():
                for way, value in ways.items():
                    assert sum(one["right"][name][way]) / sum(one["sizes"]) == pytest.approx(value)
    text = table(read(tmp_path / "results"))
    assert "**inductive, tennis**" in text
    assert "over frame difference" in text
    assert f"| {METHOD} | 1 | 2 |" in text
    monkeypatch.setattr(runs, "train", None)  # what the results have is not trained again
    main(**how)
    assert len(lines(tmp_path / "results")) == 4


def test_a_stopped_training_is_resumed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tmp_path / "keep"
    sets = time_sets.read_sets(data, None, keep, asked=("tennis",), fraction=0.5)
    recipe = bench_time.recipe_of(METHOD, 1, 10, quick=True)
    assert (recipe.train.seed, recipe.train.steps, recipe.store_size) == (1, 10, "36x36")
    steps: list[int] = []
    backward = Stepper.backward

    def stops(self: Stepper, batch: Batch, step: int) -> StepResult:
        steps.append(step)
        if step == 5 and steps.count(5) == 1:
            raise KeyboardInterrupt
        return backward(self, batch, step)

    monkeypatch.setattr(Stepper, "backward", stops)
    with pytest.raises(KeyboardInterrupt):
        bench_time.pretrain(recipe, sets.index, keep / "run", keep / "store")
    assert checkpoint.find(keep / "run").name == "step_00000004"
    run = bench_time.pretrain(recipe, sets.index, keep / "run", keep / "store")
    assert run.step == 10
    assert steps == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9]


def test_groups_are_set_aside_by_their_names(data: Path, tmp_path: Path) -> None:
    sets = time_sets.read_sets(data, None, tmp_path, asked=("fights",), fraction=0.3)
    again = time_sets.read_sets(data, None, tmp_path / "other", asked=("fights",), fraction=0.3)
    assert sets.digest == again.digest
    groups = sets.index.column("group").to_pylist()
    own = Counter(groups[row] for row in sets.asked["fights"].tolist())
    assert list(own.values()) == [2, 2]  # of twelve clips, at least 3.6, in whole groups
    assert all(count == groups.count(name) for name, count in own.items())
    with pytest.raises(VidsslError, match=r"asked='skate': no set, or one without labels; take some of fights, skate"):
        time_sets.split_sets(sets.index, ("skate",), 0.5)
    with pytest.raises(VidsslError, match=r"fraction=1.0: take a fraction of the clips"):
        time_sets.split_sets(sets.index, ("fights",), 1.0)
    with pytest.raises(VidsslError, match=r"data='.*nowhere': no such folder"):
        time_sets.read_sets(data / "nowhere", None, tmp_path, asked=(), fraction=0.5)


def test_steps_are_counted_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = time_sets.read_sets(data, None, tmp_path, asked=("tennis",), fraction=0.5)
    monkeypatch.setattr(bench_time, "PILOT", (1, 3))
    monkeypatch.setattr(bench_time, "recipe_of", partial(bench_time.recipe_of, quick=True))
    count = bench_time.count_steps(METHOD, sets, tmp_path, 0.5)
    kept = json.loads((tmp_path / "steps.json").read_text())[METHOD]
    assert count == kept["steps"] == max(1, round(30 / kept["seconds a step"]))
    monkeypatch.setattr(runs, "train", None)
    assert bench_time.count_steps(METHOD, sets, tmp_path, 0.5) == count
    with pytest.raises(
        VidsslError, match=r"minutes=0.25: .*steps.json has 0.5 for opn_tiny; take 0.5, or another keep"
    ):
        bench_time.count_steps(METHOD, sets, tmp_path, 0.25)


def test_a_method_is_a_recipe_and_tasks() -> None:
    joint = bench_time.recipe_of("opn_tiny:opn", 3, 7)
    assert (joint.pretext.name, joint.train.steps) == ("opn", 7)
    assert bench_time.folder_name("a:b,c") == "a-b+c"
    with pytest.raises(VidsslError, match=r"methods='nope:vcop': take a recipe, or RECIPE:TASK,TASK; recipes are"):
        bench_time.recipe_of("nope:vcop", 0, 1)
    with pytest.raises(VidsslError, match=r"forms=\['both'\]: take some of inductive, transductive"):
        main(data=Path("."), keep=Path("."), forms=("both",))


def case(seed: int, trained: list[int], untrained: list[int]) -> dict[str, Any]:
    numbers = {name: {"linear": sum(hits) / 20} for name, hits in (("trained", trained), ("untrained", untrained))}
    right = {"trained": {"linear": trained}, "untrained": {"linear": untrained}}
    about = {"form": "inductive", "method": "m", "seed": seed, "steps": 5, "commit": "0123456789", "changed": False}
    return {**about, "sets": {"tennis": {"numbers": numbers, "right": right, "sizes": [5, 5, 5, 5]}}}


def test_a_table_has_means_gains_and_both_intervals() -> None:
    runs = [
        case(0, [4, 4, 4, 4], [2, 2, 2, 2]),
        case(1, [5, 5, 5, 5], [3, 3, 3, 3]),
        case(2, [3, 3, 3, 3], [1, 1, 1, 1]),
    ]
    low = {
        "form": "inductive",
        "method": "low level",
        "commit": "0123456789",
        "changed": False,
        "sets": {
            "tennis": {
                "numbers": {"frame difference": {"linear": 0.6}},
                "right": {"frame difference": {"linear": [3, 3, 3, 3]}},
                "sizes": [5, 5, 5, 5],
            }
        },
    }
    text = table([*runs, low])
    assert "| frame difference |  |  | 60.0 | 0123456 |" in text
    wanted = "80.0 / 40.0, **+40.0** [+40.0, +40.0] (+40.0, +40.0); over frame difference +20.0 (+20.0, +20.0)"
    assert f"| m | 3 | 5 | {wanted} | 0123456 |" in text
    uneven = table([case(0, [5, 5, 0, 0], [2, 2, 2, 2]), case(1, [5, 5, 0, 0], [3, 3, 3, 3])])
    assert "50.0 / 50.0, +0.0 (" in uneven  # two seeds are too few for an interval over seeds
    assert "over frame difference" not in uneven
    asked_more = case(0, [4, 4, 4, 4], [2, 2, 2, 2]) | {"method": "more"}
    for part in ("numbers", "right"):
        for ways in asked_more["sets"]["tennis"][part].values():
            ways["attentive"] = ways["linear"]
    text = table([*runs, low, asked_more])
    assert f"| m | 3 | 5 | {wanted} |  | 0123456 |" in text
    assert "; over frame difference (linear) +20.0 (+20.0, +20.0) | 0123456 |" in text
