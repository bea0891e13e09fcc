"""A long file: what does its index take, what does a window at its end cost, and what do a thousand segments of it?

    python -m benchmarks.bench_long --out benchmarks/results

The file is a minute of 320 x 240 H.264 with a key frame every 16 frames, whose packets are written again and again.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import tyro

from benchmarks import workloads
from benchmarks.harness import append, circumstances
from vidssl import VideoIndex
from vidssl.index.lists import write_list
from vidssl.video.decode import Video, decode

RATE, MINUTE, LENGTH = 25, 1500, 16  # frames per second, of the minute, and of a window


def make(path: Path, minutes: int) -> None:
    """A file of so many minutes."""
    minute = path.with_name("minute.mp4")
    with av.open(str(minute), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "threads": "1"})
        stream.height, stream.width = workloads.SIZE
        stream.pix_fmt, stream.gop_size, stream.max_b_frames = "yuv420p", LENGTH, 2
        for number in range(MINUTE):
            frame = av.VideoFrame.from_ndarray(workloads.picture(number % 300), format="rgb24").reformat(
                format="yuv420p"
            )
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(minute)) as source, av.open(str(path), "w") as container:
        one = source.streams.video[0]
        copy, tick = container.add_stream_from_template(one), one.time_base or Fraction(1, RATE)
        packets = [(bytes(each), each) for each in source.demux(one) if each.size]
        lasts = round(MINUTE / RATE / tick)
        for number in range(minutes):
            for data, each in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = copy, tick, each.is_keyframe
                packet.pts, packet.dts = (each.pts or 0) + number * lasts, (each.dts or 0) + number * lasts
                packet.duration = each.duration
                container.mux(packet)
    minute.unlink()


def processor(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and its seconds of processor time."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def window(video: Video, first: int) -> float:
    """Milliseconds of processor time of a window."""
    return 1e3 * processor(lambda: decode(video, np.arange(first, first + LENGTH)))[1]


def main(*, minutes: int = 60, segments: int = 1000, windows: int = 60, out: Path | None = None) -> None:
    """Index a long file and segments of it, and decode windows at both ends in turn.

    Args:
        minutes: Of the file.
        segments: Of three seconds each, anywhere in it.
        windows: Of each kind.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        path, named = Path(folder, "long.mp4"), Path(folder, "segments.csv")
        make(path, minutes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        whole, alone = processor(lambda: VideoIndex.build(folder, workers=1, progress=False))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before
        starts = np.random.default_rng(0).uniform(0, 60 * minutes - 3, segments)
        write_list(named, [(path.name, f"{at:.2f}", f"{at + 3:.2f}") for at in starts], ("path", "start", "end"))
        parts, cut = processor(lambda: VideoIndex.build(named, workers=1, progress=False))
        video, count = whole.video(0), whole.frames(0)
        middle = int(np.argsort(parts.column("start").to_numpy())[segments // 2])
        begins = parts.row(middle)["start"]
        costs = [
            (
                window(video, LENGTH * number % 600 + 5),
                window(video, count - 700 + LENGTH * number % 600),
                window(video, begins + number % 50),
                window(parts.video(middle), number % 50),
            )
            for number in range(windows)
        ]
        start, end, inside, part = np.median(costs, axis=0)
        sizes = []
        for index in (whole, parts):
            index.save(Path(folder, "i.arrow"))
            sizes.append(Path(folder, "i.arrow").stat().st_size / 2**20)
    line: dict[str, Any] = {
        "bench": "long",
        "workload": f"{minutes} minutes, {segments} segments",
        "frames": count,
        "index, s": alone,
        "a frame of it, us": 1e6 * alone / count,
        "its memory, MiB": grown,
        "its file, MiB": sizes[0],
        "index of the segments, s": cut,
        "file of the segments, MiB": sizes[1],
        "window at the start, us": 1e3 * start,
        "at the end / at the start, times": end / start,
        "of a segment / of the whole, times": part / inside,
        **circumstances(),
    }
    shown = {name: value for name, value in line.items() if isinstance(value, float)}
    print(f"{line['workload']}: " + "; ".join(f"{name} {value:.3g}" for name, value in shown.items()))
    append(line, out)


if __name__ == "__main__":
    tyro.cli(main)
