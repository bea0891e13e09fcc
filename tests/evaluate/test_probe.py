"""Probe and neighbours agree with scikit-learn on the same features; whole evaluations by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, normalize

from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate.features import Features
from vidssl.evaluate.logistic import compact, fit_logistic, predict_logits, standardise
from vidssl.evaluate.low_level import has_flow
from vidssl.evaluate.probe import knn_probe, linear_probe
from vidssl.train.config import Recipe
from vidssl.train.train import train


def features(count: int, seed: int, spread: float, classes: int = 5) -> Features:
    """Clouds around centres that are the same for every seed."""
    centre = np.random.default_rng(0).normal(size=(classes, 16))
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, count)
    x = (centre[label] + random.normal(0, spread, (count, 16))) * np.geomspace(0.01, 100, 16)
    return Features(torch.from_numpy(x.astype(np.float32)), [f"c{one}" for one in label], np.arange(count))


@pytest.mark.parametrize(("kind", "near"), [(torch.float64, 2e-4), (torch.float32, 2e-3)])
def test_the_linear_model_is_that_of_scikit_learn(kind: torch.dtype, near: float) -> None:
    train, test = features(300, 1, 1.2), features(200, 2, 1.2)
    label = np.array([int(name[1:]) for name in map(str, train.label)])
    scale = StandardScaler().fit(train.feature.double().numpy())
    x, shown = scale.transform(train.feature.double().numpy()), scale.transform(test.feature.double().numpy())
    for penalty in (0.1, 0.003):
        weight = fit_logistic(torch.from_numpy(x).to(kind), torch.from_numpy(label), 5, penalty)
        theirs = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=2000).fit(x, label)
        ours = torch.softmax(predict_logits(weight, torch.from_numpy(shown).to(kind)), 1).numpy()
        np.testing.assert_allclose(ours, theirs.predict_proba(shown), atol=near)


def test_the_probe_finds_what_scikit_learn_finds_at_its_best() -> None:
    train, test = features(300, 1, 1.2), features(200, 2, 1.2)
    scale = StandardScaler().fit(train.feature.numpy())
    x, shown = scale.transform(train.feature.numpy()), scale.transform(test.feature.numpy())
    shares = [
        LogisticRegression(C=1 / (penalty * len(x)), max_iter=2000).fit(x, train.label).score(shown, test.label)
        for penalty in (0.3, 0.1, 0.03, 0.01, 0.003)
    ]
    found = linear_probe(train, test)
    assert abs(float(found.correct.double().mean()) - max(shares)) < 0.04
    said = [found.classes[at] for at in found.predicted.tolist()]
    assert found.table() == {"classes": found.classes, "table": confusion_matrix(test.label, said).tolist()}


def test_compact_features_are_predicted_alike() -> None:
    random = np.random.default_rng(8)
    x, shown = (torch.from_numpy(random.normal(size=(count, 50))) for count in (20, 30))
    label = torch.arange(20) % 3
    few, few_shown = compact(x, shown)
    assert few.shape == (20, 20)
    whole = predict_logits(fit_logistic(x, label, 3, 0.1), shown)
    torch.testing.assert_close(predict_logits(fit_logistic(few, label, 3, 0.1), few_shown), whole, atol=1e-4, rtol=0)
    assert compact(x[:, :10], shown[:, :10])[0].shape == (20, 10)


def test_what_does_not_vary_is_left_out() -> None:
    known, asked = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([[5.0, 7.0]])
    x, shown = standardise(known, asked)
    assert x[:, 1].tolist() == [0, 0]
    assert shown.tolist() == [[pytest.approx(3 / 2**0.5), 0.0]]


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_are_those_of_scikit_learn(k: int) -> None:
    train, test = features(400, 3, 1.0), features(150, 4, 1.0)
    theirs = KNeighborsClassifier(k, metric="cosine").fit(train.feature.numpy(), train.label)
    nearest = theirs.kneighbors(test.feature.numpy(), return_distance=False)
    votes = np.array(train.label)[nearest]
    counts = [np.sort(np.unique(row, return_counts=True)[1]) for row in votes]
    # scikit-learn settles ties by the classes' order
    clear = np.array([len(count) < 2 or count[-1] > count[-2] for count in counts])
    right = theirs.predict(test.feature.numpy()) == np.array(test.label)
    ours = knn_probe(train, test, k, chunk=64).correct.numpy()
    assert clear.mean() > 0.6
    assert (ours[clear] == right[clear]).all()
    near = normalize(test.feature.numpy()) @ normalize(train.feature.numpy()).T
    assert (
        knn_probe(train, test, 1).correct.numpy() == (np.array(train.label)[near.argmax(1)] == np.array(test.label))
    ).all()


def test_a_tie_goes_to_the_nearer() -> None:
    train = Features(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), ["b", "a", "c"], np.arange(3))
    test = Features(torch.tensor([[1.0, 0.01]]), ["b"], np.arange(1))
    assert knn_probe(train, test, 3).correct.tolist() == [True]


def test_each_group_is_told_by_the_others() -> None:
    """As many models as groups, each of the others alone: the same as one by one."""
    one = features(60, 6, 0.8)._replace(group=[f"person {at % 6}" for at in range(60)])
    together = linear_probe(one, one, leave_group_out=True)
    near = knn_probe(one, one, 3, leave_group_out=True)
    for person in range(6):
        own, others = (np.flatnonzero((np.arange(60) % 6 == person) == mine) for mine in (True, False))
        alone = linear_probe(one.take(others), one.take(own))
        assert [together.classes[at] for at in together.predicted[own].tolist()] == [
            alone.classes[at] for at in alone.predicted.tolist()
        ]
        assert near.correct[own].tolist() == knn_probe(one.take(others), one.take(own), 3).correct.tolist()


def test_noise_is_not_told_apart() -> None:
    random = np.random.default_rng(5)
    train, test = (
        Features(
            torch.from_numpy(random.normal(size=(n, 64)).astype(np.float32)),
            [f"c{i % 4}" for i in range(n)],
            np.arange(n),
        )
        for n in (200, 2000)
    )
    for found in (linear_probe(train, test), knn_probe(train, test, 5)):
        assert abs(float(found.correct.double().mean()) - 0.25) < 0.04


def test_wrong_use_is_named() -> None:
    train, test = features(20, 1, 1.0), features(10, 2, 1.0)
    with pytest.raises(VidsslError, match=r"k=21: take 1\.\.20"):
        knn_probe(train, test, 21)
    with pytest.raises(VidsslError, match="some videos have none"):
        linear_probe(train, test._replace(label=[None] * 10))
    with pytest.raises(VidsslError, match="1 class"):
        linear_probe(train._replace(label=["a"] * 20), test)


@pytest.fixture(scope="module")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    index.save(out / "index.arrow")
    train(recipe, index, out, steps=2, device="cpu", quiet=True)
    return out


def test_the_command(index: VideoIndex, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--train", str(index.root), "--clips", "2", "--ks", "1", "3", "--device", "cpu")
    assert main(["evaluate", "probe", str(run), *small]) == 0
    said = capsys.readouterr().out
    assert "8 training videos, 2 test videos, 3 classes; tested on the run's held-out videos" in said
    found = json.loads((run / "probe.json").read_text())
    assert set(found["numbers"]["trained"]) == set(found["numbers"]["untrained"]) == {"linear", "1-NN", "3-NN"}
    assert len(found["detail"]["confusion"]["trained"]["table"]) == 3
    assert len(list((run / "features").glob("*.safetensors"))) == 2 * (2 + 2 + has_flow())
    assert {"frame difference", "colour histogram"} < set(found["numbers"])

    other = run / "leave_group_out.json"
    assert (
        main(["evaluate", "probe", str(run), *small, "--groups", r"_g\d", "--leave-group-out", "--out", str(other)])
        == 0
    )
    assert "10 test videos" in capsys.readouterr().out
    # three, and the video without one
    assert json.loads(other.read_text())["split"].startswith("each of 4 groups tested")


def test_videos_in_both_parts_are_refused(index: VideoIndex, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "probe", str(run), "--train", str(index.root), "--test", str(index.root)]) == 2
    assert "10 of its videos are in train too" in capsys.readouterr().err
