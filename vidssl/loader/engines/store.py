"""store: assembles a whole batch in place from frames that lie on the device, by one call for all windows of one size.

Windows that are not there are uploaded, and assembled one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vidssl.kernels.assemble import Layout, assemble
from vidssl.kernels.joint import draw_plans
from vidssl.kernels.motion import Motion, motion_many
from vidssl.kernels.plan import MAX_SHOWN
from vidssl.loader.buffers import upload, upload_together
from vidssl.loader.engines.base import Engine, Output, Settings, as_tuples, per_tuple
from vidssl.loader.windows import DecodedWindow, StoredWindow
from vidssl.store.device import Arenas
from vidssl.types import Frames, Plan

_Window = StoredWindow | DecodedWindow


class _Group(NamedTuple):
    """Windows that one call assembles, by their number in the batch."""

    frames: Frames
    windows: list[int]


class Stored(Engine[_Window]):
    """Launches everything on the current stream, and never waits for a GPU."""

    def __init__(self, settings: Settings, arenas: Arenas) -> None:
        self.settings, self._arenas = settings, arenas
        self._type: torch.dtype = getattr(torch, settings.dtype)
        self._layout: Layout = "kthwc" if settings.channels_last else "kcthw"
        spec, crop = settings.spec, settings.spec.augment.crop
        self._each = settings.sampler.tuples * spec.slots  # slots of a window
        self._picture = (spec.times, *crop, 3) if settings.channels_last else (3, spec.times, *crop)

    def push(self, windows: Sequence[_Window]) -> None:
        self._pushed = windows

    def pull(self) -> Output:
        windows = self._taken()
        groups = self._groups(windows)
        order = np.array([at for group in groups for at in group.windows])  # of the windows, group by group
        ordered = [windows[at] for at in order]
        scored = self.settings.spec.needs_motion
        plan, position = self._scored(ordered, groups) if scored else self._planned(ordered)
        clips = torch.empty((len(position), *self._picture), dtype=self._type, device=self.settings.device)
        for frames, begin, end in self._calls(groups):
            part = plan._replace(**{name: getattr(plan, name)[begin:end] for name in ("frame", "box", "flip", "color")})
            assemble(
                frames,
                part,
                size=self.settings.spec.augment.crop,
                dtype=self.settings.dtype,
                layout=self._layout,
                out=clips[begin:end],
                used_before=False,
                threads=self.settings.threads,
            )
        parts = [part.reshape(len(windows), -1, *part.shape[1:]) for part in (clips, plan.label, position, plan.status)]
        if (order[1:] < order[:-1]).any():
            back = upload(np.argsort(order), self.settings.device)
            parts = [part[back] for part in parts]
        found, label, shown, status = parts
        return Output(
            clips=as_tuples(found, self.settings),
            label=per_tuple(label, self.settings),
            position=shown.reshape(-1, self.settings.spec.slots, self.settings.spec.times),
            status=per_tuple(status, self.settings),
        )

    def close(self) -> None:
        super().close()
        self._arenas.close()

    def _groups(self, windows: Sequence[_Window]) -> list[_Group]:
        """Groups the windows that one call can assemble; those that lie on the device come first."""
        stored: dict[int, _Group] = {}
        decoded = []
        for at, window in enumerate(windows):
            if isinstance(window, DecodedWindow):
                data = upload(window.frames.data, self.settings.device)
                decoded.append(_Group(replace(window.frames, data=data), [at]))
            else:
                frames = window.place.frames
                stored.setdefault(id(frames), _Group(frames, [])).windows.append(at)
        return [*stored.values(), *decoded]

    def _calls(self, groups: Sequence[_Group]) -> Iterator[tuple[Frames, int, int]]:
        """Yields the frames, the first slot and the slot after the last one of each call of assemble."""
        most, begin = max(1, MAX_SHOWN // self.settings.spec.times), 0
        for group in groups:
            end = begin + len(group.windows) * self._each
            while begin < end:
                stop = min(end, begin + most)
                yield group.frames, begin, stop
                begin = stop

    def _planned(self, windows: Sequence[_Window]) -> tuple[Plan, torch.Tensor]:
        """Joins the plans of all windows: those of decoded windows, and before them those that it makes here, at once.

        Returns:
            The plan, whose frames are positions in the frames of each window's group; and the shown frames, counted
            from each window's first frame.
        """
        stored = [window for window in windows if isinstance(window, StoredWindow)]
        made = self._draw(stored, [(one.request.window.span, *one.place.frames.size) for one in stored])
        first = np.array([_first(one) for one in stored], np.int32)
        plan, shown = made._replace(frame=made.frame + np.repeat(first, self._each)[:, None]), made.frame
        if len(stored) < len(windows):
            others = [window.request for window in windows[len(stored) :]]
            plans = [plan, *(request.plan for request in others if request.plan is not None)]
            plan = Plan(*(np.concatenate(parts) for parts in zip(*plans, strict=True)))
            shown = np.concatenate([shown, *(request.positions() for request in others)])
        *parts, position = upload_together([*plan, shown.astype(np.int64)], self.settings.device)
        return Plan(*parts), position

    def _scored(self, windows: Sequence[_Window], groups: Sequence[_Group]) -> tuple[Plan, torch.Tensor]:
        """The same for plans that depend on motion, which are made on the device, group by group."""
        plans, positions, begin = [], [], 0
        for frames, numbers in groups:
            some = windows[begin : begin + len(numbers)]
            spans = np.array([(_first(one), one.request.window.span) for one in some], np.int64)
            before = np.cumsum(spans[:, 1]) - spans[:, 1]  # thumbnails of earlier windows; each has one change less
            places = np.stack([before - np.arange(len(some)), before], axis=1)
            shapes = [(int(span), *frames.size) for span in spans[:, 1]]
            plan = self._draw(some, shapes, motion_many(frames, spans), places)
            first = upload(np.repeat(spans[:, 0].astype(np.int32), self._each), self.settings.device)
            positions.append(plan.frame.long())
            plans.append(plan._replace(frame=plan.frame + first[:, None]))
            begin += len(numbers)
        return Plan(*map(torch.cat, zip(*plans, strict=True))), torch.cat(positions)

    def _draw(
        self,
        windows: Sequence[_Window],
        shapes: Sequence[tuple[int, int, int]],
        score: Motion | None = None,
        places: npt.NDArray[np.int64] | None = None,
    ) -> Plan:
        """Draws the plans of all tuples of some windows. shapes: number of frames, height and width of each."""
        sampler = self.settings.sampler
        return draw_plans(
            self.settings.spec,
            windows=np.repeat(np.array(shapes, np.int32).reshape(-1, 3), sampler.tuples, axis=0),
            seed=sampler.seed,
            epoch=sampler.draw_epoch(windows[0].request.epoch) if windows else 0,
            samples=np.array([one.request.samples for one in windows], np.uint64).ravel(),
            train=sampler.train,
            score=score,
            places=None if places is None else np.repeat(places, sampler.tuples, axis=0),
        )


def _first(window: _Window) -> int:
    """Position of a window's first frame in the frames of its group."""
    return window.place.first + window.request.window.first if isinstance(window, StoredWindow) else 0
