"""Retrieval against brute force and against scikit-learn, and a whole evaluation on small video."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import nearest
from vidssl.evaluate.retrieval import chance, drop_last_batch, evaluate_retrieval, retrieval
from vidssl.evaluate.run import View, load_run, trained_encoder, untrained_encoder
from vidssl.evaluate.splits import Splits, make_splits, with_groups
from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError


def _features(count: int, seed: int, classes: int = 4, groups: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    label = [f"class {number}" for number in rng.integers(0, classes, count)]
    group = [f"group {number}" for number in rng.integers(0, groups, count)] if groups else None
    return Features(
        torch.from_numpy(rng.normal(size=(count, 6)).astype(np.float32)), list(label), np.arange(count), group
    )


def _brute_force(query: Features, gallery: Features, k: int, leave_group_out: bool) -> list[bool]:
    """One query at a time, in float64, by sorting all distances."""
    hits = []
    for i, q in enumerate(query.feature.double().numpy()):
        scored = []
        for j, v in enumerate(gallery.feature.double().numpy()):
            if leave_group_out and query.groups()[i] == gallery.groups()[j]:
                continue
            scored.append((1 - q @ v / np.linalg.norm(q) / np.linalg.norm(v), gallery.label[j]))
        hits.append(query.label[i] in [label for _, label in sorted(scored, key=lambda one: one[0])[:k]])
    return hits


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_retrieval_is_brute_force(chunk: int) -> None:
    query, gallery, ks = _features(40, 0), _features(55, 1), (1, 3, 10)
    people = _features(60, 5, groups=9)
    for a, b, leave_group_out in ((query, gallery, False), (query, query, True), (people, people, True)):
        found = retrieval(a, b, ks, leave_group_out=leave_group_out, chunk=chunk)
        assert {k: right.tolist() for k, right in found.items()} == {
            k: _brute_force(a, b, k, leave_group_out) for k in ks
        }


def test_neighbours_are_those_of_scikit_learn() -> None:
    query, gallery = _features(200, 2), _features(500, 3)
    theirs: npt.NDArray[np.int64] = (
        NearestNeighbors(n_neighbors=20, metric="cosine")
        .fit(gallery.feature.numpy())
        .kneighbors(query.feature.numpy())[1]
    )
    ours = nearest(query, gallery, 20, chunk=64).numpy()
    assert (ours == theirs).mean() > 0.999  # but for ties of float32
    label = np.array(gallery.label)
    for k, right in retrieval(query, gallery, (1, 5, 20)).items():
        assert right.tolist() == (label[theirs[:, :k]] == np.array(query.label)[:, None]).any(1).tolist()


def test_a_video_is_not_its_own_neighbour() -> None:
    alone = Features(torch.eye(4), ["a", "b", "c", "d"], np.arange(4))
    assert not any(right.any() for right in retrieval(alone, alone, (1, 3), leave_group_out=True).values())
    assert retrieval(alone, alone, (1,))[1].all()


@pytest.mark.parametrize(("own", "groups"), [(True, 0), (False, 0), (True, 6)])
def test_chance_is_what_random_neighbours_give(own: bool, groups: int) -> None:
    query, rng = _features(30, 2, groups=groups), np.random.default_rng(4)
    among = query if own else _features(41, 3)
    hits = []
    for _ in range(400):
        for i, label in enumerate(query.label):
            others = [
                other for j, other in enumerate(among.label) if not (own and query.groups()[i] == among.groups()[j])
            ]
            hits.append(label in rng.choice(np.array(others), 3, replace=False))
    assert chance(query, among, (3,), leave_group_out=own)[3] == pytest.approx(np.mean(hits), abs=0.02)


def test_the_published_slip_leaves_out_what_fills_no_batch() -> None:
    for videos, left in ((9537, 9536), (3783, 3776)):
        kept = drop_last_batch(Features(torch.zeros(videos, 1), ["a"] * videos, np.arange(videos)))
        assert len(kept.label) == len(kept.feature) == left
        assert kept.row[-1] == left - 1


def test_wrong_input_is_named() -> None:
    one = _features(40, 0)
    with pytest.raises(VidsslError, match=r"ks=\(40,\): take numbers in 1\.\.39"):
        retrieval(one, one, (40,), leave_group_out=True)
    with pytest.raises(VidsslError, match="label: some videos have none"):
        retrieval(_features(3, 0)._replace(label=["a", None, "b"]), one, (1,))
    with pytest.raises(VidsslError, match=r"retrieval: the videos to find have 1 class\(es\); give two or more"):
        retrieval(one, one._replace(label=["a"] * 40), (1,))


def test_evaluation_of_a_run(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(recipe, index, out, steps=2, device="cpu", quiet=True)
    run, view = load_run(out), View(clips=2)
    data = make_splits(run.recipe, run.trained_on, index)
    time.sleep(
        1
    )  # TensorBoard orders event files by the second, and those of one second by names of which 10 is before 9
    found = evaluate_retrieval(run, data, view=view, ks=(1, 5, 50), device="cpu", progress=False)
    # the short video is long enough for a clip
    assert found.counts == {"queries": 2, "gallery videos": 8, "classes": 3}
    assert list(found.numbers["trained"]) == ["R@1", "R@5"]
    written = json.loads((out / "retrieval.json").read_text())
    assert written["numbers"]["trained"]["R@1"]["value"] == found.numbers["trained"]["R@1"].value
    assert written["split"] == "tested on the run's held-out videos"
    assert {"protocol", "data", "seed", "versions", "checkpoint", "settings"} <= written.keys()
    assert Image.open(out / "retrieval.png").size[0] > 400
    board = EventAccumulator(str(out))
    board.Reload()
    assert [event.step for event in board.Scalars("retrieval/trained/R@1")] == [2]
    assert board.Images("retrieval/neighbours")

    every = Splits(train=index, test=index, description="")  # each video finds itself
    assert (
        evaluate_retrieval(run, every, view=view, ks=(1,), device="cpu", progress=False).numbers["trained"]["R@1"].value
        == 1.0
    )
    people = make_splits(run.recipe, run.trained_on, with_groups(index, r"_g\d"), leave_group_out=True)
    found = evaluate_retrieval(run, people, view=view, ks=(1,), drop_last=True, device="cpu", progress=False)
    assert found.counts["queries"] == 8  # of ten
    with pytest.raises(VidsslError, match=r"pool='max': the map is only 1 x 1"):
        evaluate_retrieval(run, data, view=View(clips=2, pool="max"), device="cpu", progress=False)

    first, again = untrained_encoder(recipe), untrained_encoder(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    trained, read = trained_encoder(result.checkpoint)
    assert read == replace(recipe, train=replace(recipe.train, steps=2))
    assert not torch.equal(next(trained.parameters()), next(first.parameters()))
