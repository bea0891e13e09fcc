"""Retrieval against brute force, and a whole evaluation on small video."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidssl.evaluate.features import Features
from vidssl.evaluate.retrieval import chance, evaluate_retrieval, retrieval, trained_encoder, untrained_encoder
from vidssl.stages.index import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.loop import train
from vidssl.types import VidsslError


def _features(count: int, seed: int, classes: int = 4) -> Features:
    rng = np.random.default_rng(seed)
    label = [f"class {number}" for number in rng.integers(0, classes, count)]
    return Features(torch.from_numpy(rng.normal(size=(count, 6)).astype(np.float32)), list(label), np.arange(count))


def _brute_force(query: Features, gallery: Features | None, k: int) -> float:
    """One query at a time, in float64, by sorting all distances."""
    among = query if gallery is None else gallery
    hits = 0
    for i, q in enumerate(query.feature.double().numpy()):
        scored = []
        for j, v in enumerate(among.feature.double().numpy()):
            if gallery is None and i == j:
                continue
            scored.append((1 - q @ v / np.linalg.norm(q) / np.linalg.norm(v), among.label[j]))
        hits += query.label[i] in [label for _, label in sorted(scored, key=lambda one: one[0])[:k]]
    return hits / len(query.label)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_retrieval_is_brute_force(chunk: int) -> None:
    query, gallery, ks = _features(40, 0), _features(55, 1), (1, 3, 10)
    assert retrieval(query, gallery, ks, chunk=chunk) == pytest.approx({k: _brute_force(query, gallery, k) for k in ks})
    assert retrieval(query, None, ks, chunk=chunk) == pytest.approx({k: _brute_force(query, None, k) for k in ks})


def test_a_video_is_not_its_own_neighbour() -> None:
    feature = torch.eye(4)
    alone = Features(feature, ["a", "b", "c", "d"], np.arange(4))
    assert retrieval(alone, None, (1, 3)) == {1: 0.0, 3: 0.0}
    assert retrieval(alone, alone, (1,)) == {1: 1.0}


@pytest.mark.parametrize("own", [True, False])
def test_chance_is_what_random_neighbours_give(own: bool) -> None:
    query, gallery = _features(30, 2), None if own else _features(41, 3)
    rng, among = np.random.default_rng(4), _features(30, 2) if own else _features(41, 3)
    hits = []
    for _ in range(400):
        for i, label in enumerate(query.label):
            others = [other for j, other in enumerate(among.label) if not (own and i == j)]
            hits.append(label in rng.choice(others, 3, replace=False))
    assert chance(query, gallery, (3,))[3] == pytest.approx(np.mean(hits), abs=0.02)


def test_wrong_input_is_named() -> None:
    with pytest.raises(VidsslError, match=r"ks=\(40,\): take numbers in 1\.\.39"):
        retrieval(_features(40, 0), None, (40,))
    with pytest.raises(VidsslError, match="label: some videos have none"):
        retrieval(_features(3, 0)._replace(label=["a", None, "b"]), None, (1,))


def test_evaluation_of_a_run(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(recipe, index, out, steps=2, device="cpu", quiet=True)
    table = evaluate_retrieval(out, index, clips=2, ks=(1, 5, 50), device="cpu", progress=False)
    assert (table.queries, table.gallery) == (2, 8)  # the short video is long enough for a clip
    assert list(table.trained) == [1, 5]
    written = json.loads((out / "retrieval.json").read_text())
    assert written["trained"] == {str(k): value for k, value in table.trained.items()}
    every = evaluate_retrieval(result.checkpoint, index, gallery=index, clips=2, ks=(1,), device="cpu", progress=False)
    assert every.trained == {1: 1.0}  # each video finds itself

    with pytest.raises(VidsslError, match=r"pool='max': .* only 1 x 1"):
        evaluate_retrieval(out, index, pool="max", device="cpu", progress=False)

    first, again = untrained_encoder(recipe), untrained_encoder(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    trained, read = trained_encoder(result.checkpoint)
    assert read == replace(recipe, train=replace(recipe.train, steps=2))
    assert not torch.equal(next(trained.parameters()), next(first.parameters()))
