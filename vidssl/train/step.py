"""One step of the optimizer: forward, loss and backward of a batch, over all processes and all parts of the batch."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import nullcontext
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vidssl.models.norm import with_sync_norm
from vidssl.pretext import SlotModel
from vidssl.train.average import moving_average
from vidssl.train.config import TrainConfig
from vidssl.train.distributed import ProcessGroup
from vidssl.train.optimizer import layer_factors, make_optimizer
from vidssl.train.schedule import Schedule
from vidssl.types import Batch, VidsslError


class StepResult(NamedTuple):
    """What a step computes of a batch, on the device."""

    logits: torch.Tensor  # float [B, classes], of all tasks
    loss: torch.Tensor  # float [B, tasks], without the weights of the tasks
    label: torch.Tensor  # int64 [B, tasks]
    kept: torch.Tensor  # bool [B, tasks], within the task's limits
    grad_norm: torch.Tensor  # float [], before clipping


class Stepper:
    """Model and optimizer.

    The loss of a step is the mean over the kept tuples of all processes, however the tuples are spread over the
    processes. Of several tasks, it is the weighted sum of their means.

    Args:
        model: The model to train.
        config: How to train it.
        process_group: The processes that train together.
        amp: Whether to compute in bfloat16 autocast.
        schedule: Learning rate of each step.

    Attributes:
        model: What is trained and saved.
        forward: The same, compiled and distributed if the config asks for it.
        average: The moving average of the model; None without `ema`.

    Raises:
        VidsslError: sync_bn is asked for on CPUs or of other batch norms than PyTorch's, or layer_decay of an encoder
            that does not declare its layers.
    """

    def __init__(
        self, model: SlotModel, config: TrainConfig, process_group: ProcessGroup, *, amp: bool, schedule: Schedule
    ) -> None:
        self.config, self.process_group, self.amp, self.schedule = config, process_group, amp, schedule
        channels_last(model.encoder)
        if config.sync_bn and process_group.world_size > 1:
            if process_group.device.type != "cuda":
                raise VidsslError(
                    "train: sync_bn=True: PyTorch has it for GPUs only; take norm=group, or leave sync_bn out"
                )
            try:
                with_sync_norm(model)
            except ValueError as error:
                raise VidsslError(f"train: sync_bn=True: {error}") from error
        self.model = model
        factors = {
            f"encoder.{name}": factor for name, factor in layer_factors(model.encoder, config.layer_decay).items()
        }
        self.optimizer = make_optimizer(model, config, plain=self.model.plain_biases, factors=factors)
        self._weights = torch.tensor(model.weights, device=process_group.device)  # of the tasks
        self._distributed: DistributedDataParallel | None = None
        if process_group.world_size > 1:
            ids = [process_group.device] if process_group.device.type == "cuda" else None
            # PyTorch warns about kernels of one pixel, where only strides of dimensions of size 1 differ.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            self._distributed = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
        forward: nn.Module = self._distributed or model
        self.forward = torch.compile(forward) if config.compile else forward
        self.average = None if config.ema is None else moving_average(model, config.ema)

    @property
    def measured(self) -> SlotModel:
        """The model that is measured on held-out videos: the moving average if there is one."""
        return self.model if self.average is None else cast("SlotModel", self.average.module)

    def autocast(self) -> torch.autocast:
        """Returns the precision in which the model computes, as a context."""
        return torch.autocast(self.process_group.device.type, dtype=torch.bfloat16, enabled=self.amp)

    def backward(self, batch: Batch, step: int) -> StepResult:
        """Computes and clips the gradients of this process's batch of a step, counted from 0. `update` then moves the
        weights.
        """
        config, process_group, device = self.config, self.process_group, self.process_group.device
        torch.manual_seed(step_seed(config.seed, step, process_group.rank))  # dropout then depends on the step alone
        self.optimizer.zero_grad(set_to_none=True)
        # [B, tasks]; the others are outside the limits
        kept = task_columns(batch.status.to(device, non_blocking=True)) == 0
        count = kept.sum(0).float()
        process_group.all_reduce(count)
        weights = kept * (process_group.world_size / count.clamp(min=1))  # [B, tasks]; processes average gradients
        weights = weights * self._weights
        clips = batch.clips.to(device, non_blocking=True)  # [B, K, C, T, H, W]
        label = task_columns(batch.label.to(device, non_blocking=True))
        logits, losses = [], []
        parts = list(zip(*(whole.chunk(config.accumulate) for whole in (clips, label, weights)), strict=True))
        for at, (shown, target, weight) in enumerate(parts):
            with (
                self._distributed.no_sync() if self._distributed is not None and at < len(parts) - 1 else nullcontext()
            ):
                with self.autocast():
                    output = self.forward(shown)
                loss = self.model.losses(output.float(), target)
                (loss * weight).sum().backward()
            logits.append(output.detach().float())
            losses.append(loss.detach())
        self._check_encoder_learns()
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if config.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), config.clip_norm, norm)
        return StepResult(torch.cat(logits), torch.cat(losses), label, kept, norm)

    def _check_encoder_learns(self) -> None:
        """Raises VidsslError if no weight of the encoder that is to be trained has got a gradient."""
        trained = [one for one in self.model.encoder.parameters() if one.requires_grad]
        if trained and all(one.grad is None for one in trained):
            raise VidsslError(
                "train: encoder: its forward gives features without a gradient, so none of its weights would learn; "
                "leave torch.no_grad and detach out of it"
            )

    def update(self, step: int) -> None:
        """Moves the weights along the gradients. step: counted from 0."""
        rate = self.schedule(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def share_buffers(self) -> None:
        """Broadcasts the running statistics of rank 0, which are the ones that are saved."""
        if self.process_group.world_size > 1:
            for model in dict.fromkeys((self.model, self.measured)):
                for buffer in model.buffers():
                    torch.distributed.broadcast(buffer, 0)


def task_columns(values: torch.Tensor) -> torch.Tensor:
    """Returns labels or status of a batch, [B] or [B, tasks], as [B, tasks]: one column for each task."""
    return values.view(len(values), -1)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Returns the seed of all random numbers drawn while a step computes: a pure function of the arguments."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()[:8], "little") >> 1


def channels_last(encoder: nn.Module) -> None:
    """Stores weights of convolutions in the memory order of the clips: 1.2x on a CPU, tensor cores on a GPU."""
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            order = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=order)
