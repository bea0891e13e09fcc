"""How features are rescaled before they are compared by cosine.

The cosine of two features is governed by what all features have in common (their mean) and by the numbers that vary
most. A linear probe is hardly affected by either, so a feature may be good for a probe and poor for its neighbours.

| name | what is done, by statistics of the training videos |
|---|---|
| none | nothing, as published |
| centre | the mean is removed |
| standardise | the mean is removed, and each number is divided by its standard deviation |
| whiten | all directions vary alike: the mean is removed, and the rest is multiplied by covariance^(-1/2) |

Source of the covariance: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 88 (2004). It is shrunk towards a sphere, the more so the fewer videos there are.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from vidssl.evaluate.logistic import standardise
from vidssl.types import VidsslError

Scaling = Literal["none", "centre", "standardise", "whiten"]


def rescale(scaling: Scaling, learnt: torch.Tensor, *parts: torch.Tensor) -> list[torch.Tensor]:
    """Rescales features by the statistics of others.

    Args:
        scaling: How.
        learnt: float [N, D], the features whose statistics are taken.
        parts: float [M, D], the features to rescale.

    Returns:
        The rescaled parts. "whiten" gives [M, min(N, D)]: directions in which `learnt` does not vary are dropped.

    Raises:
        VidsslError: There is no such scaling.
    """
    if scaling not in get_args(Scaling):
        raise VidsslError(f"evaluate: scaling={scaling!r}: take one of {', '.join(get_args(Scaling))}")
    if scaling == "none":
        return list(parts)
    if scaling == "standardise":
        return standardise(learnt, *parts)[1:]
    mean = learnt.mean(0)
    centred = [part - mean for part in parts]
    if scaling == "centre":
        return centred
    transform = _whitening(learnt - mean)
    return [part @ transform for part in centred]


def scaling_notes(scaling: Scaling) -> tuple[str, ...]:
    """What a table of results does not show."""
    return () if scaling == "none" else (f"Neighbours: features are rescaled beforehand (scaling={scaling}).",)


def _whitening(centred: torch.Tensor) -> torch.Tensor:
    """The matrix [D, min(N, D)] that whitens features of mean 0 [N, D]: principal directions over their spread."""
    count, size = centred.shape
    _, spread, directions = torch.linalg.svd(centred.double(), full_matrices=False)
    variance = spread.square() / count
    sphere = variance.sum() / size  # the mean variance of the D numbers
    fourth = centred.double().square().sum(1).square().mean()
    apart = variance.square().sum()
    off = (apart - size * sphere.square()) / size  # how far the covariance is from a sphere
    noise = min((fourth - apart) / (size * count), off)  # and how far by chance
    shrinkage = noise / off if off > 0 else 1.0
    scale = ((1 - shrinkage) * variance + shrinkage * sphere).rsqrt()
    kept: torch.Tensor = torch.where(variance > 1e-12 * variance.max(), scale, 0)
    transform: torch.Tensor = directions.T * kept
    return transform.to(centred.dtype)
