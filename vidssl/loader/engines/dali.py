"""The DALI graph: motion, plan and assemble as operators of csrc/dali, on the device, asynchronously; before them, a decoder of DALI's."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn as dali_fn
from nvidia.dali import pipeline as dali_pipeline
from nvidia.dali.tensors import TensorCPU

from vidssl.loader.engines.base import Engine, Output, Setting, as_tuples, places
from vidssl.loader.worker import Fetched, Room
from vidssl.loader.buffers import upload
from vidssl.loader.graph_decoder import Hardware
from vidssl.native import load_plugin
from vidssl.video.color import rgb_space
from vidssl.types import ColorSpace

fn: Any = dali_fn  # its operators, ours among them, come into being when plugins are loaded


class Graph(Engine):
    """Frames, or the bitstream of them, go in from the host, tuples come out on `setting.device`, handed to torch without a copy (DLPack).

    hardware: the decoder that the graph begins with; None: windows come with their frames. On a GPU nothing here waits for it: what goes up
    is pinned, what comes out is ready in the order of torch's current stream.
    """

    def __init__(self, setting: Setting, hardware: Hardware | None = None) -> None:
        load_plugin()
        self.setting, self._hardware = setting, hardware
        self._fed: list[Any] = []  # what DALI reads in place until the batch is pulled
        self._leaving: deque[tuple[Any, list[Any]]] = deque()  # and, on a GPU, until copies out of it have ended
        cuda = setting.device.type == "cuda"
        make: Any = dali_pipeline.Pipeline  # DALI carries no types
        self._pipeline = make(
            batch_size=setting.windows,
            num_threads=setting.threads,
            device_id=setting.device.index if cuda else None,
            prefetch_queue_depth=1,  # what runs ahead is decoding, in the loader's workers
            exec_dynamic=True,  # every output has memory of its own, so that torch may keep it
        )
        with self._pipeline:
            self._pipeline.set_outputs(*self._planned() if not setting.spec.needs_motion else self._scored())
        self._pipeline.build()

    def push(self, windows: Sequence[Fetched], rooms: Sequence[Room | None]) -> None:
        if self._hardware is not None:
            pieces = [fetched.piece for fetched in windows if fetched.piece is not None]
            self._feed("encoded", [piece.data for piece in pieces])
            self._feed("position", [piece.position for piece in pieces])
            self._feed("source", [_source(fetched.video.size, rgb_space(fetched.video.space)) for fetched in windows])
        else:
            frames = [fetched.frames for fetched in windows if fetched.frames is not None]  # `windows` are held until pull()
            self._feed("frames", as_fed([one.data for one in frames], self.setting.device))
            self._feed("source", [_source(one.size, one.space) for one in frames])
        if self.setting.spec.needs_motion:
            for at in range(self.setting.sampler.tuples):
                self._feed(f"place{at}", [self._place(fetched, at) for fetched in windows])
        else:
            for name in ("frame", "box", "flip", "color"):
                self._feed(name, [getattr(fetched.plan, name) for fetched in windows])
        self._pushed = windows
        self._pipeline.schedule_run()

    def pull(self) -> Output:
        setting, spec = self.setting, self.setting.spec
        windows = self._taken()
        stream = torch.cuda.current_stream(setting.device) if setting.device.type == "cuda" else None
        parts = [torch.utils.dlpack.from_dlpack(part.as_tensor()) for part in self._pipeline.outputs(cuda_stream=stream)]
        self._let_go(stream)
        clips = parts[0].view(torch.bfloat16) if setting.dtype == "bfloat16" else parts[0]
        if spec.needs_motion:
            place, label, status = parts[1].long(), parts[2], parts[3]
        else:
            place = self._upload([places(fetched) for fetched in windows])
            label, status = (self._upload([getattr(fetched.plan, name) for fetched in windows]) for name in ("label", "status"))
        return Output(
            clips=as_tuples(clips, setting),
            label=label.reshape(-1),
            place=place.reshape(-1, spec.slots, spec.times),
            status=status.reshape(-1),
        )

    def close(self) -> None:
        super().close()
        self._pipeline._shutdown()
        self._fed.clear()
        self._leaving.clear()

    def _let_go(self, stream: torch.cuda.Stream | None) -> None:
        """Of what was fed for the batch just pulled, once everything that reads it has run."""
        fed, self._fed = self._fed, []
        if stream is None:
            return
        event: Any = stream.record_event()
        self._leaving.append((event, fed))
        while self._leaving and self._leaving[0][0].query():
            self._leaving.popleft()

    def _upload(self, arrays: list[Any]) -> torch.Tensor:
        return upload(np.stack(arrays), self.setting.device)

    def _feed(self, name: str, arrays: list[Any]) -> None:
        self._fed.append(arrays)
        self._pipeline.feed_input(name, arrays)

    def _host(self, name: str) -> Any:
        """An external input. What is large, and pinned for a GPU, is read in place; small tables for a GPU are first copied by DALI."""
        return fn.external_source(name=name, batch=True, no_copy=self.setting.device.type == "cpu" or name in ("frames", "encoded"))

    def _inputs(self, *names: str) -> list[Any]:
        """External inputs on the engine's device."""
        inputs = [self._host(name) for name in names]
        return [node.gpu() for node in inputs] if self.setting.device.type == "cuda" else inputs

    def _frames(self) -> Any:
        """Frames on the engine's device: planes as they were decoded, or RGB [F, H, W, 3] from the decoder here.

        It is asked for each frame once, ascending: it would begin anew for one that it has passed, and fill in what is not there.
        """
        if self._hardware is None:
            return self._inputs("frames")[0]
        return fn.decoders.video(
            self._host("encoded"), frames=self._host("position"), device=self._hardware.device, pad_mode="none", affine=False
        )  # fmt: skip

    def _assemble(self, frames: Any, plan: Sequence[Any], source: Any) -> Any:
        setting = self.setting
        return fn.vidssl.assemble(
            frames, *plan, source=source, size=list(setting.spec.augment.crop), output_type=setting.dtype,
            channels_last=setting.channels_last,
        )  # fmt: skip

    def _planned(self) -> tuple[Any, ...]:
        """Plans made on the host before decoding: only assemble is left."""
        plan = self._inputs("frame", "box", "flip", "color")
        return (self._assemble(self._frames(), plan, self._host("source")),)

    def _scored(self) -> tuple[Any, ...]:
        """Plans that depend on motion are made here, one for each tuple of the window."""
        spec, sampler = self.setting.spec, self.setting.sampler
        frames = self._frames()
        source = self._host("source")
        sad, thumb = fn.vidssl.motion(frames, source=source)
        plans = [
            fn.vidssl.plan(
                sad, thumb, source=source, place=self._host(f"place{at}"), plan=spec.text,
                arrangements=spec.arrangements.ravel().tolist(), labels=spec.labels.tolist(), plan_seed=sampler.seed, train=sampler.train,
            )
            for at in range(sampler.tuples)
        ]  # fmt: skip
        frame, box, flip, color = (fn.cat(*parts, axis=0) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[:4])
        label, status = (fn.stack(*parts) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[4:])
        return self._assemble(frames, (frame, box, flip, color), source), frame, label, status

    def _place(self, fetched: Fetched, at: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([self.setting.sampler.draw_epoch(fetched.epoch), fetched.samples[at]], dtype=np.int64)


def as_fed(arrays: Sequence[np.ndarray[Any, np.dtype[np.uint8]]], device: torch.device) -> list[Any]:
    """Frames as DALI is fed them for `device`.

    For a GPU they are pinned (vidssl.loader.buffers), which DALI has to be told: else it copies them into pinned memory of its own first.
    """
    if device.type != "cuda":
        return list(arrays)
    with torch.cuda.device(device):  # DALI takes pinned memory for the current device's
        return [TensorCPU(array, is_pinned=True) for array in arrays]


def _source(size: tuple[int, int], space: ColorSpace) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The operators' argument `source`, see csrc/dali/sample.h."""
    return np.array([*size, *space.chroma, *space.to_rgb.ravel()], dtype=np.float32)
