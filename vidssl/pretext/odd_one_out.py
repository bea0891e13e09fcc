"""Odd-One-Out (O3N): of a few sequences of one video, which one is in the wrong order?

Source: Fernando, Bilen, Gavves, Gould, "Self-Supervised Video Representation Learning With Odd-One-Out Networks", CVPR
2017. The dynamic
image: Bilen et al., "Dynamic Image Networks for Action Recognition", CVPR 2016, and their code. What is said to be ours
is not published, or was not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal, get_args, get_type_hints

import numpy as np
import torch
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext

WARP = Augment(resize=(227, 227), crop=(227, 227))


def rank_weights(frames: int) -> torch.Tensor:
    """float32 [frames]: weights of a sum that puts later frames above earlier ones: 2t - T - 1, t from 1; they sum to
    0.
    """
    return 2.0 * torch.arange(1, frames + 1) - frames - 1


def dynamic_image_weights(frames: int) -> torch.Tensor:
    """float32 [frames]: approximate rank pooling: sum over i = t .. T of (2i - T - 1) / i; they sum to 0."""
    step = rank_weights(frames).double() / torch.arange(1, frames + 1)
    return step.flip(0).cumsum(0).flip(0).float()


class FusionHead(nn.Module):
    """The elements' features fused, then two layers of 128 with ReLU, then the classes. features [B, K, D] to logits
    [B, classes].

    sum_of_difference: the sum of v_i - v_j over all i < j, which weighs K features by K - 1, K - 3, .. 1 - K.
    """

    def __init__(self, features: int, elements: int, fusion: str, *, hidden: int = 128) -> None:
        super().__init__()
        self.weight: torch.Tensor | None
        self.register_buffer(
            "weight", rank_weights(elements).flip(0) if fusion == "sum_of_difference" else None, persistent=False
        )
        self.layers = nn.Sequential(
            nn.Linear(features if self.weight is not None else features * elements, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, elements),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        fused = features.flatten(1) if self.weight is None else self.weight.to(features.dtype) @ features
        out: torch.Tensor = self.layers(fused)
        return out


@dataclass(frozen=True, kw_only=True)
class OddOneOut(Pretext):
    """Odd-One-Out. Each of a few elements is a sequence of frames of the same window; all are in order but one, and its
    place is the label.

    Args:
        elements: Sequences of a question (N + 1): N right ones and the odd one.
        length: Frames of a sequence (W).
        stride: From one frame of a sequence to its next, where the sampler takes neighbours.
        sampler: Where the frames come from: "consecutive" neighbours from anywhere in the video; "random" frames from
            anywhere in it, sorted; "constrained": neighbours, all sequences from one window of 1.5 sequences.
        wrong: The odd one's order: "any" but the right one, or "adjacent": two neighbours change places, which is
            harder.
        encoding: What the encoder sees of a sequence: "stack_of_differences" (3 (length - 1) channels),
            "dynamic_image", or "rank_sum", the differences' sum with weights 2t - W - 1 (3 channels each).
        fusion: Of the elements' features: "sum_of_difference" or "concat".
        augment: How frames are cut and coloured: warped to 227 x 227, nothing random (ours).
    """

    name: ClassVar[str] = "odd_one_out"
    elements: int = 6
    length: int = 6
    stride: int = 1
    sampler: Literal["consecutive", "random", "constrained"] = "constrained"
    wrong: Literal["any", "adjacent"] = "any"
    encoding: Literal["stack_of_differences", "dynamic_image", "rank_sum"] = "stack_of_differences"
    fusion: Literal["sum_of_difference", "concat"] = "sum_of_difference"
    augment: Augment = WARP

    def __post_init__(self) -> None:
        for name in ("sampler", "wrong", "encoding", "fusion"):
            names = get_args(get_type_hints(OddOneOut)[name])
            self._need(name, getattr(self, name) in names, f"take one of {', '.join(names)}")
        self._need("elements", 2 <= self.elements <= 10, "take 2 to 10 sequences")
        most = 7 if self.wrong == "any" else 64
        self._need("length", 2 <= self.length <= most, f"take 2 to {most} frames; with wrong='adjacent' up to 64")
        self._need("stride", self.stride >= 1, "take at least 1")
        self._need(
            "sampler",
            self.sampler != "random" or self.stride == 1,
            'with stride > 1 take "consecutive" or "constrained"',
        )
        self._need(
            "sampler", self.sampler != "random" or self.elements * self.length <= 64, "takes elements * length up to 64"
        )

    def table(self) -> PlanSpec:
        """A row for every place of the odd one and every wrong order; slot k shows the frames of group k."""
        right = tuple(range(self.length))
        if self.wrong == "any":
            wrong = [order for order in permutations(right) if order != right]
        else:
            wrong = [(*right[:i], i + 1, i, *right[i + 2 :]) for i in range(self.length - 1)]
        plain = np.arange(self.elements * self.length).reshape(self.elements, self.length)
        rows = np.tile(plain, (self.elements, len(wrong), 1, 1))  # [odd place, wrong order, K, T]
        for odd in range(self.elements):
            rows[odd, :, odd] = odd * self.length + np.array(wrong)
        single = self.sampler == "random"
        extent = (self.length - 1) * self.stride + 1
        return PlanSpec(
            arrangements=rows.reshape(-1, self.elements, self.length),  # [P, K, T]
            labels=np.arange(self.elements).repeat(len(wrong)),
            groups=self.elements,
            bases=self.length if single else 1,
            length=1 if single else self.length,
            stride=self.stride,
            draw="free",
            window=extent * 3 // 2 if self.sampler == "constrained" else "video",
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """Which sequence is the odd one, from 1."""
        return [f"odd {place + 1}" for place in range(self.elements)]

    def head(self, features: int) -> nn.Module:
        return FusionHead(features, self.elements, self.fusion)

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """A sequence [N, 3, W, h, w] as one picture [N, 3 or 3 (W - 1), 1, h, w]; a difference is a frame less the
        next.
        """
        if self.encoding == "stack_of_differences":
            return (clips[:, :, :-1] - clips[:, :, 1:]).transpose(1, 2).flatten(1, 2).unsqueeze(2)
        weights = (dynamic_image_weights if self.encoding == "dynamic_image" else rank_weights)(self.length)
        return torch.einsum("nctyx,t->ncyx", clips, weights.to(clips)).unsqueeze(2)
