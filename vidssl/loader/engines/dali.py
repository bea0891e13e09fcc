"""dali: one DALI graph, asynchronous on the device, with motion, plan and assemble as operators (csrc/dali).

A graph can begin with one of DALI's decoders.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn as dali_fn
from nvidia.dali import pipeline as dali_pipeline
from nvidia.dali.tensors import TensorCPU

from vidssl.kernels.joint import part_sample
from vidssl.loader.buffers import upload
from vidssl.loader.engines.base import Engine, Output, Settings, W, as_tuples, per_tuple
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.windows import DecodedWindow, Request, SegmentWindow
from vidssl.native import load_plugin
from vidssl.types import ColorSpace
from vidssl.video.color import rgb_space

fn: Any = dali_fn  # DALI adds its operators, and ours, when it loads plugins


class Graph(Engine[W]):
    """Takes windows from the host, and gives tuples on `settings.device` to torch without a copy (DLPack).

    It never waits for a GPU: uploads are pinned, and outputs are ready in the order of torch's current stream.
    """

    def __init__(self, settings: Settings) -> None:
        load_plugin()
        self.settings = settings
        self._fed: list[Any] = []  # what DALI reads until the batch is pulled
        self._leaving: deque[tuple[Any, list[Any]]] = deque()  # and, on a GPU, until the copies out of it end
        cuda = settings.device.type == "cuda"
        make: Any = dali_pipeline.Pipeline  # DALI carries no types
        self._pipeline = make(
            batch_size=settings.windows,
            num_threads=settings.threads,
            device_id=settings.device.index if cuda else None,
            prefetch_queue_depth=1,  # decoding runs ahead, in the loader's workers
            exec_dynamic=True,  # each output has memory of its own, which torch may keep
        )
        with self._pipeline:
            self._pipeline.set_outputs(*self._planned() if not settings.spec.needs_motion else self._scored())
        self._pipeline.build()

    @abstractmethod
    def _feed_frames(self, windows: Sequence[W]) -> None:
        """Feeds the inputs of the graph's first operators, and "source"."""

    @abstractmethod
    def _frames(self) -> Any:
        """Returns the graph's node that gives frames on the engine's device."""

    def push(self, windows: Sequence[W]) -> None:
        self._feed_frames(windows)
        requests = [window.request for window in windows]
        if self.settings.spec.needs_motion:
            for at, part in self._drawn():
                self._feed(f"place{at}_{part}", [self._place(request, at, part) for request in requests])
        else:
            for name in ("frame", "box", "flip", "color"):
                self._feed(name, [getattr(request.plan, name) for request in requests])
        self._pushed = windows
        self._pipeline.schedule_run()

    def pull(self) -> Output:
        settings, spec = self.settings, self.settings.spec
        requests = [window.request for window in self._taken()]
        stream = torch.cuda.current_stream(settings.device) if settings.device.type == "cuda" else None
        parts = [
            torch.utils.dlpack.from_dlpack(part.as_tensor()) for part in self._pipeline.outputs(cuda_stream=stream)
        ]
        self._release_fed(stream)
        clips = parts[0].view(torch.bfloat16) if settings.dtype == "bfloat16" else parts[0]
        if spec.needs_motion:
            position, label, status = parts[1].long(), parts[2], parts[3]
        else:
            position = self._upload([request.positions() for request in requests])
            label, status = (
                self._upload([getattr(request.plan, name) for request in requests]) for name in ("label", "status")
            )
        return Output(
            clips=as_tuples(clips, settings),
            label=per_tuple(label, settings),
            position=position.reshape(-1, spec.slots, spec.times),
            status=per_tuple(status, settings),
        )

    def close(self) -> None:
        super().close()
        self._pipeline._shutdown()
        self._fed.clear()
        self._leaving.clear()

    def _release_fed(self, stream: torch.cuda.Stream | None) -> None:
        """Releases what was fed for the batch that was just pulled, after everything that reads it has run."""
        fed, self._fed = self._fed, []
        if stream is None:
            return
        event: Any = stream.record_event()
        self._leaving.append((event, fed))
        while self._leaving and self._leaving[0][0].query():
            self._leaving.popleft()

    def _upload(self, arrays: list[Any]) -> torch.Tensor:
        return upload(np.stack(arrays), self.settings.device)

    def _feed(self, name: str, arrays: list[Any]) -> None:
        self._fed.append(arrays)
        self._pipeline.feed_input(name, arrays)

    def _host(self, name: str) -> Any:
        """Returns an external input on the host. For a GPU, DALI copies small tables, not large inputs."""
        return fn.external_source(
            name=name, batch=True, no_copy=self.settings.device.type == "cpu" or name in ("frames", "encoded")
        )

    def _inputs(self, *names: str) -> list[Any]:
        """Returns external inputs on the engine's device."""
        inputs = [self._host(name) for name in names]
        return [node.gpu() for node in inputs] if self.settings.device.type == "cuda" else inputs

    def _assemble(self, frames: Any, plan: Sequence[Any], source: Any) -> Any:
        settings = self.settings
        return fn.vidssl.assemble(
            frames,
            *plan,
            source=source,
            size=list(settings.spec.augment.crop),
            output_type=settings.dtype,
            channels_last=settings.channels_last,
        )

    def _planned(self) -> tuple[Any, ...]:
        """Returns the outputs of a graph whose plans are made on the host, before decoding."""
        plan = self._inputs("frame", "box", "flip", "color")
        return (self._assemble(self._frames(), plan, self._host("source")),)

    def _scored(self) -> tuple[Any, ...]:
        """Returns the outputs of a graph that makes plans from motion, one for each task of each tuple of a window."""
        spec, sampler = self.settings.spec, self.settings.sampler
        frames = self._frames()
        source = self._host("source")
        sad, thumb = fn.vidssl.motion(frames, source=source)
        plans = [
            fn.vidssl.plan(
                sad,
                thumb,
                source=source,
                place=self._host(f"place{at}_{part}"),
                plan=spec.parts[part].text,
                arrangements=spec.parts[part].arrangements.ravel().tolist(),
                labels=spec.parts[part].labels.tolist(),
                plan_seed=sampler.seed,
                train=sampler.train,
            )
            for at, part in self._drawn()
        ]
        frame, box, flip, color = (
            fn.cat(*parts, axis=0) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[:4]
        )
        label, status = (
            fn.stack(*parts) if len(plans) > 1 else parts[0] for parts in list(zip(*plans, strict=True))[4:]
        )
        return self._assemble(frames, (frame, box, flip, color), source), frame, label, status

    def _drawn(self) -> Iterator[tuple[int, int]]:
        """Yields the plans that are drawn of a window: (number of the tuple, number of the task)."""
        return product(range(self.settings.sampler.tuples), range(len(self.settings.spec.parts)))

    def _place(self, request: Request, at: int, part: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        sample = part_sample(self.settings.spec, request.samples[at], part)
        return np.array([self.settings.sampler.draw_epoch(request.epoch), sample], dtype=np.int64)


class FrameGraph(Graph[DecodedWindow]):
    """The graph for decoded frames: planar YUV."""

    def _feed_frames(self, windows: Sequence[DecodedWindow]) -> None:
        # The windows, and so their frames, are held until pull().
        self._feed("frames", as_fed([window.frames.data for window in windows], self.settings.device))
        self._feed("source", [_source(window.frames.size, window.frames.space) for window in windows])

    def _frames(self) -> Any:
        return self._inputs("frames")[0]


class SegmentGraph(Graph[SegmentWindow]):
    """The graph for segments of bitstream: it begins with one of DALI's decoders, which gives RGB [F, H, W, 3]."""

    def __init__(self, settings: Settings, decoder: GraphDecoder) -> None:
        self._decoder = decoder
        super().__init__(settings)

    def _feed_frames(self, windows: Sequence[SegmentWindow]) -> None:
        self._feed("encoded", [window.segment.data for window in windows])
        self._feed("position", [window.segment.position for window in windows])
        videos = [window.request.video for window in windows]
        self._feed("source", [_source(video.size, rgb_space(video.space)) for video in videos])

    def _frames(self) -> Any:
        """Asks the decoder for each frame once, ascending; for an earlier frame it would start again."""
        return fn.decoders.video(
            self._host("encoded"),
            frames=self._host("position"),
            device=self._decoder.device,
            pad_mode="none",
            affine=False,
        )


def as_fed(arrays: Sequence[np.ndarray[Any, np.dtype[np.uint8]]], device: torch.device) -> list[Any]:
    """Returns frames in the form in which DALI takes them for `device`.

    For a GPU, DALI must know that they are pinned (vidssl.loader.buffers); otherwise it first copies them into its own
    pinned memory.
    """
    if device.type != "cuda":
        return list(arrays)
    with torch.cuda.device(device):  # DALI assigns pinned memory to the current device
        return [TensorCPU(array, is_pinned=True) for array in arrays]


def _source(size: tuple[int, int], space: ColorSpace) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Returns the operators' argument `source` (csrc/dali/sample.h)."""
    return np.array([*size, *space.chroma, *space.to_rgb.ravel()], dtype=np.float32)
