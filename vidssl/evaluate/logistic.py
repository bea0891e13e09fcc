"""Multinomial logistic regression in the precision of its input, and the choice of its L2 penalty."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

# L2; the first allows hardly any weight
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
STEPS = 100  # at most, of L-BFGS


def fit_logistic(
    x: torch.Tensor,
    label: torch.Tensor,
    classes: int,
    penalty: float,
    start: torch.Tensor | None = None,
    *,
    tolerance: float = 1e-6,
) -> torch.Tensor:
    """Multinomial logistic regression by L-BFGS: weights [F + 1, classes], the last row the bias, which is not
    penalised.

    Minimises the mean cross entropy + penalty / 2 * the sum of the squared weights. x: float [N, F]. start: initial
    weights.
    tolerance: stop when the largest component of the gradient is below it.
    """
    weight = torch.zeros(x.shape[1] + 1, classes, dtype=x.dtype) if start is None else start.clone()
    weight.grad = torch.empty_like(weight)
    optimizer = torch.optim.LBFGS(
        [weight],
        max_iter=STEPS,
        history_size=10,
        tolerance_grad=tolerance,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    rows = torch.arange(len(label))

    @torch.no_grad()
    def closure() -> torch.Tensor:
        """The gradient by hand: autograd would keep two more arrays of the size of the logits."""
        logits = predict_logits(weight, x)
        norm = logits.logsumexp(1)
        loss = (norm - logits[rows, label]).double().mean() + 0.5 * penalty * weight[:-1].square().sum()
        slope = logits.sub_(norm[:, None]).exp_()  # [N, classes]
        slope[rows, label] -= 1
        assert weight.grad is not None
        weight.grad[:-1] = torch.mm(slope.T, x).T  # a quarter faster than x.T @ slope
        weight.grad[-1] = slope.sum(0)
        weight.grad /= len(label)
        weight.grad[:-1].add_(weight[:-1], alpha=penalty)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach()


def predict_logits(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Logits [N, classes] of x [N, F]."""
    return torch.addmm(weight[-1], x, weight[:-1])


def standardise(train: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Features [N, F] with the mean and standard deviation of `train` removed. A constant of `train` becomes 0."""
    mean, spread = train.mean(0), train.std(0)
    scale = torch.where(spread > 1e-6 * (1 + mean.abs()), 1 / spread, 0)
    return [(part - mean).mul_(scale) for part in (train, *others)]


def compact(train: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Features [N, F] in fewer numbers, if there are fewer training rows than numbers: [N, rows of `train`].

    A logistic regression with an L2 penalty predicts the same from them: its weights are sums of the training rows, so
    what is orthogonal to these rows never counts.
    """
    if train.shape[1] <= train.shape[0]:
        return [train, *others]
    basis = torch.linalg.qr(train.T).Q  # [F, N]
    return [part @ basis for part in (train, *others)]


def set_aside(group: torch.Tensor) -> torch.Tensor:
    """A quarter of the groups [N], on which settings are chosen; with fewer than four groups, every fourth row.

    Returns:
        bool [N].
    """
    groups = torch.from_numpy(np.unique(group.numpy()))
    if len(groups) < 4:
        return torch.arange(len(group)) % 4 == 0
    picked = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))[: len(groups) // 4]]
    return torch.isin(group, picked)


def choose_penalty(
    x: torch.Tensor, label: torch.Tensor, group: torch.Tensor, classes: int, *, tolerance: float = 1e-6
) -> tuple[float, torch.Tensor]:
    """Chooses the L2 penalty by cross entropy on a quarter of the groups, fitted on the other three quarters.

    Each fit starts from the weights of the penalty before.

    Returns:
        The penalty of PENALTIES with the lowest cross entropy, and its weights, as a start for the final fit.
    """
    aside = set_aside(group)
    best, penalty, worse = math.inf, PENALTIES[0], 0
    weight = kept = torch.zeros(x.shape[1] + 1, classes, dtype=x.dtype)
    train, train_label, other, other_label = x[~aside], label[~aside], x[aside], label[aside]
    for each in PENALTIES:
        weight = fit_logistic(train, train_label, classes, each, weight, tolerance=tolerance)
        loss = float(functional.cross_entropy(predict_logits(weight, other), other_label))
        best, penalty, kept, worse = (loss, each, weight, 0) if loss < best else (best, penalty, kept, worse + 1)
        if worse == 2:
            break
    return penalty, kept
