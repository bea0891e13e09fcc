"""The DALI graph: motion, plan and assemble as operators of csrc/dali, on the device, asynchronously."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn
from nvidia.dali.pipeline import Pipeline

from vidssl.loader.engine import Output, Setting, as_tuples, join_plans, places
from vidssl.loader.fetch import Fetched
from vidssl.native import load_plugin
from vidssl.types import Plan


class Graph:
    """Frames go in from the host, tuples come out on `setting.device`, handed to torch without a copy (DLPack)."""

    def __init__(self, setting: Setting) -> None:
        load_plugin()
        self.setting = setting
        self._pushed: tuple[Sequence[Fetched], list[Plan] | None] | None = None
        cuda = setting.device.type == "cuda"
        self._pipeline = Pipeline(
            batch_size=setting.windows,
            num_threads=setting.threads,
            device_id=(setting.device.index or 0) if cuda else None,
            prefetch_queue_depth=1,  # what runs ahead is decoding, in the loader's workers
            exec_dynamic=True,  # every output has memory of its own, so that torch may keep it
        )
        with self._pipeline:
            self._pipeline.set_outputs(*self._planned() if not setting.spec.needs_motion else self._scored())
        self._pipeline.build()

    @property
    def pending(self) -> bool:
        return self._pushed is not None

    def push(self, windows: Sequence[Fetched]) -> None:
        feed = self._pipeline.feed_input
        feed("frames", [fetched.frames.data for fetched in windows])
        feed("source", [_source(fetched) for fetched in windows])
        plans: list[Plan] | None = None
        if self.setting.spec.needs_motion:
            for at in range(self.setting.sampler.tuples):
                feed(f"place{at}", [self._place(fetched, at) for fetched in windows])
        else:
            plans = [join_plans(fetched) for fetched in windows]
            for name in ("frame", "box", "flip", "color"):
                feed(name, [getattr(plan, name) for plan in plans])
        self._pushed = windows, plans
        self._pipeline.schedule_run()

    def pull(self) -> Output:
        setting, spec = self.setting, self.setting.spec
        assert self._pushed is not None
        (windows, plans), self._pushed = self._pushed, None
        stream = torch.cuda.current_stream(setting.device) if setting.device.type == "cuda" else None
        parts = [torch.from_dlpack(part.as_tensor()) for part in self._pipeline.outputs(cuda_stream=stream)]
        clips = parts[0].view(torch.bfloat16) if setting.dtype == "bfloat16" else parts[0]
        if plans is None:
            place, label, status = parts[1].long(), parts[2], parts[3]
        else:
            to = dict(device=setting.device, non_blocking=True)
            place = torch.from_numpy(np.stack([places(f, p) for f, p in zip(windows, plans, strict=True)])).to(**to)
            label = torch.from_numpy(np.stack([plan.label for plan in plans])).to(**to)
            status = torch.from_numpy(np.stack([plan.status for plan in plans])).to(**to)
        return Output(
            clips=as_tuples(clips, setting),
            label=label.reshape(-1),
            place=place.reshape(-1, spec.slots, spec.times),
            status=status.reshape(-1),
        )

    def close(self) -> None:
        self._pushed = None
        self._pipeline._shutdown()

    def _inputs(self, *names: str) -> list[Any]:
        """External inputs on the engine's device."""
        inputs = [fn.external_source(name=name, batch=True) for name in names]
        return [node.gpu() for node in inputs] if self.setting.device.type == "cuda" else inputs

    def _assemble(self, frames: Any, plan: Sequence[Any], source: Any) -> Any:
        setting = self.setting
        return fn.vidssl.assemble(
            frames, *plan, source=source, size=list(setting.spec.augment.crop), output_type=setting.dtype,
            channels_last=setting.channels_last,
        )  # fmt: skip

    def _planned(self) -> tuple[Any, ...]:
        """Plans made on the host before decoding: only assemble is left."""
        frames, *plan = self._inputs("frames", "frame", "box", "flip", "color")
        return (self._assemble(frames, plan, fn.external_source(name="source", batch=True)),)

    def _scored(self) -> tuple[Any, ...]:
        """Plans that depend on motion are made here, one for each tuple of the window."""
        spec, sampler = self.setting.spec, self.setting.sampler
        (frames,) = self._inputs("frames")
        source = fn.external_source(name="source", batch=True)
        sad, thumb = fn.vidssl.motion(frames, source=source)
        plans = [
            fn.vidssl.plan(
                sad, thumb, source=source, place=fn.external_source(name=f"place{at}", batch=True), plan=spec.text,
                arrangements=spec.arrangements.ravel().tolist(), labels=spec.labels.tolist(), plan_seed=sampler.seed, train=sampler.train,
            )
            for at in range(sampler.tuples)
        ]  # fmt: skip
        frame, box, flip, color = (fn.cat(*parts, axis=0) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[:4])
        label, status = (fn.stack(*parts) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[4:])
        return self._assemble(frames, (frame, box, flip, color), source), frame, label, status

    def _place(self, fetched: Fetched, at: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([self.setting.sampler.draw_epoch(fetched.epoch), fetched.samples[at]], dtype=np.int64)


def _source(fetched: Fetched) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The operators' argument `source`, see csrc/dali/sample.h."""
    frames = fetched.frames
    return np.array([*frames.size, *frames.space.chroma, *frames.space.to_rgb.ravel()], dtype=np.float32)
