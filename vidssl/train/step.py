"""One step of the optimiser: forward, loss, backward, over all processes and all parts of a batch."""

from __future__ import annotations

import hashlib
import math
import warnings
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from vidssl.pretext import SlotModel
from vidssl.train.config import TrainConfig
from vidssl.train.ranks import Ranks
from vidssl.types import Batch, VidsslError


class Stepped(NamedTuple):
    """What a step made of a batch. logits: float [B, classes]; loss: float [B]; kept: bool [B], within the task's limits."""

    logits: torch.Tensor
    loss: torch.Tensor
    label: torch.Tensor
    kept: torch.Tensor
    grad_norm: torch.Tensor


class Stepper:
    """Model and optimiser. `model` is what is saved and evaluated; `forward` is the same, compiled and shared out where that is asked for.

    The loss of a step is the mean over the tuples within the task's limits of all processes, however these are spread over them.
    """

    def __init__(self, model: SlotModel, config: TrainConfig, ranks: Ranks, *, amp: bool, total: int) -> None:
        self.config, self.ranks, self.amp, self.total = config, ranks, amp, total
        channels_last(model.encoder)
        if config.sync_bn and ranks.size > 1:
            if ranks.device.type != "cuda":
                raise VidsslError("train: sync_bn=True: PyTorch has it for GPUs only; take norm=group, or no sync_bn")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self.model = model
        self.optimizer = make_optimizer(model, config)
        self._shared: DistributedDataParallel | None = None
        if ranks.size > 1:
            ids = [ranks.device] if ranks.device.type == "cuda" else None
            # Of kernels one pixel wide: only strides of dimensions of size one differ.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            self._shared = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
        forward: nn.Module = self._shared or model
        self.forward = torch.compile(forward) if config.compile else forward

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, dtype=torch.bfloat16, enabled=self.amp)

    def learning_rate(self, step: int) -> float:
        """Of the step to come: a function of its number alone, so that nothing has to be saved."""
        if self.config.schedule == "cosine":
            return self.config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total)))
        return self.config.lr * 0.1 ** sum(step >= milestone for milestone in self.config.milestones)

    def backward(self, batch: Batch, step: int) -> Stepped:
        """Gradients of a batch, this process's share of step `step`. The optimiser has not moved yet."""
        config, ranks, device = self.config, self.ranks, self.ranks.device
        torch.manual_seed(step_seed(config.seed, step, ranks.rank))  # dropout: nothing to save, whoever goes on from here
        self.optimizer.zero_grad(set_to_none=True)
        kept = batch.status.to(device, non_blocking=True) == 0  # [B]; the others break the task's own rules
        count = kept.sum().float()
        ranks.sum(count)
        share = kept * (ranks.size / count.clamp(min=1))  # [B]; gradients are averaged over the processes
        clips = batch.clips.to(device, non_blocking=True)  # [B, K, C, T, H, W]
        label = batch.label.to(device, non_blocking=True)
        logits, losses = [], []
        parts = list(zip(*(whole.chunk(config.accumulate) for whole in (clips, label, share)), strict=True))
        for at, (shown, asked, weight) in enumerate(parts):
            with self._shared.no_sync() if self._shared is not None and at < len(parts) - 1 else nullcontext():
                with self.autocast():
                    found = self.forward(shown)
                loss = functional.cross_entropy(found.float(), asked, reduction="none")
                (loss * weight).sum().backward()
            logits.append(found.detach().float())
            losses.append(loss.detach())
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        return Stepped(torch.cat(logits), torch.cat(losses), label, kept, norm)

    def update(self, step: int) -> None:
        """Moves the weights along the gradients."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step) * group["factor"]
        self.optimizer.step()

    def share_buffers(self) -> None:
        """Every process gets the first one's running statistics, which are the ones that are saved."""
        if self.ranks.size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Of all that is drawn while step `step` computes, a pure function of these."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8], "little") >> 1


def channels_last(encoder: nn.Module) -> None:
    """Convolutions in the memory order of the loader's clips: 1.2x on a CPU, tensor cores on a GPU."""
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            order = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=order)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Over the model's parameters, fused: one kernel for all. factor: of a group's learning rate."""
    if not config.caffe_bias:
        groups = [{"params": list(model.parameters()), "factor": 1.0}]
    else:
        named = list(model.named_parameters())
        biases = [parameter for name, parameter in named if name.endswith("bias")]
        others = [parameter for name, parameter in named if not name.endswith("bias")]
        groups = [{"params": others, "factor": 1.0}, {"params": biases, "factor": 2.0, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
