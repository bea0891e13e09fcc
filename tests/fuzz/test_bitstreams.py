"""Damaged packets: every frame that is given is that of a sequential decode, or a note says what is missing.

More of them: python -m tests.fuzz.harness tests.fuzz.test_bitstreams:bitstream 0 2000
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av

from tests.fuzz.bitstreams import damaged, streams, write
from tests.fuzz.frames import indexed
from tests.fuzz.harness import empty, faults
from vidssl.index.scan import scan

_TARGET = "tests.fuzz.test_bitstreams:bitstream"


def bitstream(folder: Path) -> Callable[[int], str]:
    (folder / "whole").mkdir()
    whole = streams(folder / "whole")
    root = folder / "input"

    def run(seed: int) -> str:
        stream = whole[seed % len(whole)]
        empty(root)
        path = root / f"{stream.path.stem}{stream.path.suffix}"
        try:
            write(stream, damaged(stream.packets, seed), path)
        except (av.FFmpegError, ValueError):  # this container refuses these packets: FFmpeg's muxer, not vidssl
            return ""
        wrong = indexed(root, seed)
        return f"{path.name}: {wrong}" if wrong else ""

    return run


def test_damaged_bitstreams_are_survived(tmp_path: Path) -> None:
    assert faults(_TARGET, range(120), tmp_path) == []


def test_packets_are_not_dropped_where_a_decoder_hides_damage(tmp_path: Path) -> None:
    """H.264 with B-frames: a damaged picture was completed from one that otherwise no other picture needs, or from one
    before the key frame in between.
    """
    (tmp_path / "whole").mkdir()
    whole = streams(tmp_path / "whole")
    seeds = (400118, 400500, 401042, 401076, 700176)
    for seed in seeds:
        stream, path = whole[seed % len(whole)], tmp_path / f"{seed}{whole[seed % len(whole)].path.suffix}"
        write(stream, damaged(stream.packets, seed), path)
        assert scan(path)["droppable"] is False
        assert scan(stream.path)["droppable"] is True
    assert [fault for seed in seeds for fault in faults(_TARGET, range(seed, seed + 1), tmp_path)] == []


def test_most_damage_is_written_and_some_of_it_is_decoded(tmp_path: Path) -> None:
    [stream] = [one for one in streams(tmp_path) if one.path.name == "h264.mp4"]
    assert len(stream.packets) == 36
    changed = [damaged(stream.packets, seed) for seed in range(40)]
    assert sum(packets != stream.packets for packets in changed) > 35
    written = 0
    for packets in changed:
        try:
            write(stream, packets, tmp_path / "out.mp4")
        except (av.FFmpegError, ValueError):
            continue
        written += 1
    assert written > 30
