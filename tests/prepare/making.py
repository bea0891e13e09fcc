"""Calls of prepare on a few short clips."""

from pathlib import Path

from vidssl import VideoIndex
from vidssl.prepare import Encoding, PrepareResult, prepare
from vidssl.pretext import Vcop

TASK = Vcop(clip_length=4, interval=2)


def made(videos: Path, out: Path, *, remove_stale: bool = False) -> PrepareResult:
    index = VideoIndex.build(videos, progress=False)
    return prepare(index, out, Encoding(), TASK, workers=1, progress=False, remove_stale=remove_stale)
