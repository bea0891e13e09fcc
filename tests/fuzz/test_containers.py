"""Damaged containers end as rows with a reason: no process dies, none hangs, no exception is bare, and every frame that
is given is that of a sequential decode.

More of them: python -m tests.fuzz.harness tests.fuzz.test_containers:container 0 2000
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.fuzz.bitstreams import overwritten, packets_of, streams
from tests.fuzz.containers import damaged, seeds
from tests.fuzz.frames import differences, indexed, sequence
from tests.fuzz.harness import empty, faults
from tests.fuzz.test_tars import survive
from vidssl import VideoIndex


def container(folder: Path) -> Callable[[int], str]:
    """Files damaged before they are indexed."""
    whole = [(path.suffix, path.read_bytes()) for path in seeds(folder)]
    root = folder / "input"

    def run(seed: int) -> str:
        ending, data = whole[seed % len(whole)]
        empty(root)
        (root / f"a{ending}").write_bytes(damaged(data, seed))
        return indexed(root, seed)

    return run


def changed(folder: Path) -> Callable[[int], str]:
    """Files damaged after they were indexed, with the same size and time: the frames indexed, or an error."""
    clips, root = folder / "clips", folder / "input"
    (clips / "streams").mkdir(parents=True)
    seeds(clips)
    streams(clips / "streams")
    index = VideoIndex.build(clips, workers=1, progress=False)
    videos = [index.video(row) for row in index.usable().tolist()]
    assert len(videos) == len(index)
    whole = [video.path.read_bytes() for video in videos]
    right = [sequence(video, video.path) for video in videos]
    payloads = [_payloads(video.path, data) for video, data in zip(videos, whole, strict=True)]

    def run(seed: int) -> str:
        rng = random.Random(seed)
        at = seed % len(videos)
        data = bytearray(whole[at])
        for _ in range(rng.choice((1, 1, 3))):
            start, end = rng.choice(payloads[at]) if payloads[at] and rng.random() < 0.7 else (0, len(data))
            data[start:end] = overwritten(bytes(data[start:end]), rng)
        empty(root)
        video = replace(videos[at], path=root / videos[at].path.name)
        video.path.write_bytes(data)
        os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns))
        wrong = differences(video, right[at], seed)
        return f"{video.path.name}: {wrong}" if wrong else ""

    return run


def _payloads(path: Path, data: bytes) -> list[tuple[int, int]]:
    """Where packets lie in a file, as far as each lies in one piece."""
    spans, at = [], 0
    for packet in packets_of(path):
        found = data.find(packet.data, at)
        if found >= 0:
            at = found + len(packet.data)
            spans.append((found, at))
    return spans


def test_damaged_containers_are_survived(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_containers:container", range(150), tmp_path) == []


def test_files_changed_after_indexing_are_noticed(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_containers:changed", range(100), tmp_path) == []


def test_the_damage_leaves_something_to_decode(tmp_path: Path) -> None:
    paths = seeds(tmp_path)
    (tmp_path / "damaged").mkdir()
    for seed in range(40):
        path = paths[seed % len(paths)]
        (tmp_path / "damaged" / f"{seed}{path.suffix}").write_bytes(damaged(path.read_bytes(), seed))
    assert 5 < survive(tmp_path / "damaged") < 40
