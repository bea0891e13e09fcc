"""Odd-One-Out (O3N): of a few sequences of one video, which one is in the wrong order?

Source: Fernando, Bilen, Gavves, Gould, "Self-Supervised Video Representation Learning With Odd-One-Out Networks", CVPR
2017. The dynamic image is from Bilen et al., "Dynamic Image Networks for Action Recognition", CVPR 2016, and their
code. docs/methods.md compares the settings with what is known of the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn

from vidssl.kernels.augment import LUMA, Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext

WARP = Augment(resize=(227, 227), crop=(227, 227))


def rank_weights(frames: int) -> torch.Tensor:
    """Compute the weights 2t - T - 1 of a sum over frames t = 1 .. T. They rise with t and sum to 0.

    Args:
        frames: Number of frames T.

    Returns:
        float32 [frames].
    """
    return 2.0 * torch.arange(1, frames + 1) - frames - 1


def dynamic_image_weights(frames: int) -> torch.Tensor:
    """Compute the weights of approximate rank pooling. They sum to 0.

    The weight of frame t is the sum over i = t .. T of (2i - T - 1) / i.

    Args:
        frames: Number of frames T.

    Returns:
        float32 [frames].
    """
    step = rank_weights(frames).double() / torch.arange(1, frames + 1)
    return step.flip(0).cumsum(0).flip(0).float()


class FusionHead(nn.Module):
    """Maps the features [B, K, D] of the elements to logits [B, K].

    The head fuses the features of the elements. Two hidden layers with ReLU and a linear classifier follow.

    Args:
        features: Features D of an element.
        elements: Elements K.
        fusion: "concat" concatenates the features. "sum_of_difference" sums v_i - v_j over all i < j, which weights the
            K features by K - 1, K - 3, .. 1 - K.
        hidden: Outputs of each hidden layer.
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
        """Map features [B, K, D] to logits [B, K]."""
        fused = features.flatten(1) if self.weight is None else self.weight.to(features.dtype) @ features
        out: torch.Tensor = self.layers(fused)
        return out


@dataclass(frozen=True, kw_only=True)
class OddOneOut(Pretext):
    """Odd-One-Out. Each element is a sequence of frames of the same video. One element, the odd one, is in the wrong
    order. The label is the number of its slot.

    Args:
        elements: Sequences in a tuple (N + 1): N in the right order and the odd one.
        length: Frames in a sequence (W).
        stride: Distance in frames from one frame of a sequence to the next; 1 takes every frame. The sampler "random"
            requires 1.
        sampler: How to draw the frames. "consecutive" draws each sequence, at the given stride, from anywhere in the
            video. "random" draws single frames from anywhere in the video and sorts them by time. "constrained" draws
            sequences like "consecutive", but all from one window that is 1.5 times as long as a sequence.
        wrong: The order of the odd one. "any" is any order except the right one. "adjacent" swaps two adjacent frames,
            which is harder to find.
        encoding: How to turn a sequence into one picture for the encoder. "stack_of_differences" stacks the differences
            of adjacent frames, in 3 (length - 1) channels. "stack_of_grey_differences" stacks those of the grey frames
            (BT.601 luma), in length - 1 channels. "dynamic_image" is approximate rank pooling. "rank_sum" is the sum of
            the frames with weights 2t - W - 1. These two have 3 channels. "frame" is the first frame alone, in which no
            order can be seen: a control, and what fine-tuning with RGB frames shows.
        fusion: How to fuse the features of the elements: "sum_of_difference" or "concat".
        augment: How to resize, crop, flip, colour and normalise the frames. Default: warp to 227 x 227, nothing
            random.
    """

    name: ClassVar[str] = "odd_one_out"
    elements: int = 6
    length: int = 6
    stride: int = 1
    sampler: Literal["consecutive", "random", "constrained"] = "constrained"
    wrong: Literal["any", "adjacent"] = "any"
    encoding: Literal["stack_of_differences", "stack_of_grey_differences", "dynamic_image", "rank_sum", "frame"] = (
        "stack_of_differences"
    )
    fusion: Literal["sum_of_difference", "concat"] = "sum_of_difference"
    augment: Augment = WARP

    def __post_init__(self) -> None:
        self._need("elements", 2 <= self.elements <= 10, "take 2 to 10 sequences")
        most = 7 if self.wrong == "any" else 64
        self._need("length", 2 <= self.length <= most, f"take 2 to {most} frames; with wrong='adjacent' up to 64")
        self._need_whole(stride=1)
        self._need_span(((self.length - 1) * self.stride + 1) * 3 // 2, "length", "stride")
        self._need(
            "sampler",
            self.sampler != "random" or self.stride == 1,
            'with stride > 1 take "consecutive" or "constrained"',
        )
        self._need(
            "sampler",
            self.sampler != "random" or self.elements * self.length <= 64,
            "takes elements * length up to 64; take fewer elements or frames",
        )

    def table(self) -> PlanSpec:
        """Make one row for each slot of the odd one and each wrong order. Slot k shows the frames of group k."""
        right = tuple(range(self.length))
        if self.wrong == "any":
            wrong = [order for order in permutations(right) if order != right]
        else:
            wrong = [(*right[:i], i + 1, i, *right[i + 2 :]) for i in range(self.length - 1)]
        plain = np.arange(self.elements * self.length).reshape(self.elements, self.length)
        rows = np.tile(plain, (self.elements, len(wrong), 1, 1))  # [slot of the odd one, wrong order, K, T]
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
        """The number of the odd sequence, counted from 1."""
        return [f"odd {place + 1}" for place in range(self.elements)]

    def head(self, features: int) -> nn.Module:
        """Make the head that maps features [B, elements, D] to logits [B, elements]."""
        return FusionHead(features, self.elements, self.fusion)

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Turn each sequence into one picture. A difference is a frame minus the next frame.

        Args:
            clips: Sequences [N, 3, W, h, w].

        Returns:
            Pictures [N, C, 1, h, w], with C = 3 (W - 1) for "stack_of_differences", C = W - 1 for
            "stack_of_grey_differences", and C = 3 otherwise.
        """
        clips = super().encode(clips)
        if self.encoding.startswith("stack"):
            if self.encoding == "stack_of_grey_differences":
                clips = torch.einsum("nctyx,c->ntyx", clips, clips.new_tensor(LUMA)).unsqueeze(1)
            return (clips[:, :, :-1] - clips[:, :, 1:]).transpose(1, 2).flatten(1, 2).unsqueeze(2)
        if self.encoding == "frame":
            return clips[:, :, :1]
        weights = (dynamic_image_weights if self.encoding == "dynamic_image" else rank_weights)(self.length)
        return torch.einsum("nctyx,t->ncyx", clips, weights.to(clips)).unsqueeze(2)
