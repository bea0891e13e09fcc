"""Rescaled features against scikit-learn, and neighbours of rescaled features."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.preprocessing import StandardScaler

from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import nearest
from vidssl.evaluate.probe import knn_probe, linear_probe
from vidssl.evaluate.scaling import Scaling, rescale
from vidssl.types import VidsslError


def _correlated(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Normal features with a common mean and a few strong directions."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, size)) @ np.random.default_rng(9).normal(size=(size, size)) + 3
    return torch.from_numpy(mixed.astype(np.float32))


def test_centre_and_standardise_are_those_of_scikit_learn() -> None:
    learnt, shown = _correlated(50, 8), _correlated(20, 8, seed=1)
    (centred,), (scaled,) = rescale("centre", learnt, shown), rescale("standardise", learnt, shown)
    theirs = StandardScaler().fit(learnt.numpy()).transform(shown.numpy()) * np.sqrt(49 / 50)  # it divides by N
    np.testing.assert_allclose(scaled.numpy(), theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(centred.numpy(), (shown - learnt.mean(0)).numpy(), rtol=1e-4, atol=1e-5)
    assert rescale("none", learnt, shown)[0] is shown


@pytest.mark.parametrize(("count", "size"), [(300, 8), (40, 30), (20, 60)])
def test_whitening_is_by_the_covariance_of_ledoit_and_wolf(count: int, size: int) -> None:
    """Products of whitened features are those of the inverse covariance, also with fewer videos than numbers."""
    learnt = _correlated(count, size)
    (white,) = rescale("whiten", learnt, learnt)
    fit = LedoitWolf().fit(learnt.double().numpy())
    centred = learnt.double().numpy() - fit.location_
    wanted = centred @ fit.precision_ @ centred.T
    np.testing.assert_allclose((white @ white.T).numpy(), wanted, atol=1e-4 * np.abs(wanted).max())
    assert white.shape == (count, min(count, size))


def test_features_without_spread_become_zero() -> None:
    same = torch.full((5, 3), 2.0)
    for scaling in ("centre", "standardise", "whiten"):
        assert not rescale(scaling, same, same)[0].any()
    with pytest.raises(VidsslError, match="scaling='l2': take one of none, centre, standardise, whiten"):
        rescale("l2", same, same)  # type: ignore[arg-type]


@pytest.mark.parametrize("scaling", ["none", "centre", "standardise", "whiten"])
def test_neighbours_of_rescaled_features(scaling: Scaling) -> None:
    """One fold at a time, by the statistics of the other groups; or all by those of the gallery."""
    x, rng = _correlated(60, 7), np.random.default_rng(2)
    people = Features(x, ["a"] * 60, np.arange(60), [f"{one}" for one in rng.integers(0, 6, 60)])
    found = nearest(people, people, 5, leave_group_out=True, scaling=scaling, chunk=4)
    group = np.array(people.groups())
    for at in range(60):
        others = np.flatnonzero(group != group[at])
        query, videos = rescale(scaling, x[others], x[at : at + 1], x[others])
        near = torch.nn.functional.cosine_similarity(query, videos).topk(5).indices
        assert found[at].tolist() == others[near.numpy()].tolist()
    asked = Features(_correlated(9, 7, seed=3), ["a"] * 9, np.arange(9))
    query, videos = rescale(scaling, x, asked.feature, x)
    wanted = torch.nn.functional.cosine_similarity(query[:, None], videos[None], dim=2).topk(3).indices
    assert torch.equal(nearest(asked, people, 3, scaling=scaling), wanted)


def test_scaling_reveals_a_class_that_a_common_direction_hides() -> None:
    """The class is in one small number; a large one, which all classes share, governs the cosine."""
    rng = np.random.default_rng(0)
    label = np.arange(80) % 2
    told = label[:, None] + 0.1 * rng.normal(size=(80, 1))
    x = np.concatenate([100 + 30 * rng.normal(size=(80, 1)), told, rng.normal(size=(80, 2)) * 20], 1)
    videos = Features(torch.from_numpy(x.astype(np.float32)), [f"{one}" for one in label], np.arange(80))
    right = {
        scaling: float(knn_probe(videos, videos, 1, leave_group_out=True, scaling=scaling).correct.double().mean())
        for scaling in ("none", "standardise")
    }
    assert right["none"] < 0.7 < 0.9 < right["standardise"]
    assert linear_probe(videos, videos, leave_group_out=True).correct.all()
