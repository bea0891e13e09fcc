"""The loader and bare decoding are given the same windows, and bare decoding decodes all of them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import bench_loader, workloads
from benchmarks.bench_loader import WARMUP, Piece, Windows, bare, piece
from vidssl import Loader, VideoIndex
from vidssl.loader.profile import STEPS
from vidssl.types import VidsslError

CLIP = workloads.Clip(name="short", kilobits=90, gop=16, bframes=2, size=(48, 64), frames=90)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    folder = tmp_path_factory.mktemp("clip")
    return workloads.repeated(workloads.encode(CLIP, folder), 10, folder / "index")


def test_an_index_of_many_copies(index: VideoIndex) -> None:
    assert len(index.usable(64)) == 10
    assert {index.frames(row) for row in range(10)} == {90}


def test_loader_and_bare_decoding_see_the_same_windows(index: VideoIndex) -> None:
    with Loader(index, bench_loader.PRETEXT, batch_size=2, device="cpu", workers=1) as loader:
        windows = Windows(index, loader.sampler, batch_size=2, batches=2, warmup=1)
        for turn in (-1, 1):
            loader.set_epoch(windows.epoch(turn))
            batches = list(loader)[WARMUP:]
            first = np.concatenate([batch.frame.amin(dim=(1, 2)).numpy() for batch in batches])
            assert first.tolist() == [window.first for window in windows.timed(turn)]
        spent = bench_loader.loader_case(loader, windows)(0)
        assert spent.wall > 0
        assert bench_loader.bare_case(None, windows)(0).wall > 0
        steps = bench_loader.stages(index, windows, 0)
    assert set(steps) == {"bare decode", *STEPS} - {"store"}
    assert all(steps[name] > 0 for name in ("bare decode", "open", "decode"))


def test_bare_decoding_reaches_the_last_frame(index: VideoIndex) -> None:
    with av.open(str(index.video(0).path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    with Loader(index, bench_loader.PRETEXT, batch_size=2, device="cpu", workers=1) as loader:
        for position in range(10):
            window = loader.sampler.window(0, position)
            wanted = piece(index, window)
            with av.open(wanted.path) as container:
                stream = container.streams.video[0]
                if wanted.timestamp is not None:
                    container.seek(wanted.timestamp, stream=stream)
                seen = [frame.pts for _, frame in zip(range(wanted.frames), container.decode(stream), strict=False)]
            assert seen[-1] == times[window.first + 63]
            assert seen[0] <= times[window.first]
            bare(wanted)


def test_bare_decoding_that_ends_early_is_an_error(index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="90 of 91 frames"):
        bare(Piece(str(index.video(0).path), None, 91))


def test_a_missing_clip_is_named() -> None:
    with pytest.raises(VidsslError, match=r"--data nowhere\.mp4"):
        bench_loader.main(data=(Path("nowhere.mp4"),), made=False)


def test_only_known_clips_are_chosen() -> None:
    with pytest.raises(VidsslError, match="--only long: take x264_90kbit, x264_800kbit, "):
        bench_loader.main(only=("x264_90kbit", "long"))
