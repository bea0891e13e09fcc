"""Probe and neighbours agree with scikit-learn on the same features; features come back from disk as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from tests.stages.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate import cache
from vidssl.evaluate.cache import cached
from vidssl.evaluate.features import Clips, Features
from vidssl.evaluate.linear import apply, fit
from vidssl.evaluate.probe import linear_probe, neighbours
from vidssl.models import ENCODERS
from vidssl.stages.plan import Augment


def features(count: int, seed: int, spread: float, classes: int = 5) -> Features:
    """Clouds around centres that are the same for every seed."""
    centre = np.random.default_rng(0).normal(size=(classes, 16))
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, count)
    x = (centre[label] + random.normal(0, spread, (count, 16))) * np.geomspace(0.01, 100, 16)
    return Features(torch.from_numpy(x.astype(np.float32)), [f"c{one}" for one in label], np.arange(count))


def test_the_linear_model_is_that_of_scikit_learn() -> None:
    train, test = features(300, 1, 1.2), features(200, 2, 1.2)
    label = np.array([int(name[1:]) for name in train.label])
    scale = StandardScaler().fit(train.feature.double().numpy())
    x, shown = scale.transform(train.feature.double().numpy()), scale.transform(test.feature.double().numpy())
    for strength in (0.1, 0.003):
        weight = fit(torch.from_numpy(x), torch.from_numpy(label), 5, strength)
        theirs = LogisticRegression(C=1 / (strength * len(x)), tol=1e-8, max_iter=2000).fit(x, label)
        ours = torch.softmax(apply(weight, torch.from_numpy(shown)), 1).numpy()
        np.testing.assert_allclose(ours, theirs.predict_proba(shown), atol=2e-4)
    best = max(
        (LogisticRegression(C=1 / (s * len(x)), max_iter=2000).fit(x, label).predict(shown) == [int(n[1:]) for n in test.label]).mean()
        for s in (0.3, 0.1, 0.03, 0.01, 0.003)
    )
    assert abs(float(linear_probe(train, test).double().mean()) - best) < 0.04


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_are_those_of_scikit_learn(k: int) -> None:
    train, test = features(400, 3, 1.0), features(150, 4, 1.0)
    theirs = KNeighborsClassifier(k, metric="cosine").fit(train.feature.numpy(), train.label)
    nearest = theirs.kneighbors(test.feature.numpy(), return_distance=False)
    votes = np.array(train.label)[nearest]
    clear = np.array(
        [(lambda found: len(found) < 2 or found[-1] > found[-2])(np.sort(np.unique(row, return_counts=True)[1])) for row in votes]
    )
    right = theirs.predict(test.feature.numpy()) == np.array(test.label)
    ours = neighbours(train, test, k, chunk=64).numpy()
    assert clear.mean() > 0.6
    assert (ours[clear] == right[clear]).all()
    near = normalize(test.feature.numpy()) @ normalize(train.feature.numpy()).T
    assert (neighbours(train, test, 1).numpy() == (np.array(train.label)[near.argmax(1)] == np.array(test.label))).all()


def test_a_tie_goes_to_the_nearer() -> None:
    train = Features(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["a", "b", "c"], np.arange(3))
    test = Features(torch.tensor([[1.0, 0.01]]), ["a"], np.arange(1))
    assert neighbours(train, test, 3).tolist() == [True]


def test_noise_is_not_told_apart() -> None:
    random = np.random.default_rng(5)
    train, test = (
        Features(torch.from_numpy(random.normal(size=(n, 64)).astype(np.float32)), [f"c{i % 4}" for i in range(n)], np.arange(n))
        for n in (200, 2000)
    )
    for right in (linear_probe(train, test), neighbours(train, test, 5)):
        assert abs(float(right.double().mean()) - 0.25) < 0.04


def test_wrong_use_is_named() -> None:
    train, test = features(20, 1, 1.0), features(10, 2, 1.0)
    with pytest.raises(VidsslError, match=r"k=21: take 1\.\.20"):
        neighbours(train, test, 21)
    with pytest.raises(VidsslError, match="some videos have none"):
        linear_probe(train, test._replace(label=[None] * 10))
    with pytest.raises(VidsslError, match="1 class"):
        linear_probe(train._replace(label=["a"] * 20), test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in ("run", "walk"):
        (root / name).mkdir()
        for number in range(4):
            make_clip(root / name / f"{number}.mp4", frames=70 + number)
    return root


def test_features_come_back_from_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = VideoIndex.build(folder, progress=False)
    clips = Clips(count=2, length=4, augment=Augment(resize=(40, 50), crop=(32, 32)))
    first, second = ENCODERS["r3d_tiny"](), ENCODERS["r3d_tiny"]()
    (made,) = cached(tmp_path, [first], index, clips, progress=False)
    real, asked = cache.extract, []

    def spy(encoders: list[object], *rest: object, **options: object) -> list[Features]:
        asked.append(list(encoders))
        return real(encoders, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "extract", spy)
    again, other = cached(tmp_path, [first, second], index, clips, progress=False)
    assert asked == [[second]]
    assert torch.equal(again.feature, made.feature)
    assert again.label == made.label
    assert (again.row == made.row).all()
    assert not torch.equal(other.feature, made.feature)
    cached(tmp_path, [first], index.select(range(6)), clips, progress=False)
    cached(tmp_path, [first], index, Clips(count=3, length=4, augment=clips.augment), progress=False)
    assert len(asked) == 3  # other videos, other clips
    next(tmp_path.glob("*.safetensors")).write_bytes(b"cut")
    cached(tmp_path, [first, second], index, clips, progress=False)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    small = ("--clip-length", "4", "--interval", "2", "--batch-size", "2", "--steps", "2", "--holdout", "0.25", "--workers", "1")
    assert main(["train", "vcop_r3d_tiny", "--data", str(folder), "--out", str(run), *small]) == 0
    assert main(["evaluate", "probe", str(run), "--data", str(folder), "--clips", "2", "--ks", "1", "3"]) == 0
    said = capsys.readouterr().out
    assert "6 videos to learn from, 2 to test, 2 classes; tested on the part that the recipe holds out" in said
    found = json.loads((run / "probe.json").read_text())
    assert set(found["scores"]["trained"]) == set(found["scores"]["untrained"]) == {"linear", "1-NN", "3-NN"}
    assert list((run / "features").glob("*.safetensors"))
